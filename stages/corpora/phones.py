"""The sounds that the demo's voices speak, and nonsense sentences made of them.

Conventions
-----------
Formants are those of an average man; whoever speaks scales them. Amplitudes are relative: 1 is a
vowel's voicing.
"""

from dataclasses import dataclass

import numpy as np

# Where a sound's friction sits, in Hz: s, sh, f, and the bursts of t, k and p.
FRICTION_HZ = (
    (4300.0, 7600.0),
    (2000.0, 5000.0),
    (1500.0, 7000.0),
    (2800.0, 6000.0),
    (1300.0, 2800.0),
    (400.0, 1500.0),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sound:
    """A stretch of speech in which the mouth holds still.

    Parameters
    ----------
    duration_s : at a neutral rate
    voicing, aspiration, friction : amplitudes
    place : index into `FRICTION_HZ`
    formants_hz : the first three; empty: those of the syllable's vowel
    """

    duration_s: float
    voicing: float = 0.0
    aspiration: float = 0.0
    friction: float = 0.0
    place: int = 0
    formants_hz: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Syllable:
    """Consonant and vowel, by name, and whether it carries an accent."""

    onset: str
    vowel: str
    coda: str
    is_accented: bool


# Peterson & Barney 1952, J. Acoust. Soc. Am. 24, 175-184, table II, men.
VOWELS = {
    "i": (270.0, 2290.0, 3010.0),
    "e": (390.0, 1990.0, 2550.0),
    "E": (530.0, 1840.0, 2480.0),
    "a": (730.0, 1090.0, 2440.0),
    "o": (570.0, 840.0, 2410.0),
    "u": (300.0, 870.0, 2240.0),
    "@": (490.0, 1350.0, 1690.0),
}


def _stop(place: int, breath_s: float) -> tuple[Sound, ...]:
    silence, burst = Sound(duration_s=0.05), Sound(duration_s=0.015, friction=0.08, place=place)
    return (silence, burst, Sound(duration_s=breath_s, aspiration=1.0))


def _voiced_stop(place: int, locus_hz: float) -> tuple[Sound, ...]:
    murmur = Sound(duration_s=0.045, voicing=0.12, formants_hz=(200.0, locus_hz, 2500.0))
    burst = Sound(duration_s=0.01, friction=0.05, voicing=0.3, place=place)
    return (murmur, burst)


def _held(duration_s: float, voicing: float, *formants_hz: float) -> tuple[Sound, ...]:
    return (Sound(duration_s=duration_s, voicing=voicing, formants_hz=formants_hz),)


CONSONANTS: dict[str, tuple[Sound, ...]] = {
    "": (),
    "s": (Sound(duration_s=0.09, friction=0.04, place=0),),
    "S": (Sound(duration_s=0.09, friction=0.04, place=1),),
    "f": (Sound(duration_s=0.08, friction=0.02, place=2),),
    "h": (Sound(duration_s=0.05, aspiration=1.0),),
    "t": _stop(3, 0.025),
    "k": _stop(4, 0.04),
    "p": _stop(5, 0.025),
    "d": _voiced_stop(3, 1750.0),
    "g": _voiced_stop(4, 2000.0),
    "b": _voiced_stop(5, 900.0),
    "m": _held(0.07, 0.4, 250.0, 1100.0, 2200.0),
    "n": _held(0.06, 0.4, 250.0, 1650.0, 2500.0),
    "l": _held(0.055, 0.6, 360.0, 1200.0, 2700.0),
    "j": _held(0.05, 0.6, 280.0, 2200.0, 3000.0),
    "w": _held(0.055, 0.6, 300.0, 700.0, 2200.0),
}
CODAS = ("", "", "", "n", "l", "s", "t")


def sentence(rng: np.random.Generator) -> tuple[Syllable, ...]:
    """Draw a sentence of five to seven syllables, two of them accented."""
    n_syllables = int(rng.integers(5, 8))
    accents = {1, int(rng.integers(3, n_syllables))}
    onsets, vowels = list(CONSONANTS), list(VOWELS)
    return tuple(
        Syllable(
            onset=onsets[int(rng.integers(len(onsets)))],
            vowel=vowels[int(rng.integers(len(vowels)))],
            coda=CODAS[int(rng.integers(len(CODAS)))],
            is_accented=index in accents,
        )
        for index in range(n_syllables)
    )


def sounds(syllable: Syllable) -> tuple[Sound, ...]:
    """Spell a syllable out; its vowel is the sound whose voicing is 1.

    Examples
    --------
    >>> [
    ...     sound.voicing
    ...     for sound in sounds(Syllable(onset="m", vowel="a", coda="", is_accented=True))
    ... ]
    [0.4, 1.0]
    """
    duration_s = 0.13 if syllable.is_accented else 0.095
    vowel = Sound(duration_s=duration_s, voicing=1.0, formants_hz=VOWELS[syllable.vowel])
    return (*CONSONANTS[syllable.onset], vowel, *CONSONANTS[syllable.coda])

"""How emotions sound: rules of prosody, and sentences performed by them.

Conventions
-----------
A `Style` says how an utterance is spoken, relative to its speaker. Directions are those on which
the literature agrees (Banse & Scherer 1996, J. Pers. Soc. Psychol. 70, 614-636; Juslin & Laukka
2003, Psychol. Bull. 129, 770-814, tables 7 and 11; Scherer 2003, Speech Commun. 40, 227-256, table
1): anger and happiness are high in pitch, wide in range, fast and loud, anger with more energy in
high frequencies and rougher; sadness is low, narrow, slow, soft, dull and breathy. Sizes are our
own. How strongly an utterance shows its emotion varies, as do speakers in how they show it, and
everything carries an additional random deviation, so that the classes overlap.
"""

from dataclasses import astuple, dataclass, replace

import numpy as np

from stages.corpora.phones import FRICTION_HZ, VOWELS, Sound, Syllable, sounds
from stages.corpora.voice import FRAME_S, Float, Phonation, Tracks, smooth

SILENCE = Sound(duration_s=0.1)
_PAUSE = Sound(duration_s=0.09)
_UPPER_FORMANTS_HZ = (3500.0, 4500.0, 5500.0, 6500.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How something is said.

    Parameters
    ----------
    pitch_st : level, in semitones from the speaker's own
    accent_st : height of accents, in semitones
    slope_st_s : declination, in semitones a second
    rate_oct : syllable rate, in octaves (1 is twice as fast)
    level_db : loudness
    tilt_oct : corner of the glottal spectrum, in octaves
    open_quotient : added to the speaker's own
    breath_db : level of aspiration
    jitter, shimmer : relative standard deviations
    formant_oct : all formants, in octaves (spread lips shorten the tract)
    pause : chance of a pause after a syllable
    attack_s : how slowly voicing sets in
    """

    pitch_st: float
    accent_st: float
    slope_st_s: float
    rate_oct: float
    level_db: float
    tilt_oct: float
    open_quotient: float
    breath_db: float
    jitter: float
    shimmer: float
    formant_oct: float
    pause: float
    attack_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Speaker:
    """Whose voice it is.

    Parameters
    ----------
    name : such as `s01`
    gender : `female` or `male`
    f0_hz : neutral pitch
    tract : factor on formants: 1 for a tract of 17.5 cm, more for a shorter one
    rate_oct : added to every style's
    tilt_hz, open_quotient : neutral phonation, see `Phonation`
    breath_db, level_db : added to every style's
    """

    name: str
    gender: str
    f0_hz: float
    tract: float
    rate_oct: float
    tilt_hz: float
    open_quotient: float
    breath_db: float
    level_db: float


def _style(*values: float) -> Style:
    return Style(**dict(zip(Style.__slots__, values, strict=True)))


# In order: pitch, accent, slope, rate, level, tilt, open, breath, jitter, shimmer, formant, pause,
# attack.
STYLES = {
    "anger": _style(4.5, 5.0, -4.0, 0.20, 7.0, 1.0, -0.14, -3.0, 0.016, 0.11, -0.01, 0.04, 0.02),
    "happiness": _style(5.5, 6.0, 0.5, 0.12, 4.0, 0.3, 0.0, 2.0, 0.006, 0.04, 0.07, 0.06, 0.035),
    "neutral": _style(0.0, 2.5, -2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.006, 0.04, 0.0, 0.06, 0.045),
    "sadness": _style(-1.5, 1.2, -1.2, -0.35, -5.0, -0.9, 0.1, 7.0, 0.011, 0.07, -0.03, 0.2, 0.075),
}
# One standard deviation from one utterance to the next.
_SPREAD = _style(1.1, 0.8, 1.0, 0.10, 2.0, 0.30, 0.03, 1.8, 0.002, 0.015, 0.02, 0.04, 0.01)
_LEAST = _style(-9.0, 0.3, -9.0, -1.0, -20.0, -3.0, -0.3, -20.0, 0.001, 0.01, -0.2, 0.0, 0.015)


def draw_speaker(index: int, rng: np.random.Generator) -> Speaker:
    """Draw the voice of a speaker; those of even index (from 0) are women."""
    is_female = index % 2 == 0
    return Speaker(
        name=f"s{index + 1:02d}",
        gender="female" if is_female else "male",
        f0_hz=(205.0 if is_female else 115.0) * 2 ** rng.normal(0.0, 0.13),
        tract=(1.16 if is_female else 1.0) * 2 ** rng.normal(0.0, 0.04),
        rate_oct=rng.normal(0.0, 0.08),
        tilt_hz=(3500.0 if is_female else 4500.0) * 2 ** rng.normal(0.0, 0.3),
        open_quotient=(0.65 if is_female else 0.58) + rng.normal(0.0, 0.03),
        breath_db=rng.normal(2.0 if is_female else 0.0, 2.0),
        level_db=rng.normal(0.0, 1.5),
    )


def draw_habit(rng: np.random.Generator) -> Float:
    """Draw how one speaker's way with one emotion deviates from the rule: float64, one a field."""
    deviation: Float = 0.4 * np.array(astuple(_SPREAD)) * rng.standard_normal(len(astuple(_SPREAD)))
    return deviation


def draw_style(emotion: str, habit: Float, rng: np.random.Generator) -> Style:
    """Draw one utterance's style: the rule more or less strongly, the habit and chance."""
    neutral = np.array(astuple(STYLES["neutral"]))
    strength = rng.uniform(0.6, 1.2)
    values = neutral + strength * (np.array(astuple(STYLES[emotion])) - neutral) + habit
    values += np.array(astuple(_SPREAD)) * rng.standard_normal(values.size)
    return _style(*np.maximum(values, astuple(_LEAST)).tolist())


def phonation(speaker: Speaker, style: Style) -> Phonation:
    """Give the speaker's vocal folds in that style."""
    return Phonation(
        open_quotient=float(np.clip(speaker.open_quotient + style.open_quotient, 0.35, 0.85)),
        tilt_hz=float(np.clip(speaker.tilt_hz * 2**style.tilt_oct, 300.0, 7000.0)),
        jitter=style.jitter,
        shimmer=style.shimmer,
    )


def perform(
    sentence: tuple[Syllable, ...], speaker: Speaker, style: Style, rng: np.random.Generator
) -> Tracks:
    """Speak a sentence: what the voice does, frame by frame."""
    spoken, accents = _spelled(sentence, style, rng)
    stretch = 2 ** -(style.rate_oct + speaker.rate_oct)
    n_frames = [max(1, round(sound.duration_s * stretch / FRAME_S)) for sound in spoken]

    def track(values: list[float]) -> Float:
        return np.repeat(np.array(values), n_frames)

    emphasis = smooth(track(accents), 0.12)
    gain = 10 ** ((speaker.level_db + style.level_db + 2.5 * emphasis) / 20)
    breath = 10 ** ((speaker.breath_db + style.breath_db) / 20)
    steady_breath = 0.1 * breath * smooth(track([s.voicing for s in spoken]), style.attack_s)
    friction = np.array([_friction(sound) for sound in spoken])
    return Tracks(
        f0_hz=_pitch(emphasis, speaker, style, rng),
        voicing=gain * smooth(track([s.voicing for s in spoken]), style.attack_s),
        aspiration=gain * (steady_breath + smooth(track([s.aspiration for s in spoken]), 0.02)),
        formants_hz=_formants(spoken, n_frames, speaker.tract * 2**style.formant_oct),
        # Friction grows with effort too, but less than voicing does.
        friction=np.sqrt(gain)[:, None] * smooth(np.repeat(friction, n_frames, axis=0), 0.015),
        friction_hz=FRICTION_HZ,
    )


def _spelled(
    sentence: tuple[Syllable, ...], style: Style, rng: np.random.Generator
) -> tuple[list[Sound], list[float]]:
    """Give the sentence's sounds with pauses and silence around them, and each one's accent."""
    spoken, accents = [SILENCE], [0.0]
    for number, syllable in enumerate(sentence):
        accent = float(syllable.is_accented)
        vowel = VOWELS[syllable.vowel]
        for sound in sounds(syllable):
            spoken.append(sound if sound.formants_hz else replace(sound, formants_hz=vowel))
            accents.append(accent if sound.voicing == 1.0 else 0.5 * accent)
        pauses = rng.random() < style.pause and number + 1 < len(sentence)
        spoken += [_PAUSE] * pauses
        accents += [0.0] * pauses
    return [*spoken, SILENCE], [*accents, 0.0]


def _friction(sound: Sound) -> list[float]:
    return [sound.friction * (place == sound.place) for place in range(len(FRICTION_HZ))]


def _pitch(emphasis: Float, speaker: Speaker, style: Style, rng: np.random.Generator) -> Float:
    """Draw the contour: declination around the level, accents upon it, a slow drift, a last fall."""
    time_s = np.arange(emphasis.size) * FRAME_S
    left_s = time_s[-1] - time_s
    semitones = style.pitch_st + style.slope_st_s * (time_s - time_s.mean())
    semitones += style.accent_st * emphasis
    semitones -= 0.5 * style.accent_st * np.clip(1.0 - left_s / 0.35, 0.0, 1.0)
    semitones += 2.0 * smooth(rng.standard_normal(emphasis.size), 0.15)
    pitch: Float = np.clip(speaker.f0_hz * 2 ** (semitones / 12), 50.0, 600.0)
    return pitch


def _formants(spoken: list[Sound], n_frames: list[int], scale: float) -> Float:
    """Glide from one sound's formants to the next's; silence takes its neighbour's."""
    filled = [sound.formants_hz for sound in spoken]
    for i in range(len(filled) - 2, -1, -1):
        filled[i] = filled[i] or filled[i + 1]
    for i in range(1, len(filled)):
        filled[i] = filled[i] or filled[i - 1]
    lower = smooth(np.repeat(np.array(filled), n_frames, axis=0), 0.06)
    upper = np.broadcast_to(_UPPER_FORMANTS_HZ, (len(lower), len(_UPPER_FORMANTS_HZ)))
    formants: Float = np.minimum(scale * np.hstack([lower, upper]), 7800.0)
    return formants

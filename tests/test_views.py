"""Views: what each kind does to a sound or its picture, measured."""

import dataclasses
import json
import pickle
import tracemalloc
from collections.abc import Iterator

import librosa
import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.signal import lfilter

from features_cache.keys import CLEAN, content_key
from pipeline.options import VIEWS
from stages.frontend.logmel import (
    FrontEnd,
    FrontEndError,
    logmel_of,
    mel_centres_hz,
    mel_filters,
    warped_hz,
)
from stages.frontend.views.envelope import envelope_db
from stages.frontend.views.table import KINDS, known_view, view, views
from stages.frontend.views.view import View, ViewError, in_blocks_of
from stages.frontend.views.vocoder import stretched
from tests.hostile_audio import voice_like

RATE = 16000
Sound = NDArray[np.float32]
NAMES = sorted({name for kind in KINDS.values() for name in kind.examples} | set(VIEWS))


def tone(hz: float, seconds: float = 2.0) -> Sound:
    return (0.3 * np.sin(2 * np.pi * hz * np.arange(seconds * RATE) / RATE)).astype(np.float32)


def vowel(pitch_hz: float, seconds: float = 1.5) -> Sound:
    """Pulses through four resonances and a slope: an open vowel."""
    phase = np.cumsum(np.full(int(seconds * RATE), pitch_hz / RATE))
    sound = np.diff(np.floor(phase), prepend=0.0)
    for formant_hz, width_hz in ((700, 80), (1200, 90), (2600, 120), (3500, 150)):
        radius = np.exp(-np.pi * width_hz / RATE)
        turn = 2 * np.pi * formant_hz / RATE
        sound = lfilter([1.0], [1.0, -2 * radius * np.cos(turn), radius**2], sound)
    sound = lfilter([1.0], [1.0, -0.9], sound)
    return (0.3 * sound / np.abs(sound).max()).astype(np.float32)


def through(name: str, sound: Sound, *, seed: int = 7, block: int = 65536) -> Sound:
    def blocks() -> Iterator[Sound]:
        return (sound[i : i + block] for i in range(0, len(sound), block))

    return np.concatenate(list(view(name).sound(blocks, RATE, seed)))


def seen(name: str, levels: Sound, *, seed: int = 7, block: int = 512) -> Sound:
    def blocks() -> Iterator[Sound]:
        return (levels[:, i : i + block] for i in range(0, levels.shape[1], block))

    return np.concatenate(list(view(name).picture(blocks, seed)), axis=1)


def peak_hz(sound: Sound) -> float:
    size = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 8 * len(sound)))
    return float(np.argmax(size)) * RATE / (8 * len(sound))


def level_db(sound: Sound) -> float:
    return 20.0 * float(np.log10(sound.astype(np.float64).std()))


def mean_envelope(sound: Sound) -> Sound:
    """Envelope of a steady sound, dB about its mean, 150 to 7000 Hz."""
    spectra = np.abs(librosa.stft(sound, n_fft=1024)).T[10:-10]
    envelope = envelope_db(spectra, RATE).mean(axis=0)[10:448]
    return envelope - envelope.mean()


# Names


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_a_view_and_the_view_has_that_name(name: str) -> None:
    found = view(name)
    assert found.name == name
    assert view(found.name) == found
    assert pickle.loads(pickle.dumps(found)) == found


def test_clean_is_the_text_that_keys_have_always_had() -> None:
    assert view(CLEAN).text == CLEAN == "clean"
    assert content_key("ab" * 32, 0.0, float("nan"), view(CLEAN).text)[:16] == "45542e58e0eff46e"


@pytest.mark.parametrize("name", [name for name in NAMES if name != CLEAN])
def test_a_text_holds_the_kind_its_revision_the_seed_rule_and_every_parameter(name: str) -> None:
    found = view(name)
    facts = json.loads(found.text)
    assert facts.pop("kind") == found.kind
    assert facts.pop("revision") == found.revision >= 1
    assert facts.pop("seed") == "key"
    assert facts == dataclasses.asdict(found)


def test_no_two_names_have_one_text() -> None:
    assert len({view(name).text for name in NAMES}) == len(NAMES)


def test_a_text_stays_what_it_is_for_keys_are_made_of_it() -> None:
    assert view("noise-20db").text == (
        '{"colour":"white","kind":"noise","revision":1,"seed":"key","snr_db":20.0}'
    )
    assert view("pitch+2-formants").text == (
        '{"formants":"kept","kind":"pitch","revision":1,"seed":"key","semitones":2.0,'
        '"window_s":0.064}'
    )


@pytest.mark.parametrize(
    "name",
    [
        "", "speed", "speed-", "speed--0.9", "speed-nan", "speed-inf", "Speed-0.9", "speed-0.9 ",
        "noise-20", "noise20db", "pitch2", "masks-1", "gain6db", "a\nb", "x" * 300, "=cmd()",
        "<script>", "noise-20db-", "rëverb-1s", "nul\0", "speed-1e0",
    ],
)  # fmt: skip
def test_a_name_that_is_none_gets_one_line_with_an_example_a_kind(name: str) -> None:
    with pytest.raises(ViewError) as caught:
        view(name)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 300
    for kind in KINDS.values():
        assert kind.examples[0] in message
    assert known_view(name) is None


@pytest.mark.parametrize(
    "name",
    [
        "speed-0.4", "speed-2.1", "speed-1", "speed-0", "pitch+13", "pitch-12.5", "pitch+0",
        "noise-61db", "noise-20db-brown", "gain+61db", "gain+0db", "reverb-0.04s", "reverb-6s",
        "vtlp-0.6", "vtlp-1.5", "vtlp-1", "speed-" + "9" * 400,
    ],
)  # fmt: skip
def test_a_parameter_out_of_its_range_says_what_was_expected(name: str) -> None:
    with pytest.raises(ViewError, match=r"expected .*docs/views\.md") as caught:
        view(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "spelled"),
    [("speed-0.90", "speed-0.9"), ("noise-20.0db", "noise-20db"), ("pitch+02", "pitch+2"),
     ("noise-20db-white", "noise-20db"), ("speed-\u0660.9", "speed-0.9")],
)  # fmt: skip
def test_a_view_has_one_spelling(name: str, spelled: str) -> None:
    with pytest.raises(ViewError, match="is spelled") as caught:
        view(name)
    assert repr(spelled) in str(caught.value)


@given(name=st.from_regex(r"(speed|noise|pitch|gain|vtlp|reverb)[-+][0-9.]{1,6}(db|s|-formants)?"))
def test_whatever_is_called_a_view_is_one_or_an_error_of_its_own(name: str) -> None:
    found = known_view(name)
    assert found is None or found.name == name


def test_clean_is_always_among_the_views_first_and_once() -> None:
    assert [each.name for each in views(["speed-0.9", CLEAN, "speed-0.9"])] == [CLEAN, "speed-0.9"]
    assert views([]) == (View(),)


def test_the_views_that_help_names_are_the_first_of_every_kind() -> None:
    for name in VIEWS:
        view(name)
    assert {view(name).kind for name in VIEWS} == set(KINDS) - {CLEAN}


def test_clean_sorts_before_every_other_view() -> None:
    assert min(NAMES) == CLEAN


# All kinds


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_decides_every_byte(name: str) -> None:
    sound = voice_like(1.0)
    assert (
        through(name, sound, seed=2**255).tobytes() == through(name, sound, seed=2**255).tobytes()
    )
    levels = np.concatenate(list(logmel_of([sound], FrontEnd())), axis=1)
    assert seen(name, levels).tobytes() == seen(name, levels).tobytes()


@pytest.mark.parametrize("name", ["noise-20db", "noise-20db-pink", "reverb-0.3s"])
def test_another_seed_draws_something_else(name: str) -> None:
    sound = voice_like(0.5)
    assert not np.array_equal(through(name, sound, seed=1), through(name, sound, seed=2))


@pytest.mark.parametrize("block", [1000, 7777])
@pytest.mark.parametrize("name", NAMES)
def test_how_the_samples_were_cut_changes_no_byte(name: str, block: int) -> None:
    sound = voice_like(6.0)
    whole, cut = through(name, sound), through(name, sound, block=block)
    np.testing.assert_array_equal(cut, whole)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n", [1, 2, 400, 1023, 1025])
def test_the_shortest_sounds_keep_their_length(name: str, n: int) -> None:
    result = through(name, tone(440)[:n])
    assert result.dtype == np.float32
    assert np.isfinite(result).all()
    assert len(result) == pytest.approx(view(name).length_s(n), abs=1.0)


@pytest.mark.parametrize("name", NAMES)
def test_silence_stays_finite(name: str) -> None:
    result = through(name, np.zeros(RATE, np.float32))
    assert np.isfinite(result).all()
    assert np.abs(result).max() == 0.0


@given(cuts=st.lists(st.integers(0, 50), max_size=20), n=st.integers(1, 40))
def test_blocks_cut_anew_hold_the_same(cuts: list[int], n: int) -> None:
    sound = np.arange(sum(cuts), dtype=np.float32)
    blocks = list(in_blocks_of(n, iter(np.split(sound, np.cumsum(cuts)))))
    np.testing.assert_array_equal(np.concatenate([sound[:0], *blocks]), sound)
    assert all(len(block) == n for block in blocks[:-1])


@pytest.mark.parametrize("name", [name for name in NAMES if name != "masks"])
def test_a_longer_recording_needs_no_more_memory(name: str) -> None:
    block = np.tile(voice_like(2.0), 2)

    def peak_bytes(n_blocks: int) -> int:
        tracemalloc.start()
        for _ in view(name).sound(lambda: iter([block] * n_blocks), RATE, 7):
            pass
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    few = peak_bytes(8)
    assert peak_bytes(16) < 1.1 * few + 2**20
    assert few < 60 * 2**20


# Kind by kind


@pytest.mark.parametrize("factor", [0.5, 0.9, 1.1, 2.0])
def test_speed_changes_length_and_frequency_by_its_factor(factor: float) -> None:
    sound = tone(440)
    result = through(f"speed-{factor:g}", sound)
    assert len(result) == pytest.approx(len(sound) / factor, abs=2)
    assert peak_hz(result) == pytest.approx(440 * factor, rel=1e-3)
    assert level_db(result) == pytest.approx(level_db(sound), abs=0.1)


@pytest.mark.parametrize("formants", ["", "-formants"])
@pytest.mark.parametrize("semitones", [-7, -2, 2, 4])
def test_pitch_moves_a_tone_by_semitones_and_keeps_its_length(
    semitones: int, formants: str
) -> None:
    sound = tone(440)
    result = through(f"pitch{semitones:+d}{formants}", sound)
    assert len(result) == len(sound)
    assert peak_hz(result) == pytest.approx(440 * 2 ** (semitones / 12), rel=2e-3)


@pytest.mark.parametrize("semitones", [-3, 2])
def test_formants_are_kept_while_the_pitch_moves(semitones: int) -> None:
    sound = vowel(130)
    kept = through(f"pitch{semitones:+d}-formants", sound)
    moved = through(f"pitch{semitones:+d}", sound)
    ratio = 2 ** (semitones / 12)
    for result in (kept, moved):
        pitch_hz = np.median(librosa.yin(result, fmin=60, fmax=400, sr=RATE))
        assert pitch_hz == pytest.approx(130 * ratio, rel=0.01)
    original = mean_envelope(sound)
    off_kept = (mean_envelope(kept) - original).std()
    off_moved = (mean_envelope(moved) - original).std()
    assert off_kept < 2.0
    assert off_moved > 3 * off_kept


def test_the_envelope_of_a_vowel_is_about_the_same_at_any_pitch() -> None:
    low, high = mean_envelope(vowel(100)), mean_envelope(vowel(220))
    assert np.abs(low - high).mean() < 2.5


def test_the_vocoder_does_what_librosas_does() -> None:
    sound = voice_like(2.0)
    mine = np.concatenate(list(stretched([sound], 1.25, 1024)))
    spectra = librosa.stft(sound, n_fft=1024)
    theirs = librosa.istft(librosa.phase_vocoder(spectra, rate=0.8), n_fft=1024)
    n = round(1.25 * len(sound)) - 2048  # at the very end they differ by their padding
    np.testing.assert_allclose(mine[:n], theirs[:n], atol=2e-3)


@pytest.mark.parametrize("colour", ["", "-pink"])
@pytest.mark.parametrize("snr_db", [0, 10, 20, 40])
def test_noise_is_as_far_below_the_utterance_as_its_name_says(snr_db: int, colour: str) -> None:
    sound = voice_like(4.0) + np.float32(0.1)  # an offset is no sound
    noise = through(f"noise-{snr_db}db{colour}", sound).astype(np.float64) - sound
    assert level_db(sound) - level_db(noise) == pytest.approx(snr_db, abs=0.5)


@pytest.mark.parametrize(("colour", "slope_db"), [("", 3.0), ("-pink", 0.0)])
def test_white_noise_rises_with_the_octaves_and_pink_does_not(colour: str, slope_db: float) -> None:
    sound = tone(1000, 20.0)
    noise = through(f"noise-0db{colour}", sound) - sound
    power = np.abs(np.fft.rfft(noise)) ** 2
    hz = np.fft.rfftfreq(len(noise), 1 / RATE)
    octaves = [power[(hz >= low) & (hz < 2 * low)].sum() for low in (60, 120, 240, 480, 960, 1920)]
    slope = np.polyfit(np.arange(6), 10 * np.log10(octaves), 1)[0]
    assert slope == pytest.approx(slope_db, abs=0.3)


@pytest.mark.parametrize("gain_db", [-12.0, -6.0, 6.0])
def test_gain_is_in_db(gain_db: float) -> None:
    sound = voice_like(1.0)
    assert level_db(through(f"gain{gain_db:+g}db", sound)) == pytest.approx(
        level_db(sound) + gain_db, abs=1e-3
    )


@pytest.mark.parametrize("rt60_s", [0.3, 0.6, 1.5])
def test_reverberation_decays_in_the_time_that_its_name_says(rt60_s: float) -> None:
    impulse = np.zeros(3 * RATE, np.float32)
    impulse[0] = 1.0
    answer = through(f"reverb-{rt60_s:g}s", impulse).astype(np.float64)
    left = np.cumsum(answer[::-1] ** 2)[::-1]  # Schroeder's backward integral
    decay_db = 10 * np.log10(np.maximum(left / left[1], 1e-12))
    start, end = (int(np.argmax(decay_db <= level)) for level in (-5.0, -35.0))
    assert 2 * (end - start) / RATE == pytest.approx(rt60_s, rel=0.1)
    assert answer @ answer == pytest.approx(1.0, abs=0.01)
    assert 10 * np.log10(answer[0] ** 2 / left[1]) == pytest.approx(0.0, abs=0.1)


@pytest.mark.parametrize("factor", [0.8, 0.9, 1.1, 1.2])
@pytest.mark.parametrize("hz", [500.0, 1500.0, 3000.0])
def test_vtlp_shows_a_tone_where_its_factor_puts_it(factor: float, hz: float) -> None:
    frontend = FrontEnd()
    picture = [
        np.concatenate(list(logmel_of([tone(at)], frontend, warp=warp)), axis=1).mean(axis=1)
        for at, warp in ((hz, view(f"vtlp-{factor:g}").warp), (hz * factor, 1.0))
    ]
    centres = mel_centres_hz(frontend)
    bands = [int(np.argmax(each)) for each in picture]
    assert abs(bands[0] - bands[1]) <= 1
    assert centres[bands[0]] == pytest.approx(hz * factor, rel=0.06)


@given(factor=st.floats(0.7, 1.4), hz=st.floats(0.0, 8000.0))
def test_the_warp_is_its_factor_below_the_bend_and_half_the_rate_stays(
    factor: float, hz: float
) -> None:
    settings_ = FrontEnd()
    there = float(warped_hz(np.array([hz]), factor, settings_)[0])
    assert 0.0 <= there <= 8000.0
    if hz <= 4800.0 * min(factor, 1.0) / factor:
        assert there == pytest.approx(hz * factor)
    ends = warped_hz(np.array([0.0, 8000.0]), factor, settings_)
    np.testing.assert_allclose(ends, [0.0, 8000.0])


def test_warped_filters_without_a_warp_are_librosas() -> None:
    from stages.frontend.logmel import _warped_filters

    np.testing.assert_allclose(
        _warped_filters(FrontEnd(), 1.0), mel_filters(FrontEnd()), rtol=1e-4, atol=1e-7
    )


def test_a_band_that_a_warp_empties_names_the_view() -> None:
    frontend = FrontEnd(n_mels=180)
    mel_filters(frontend)
    with pytest.raises(FrontEndError, match=r"Mel bands lie between .*'vtlp-1\.4'"):
        mel_filters(frontend, warp=1.4)


def test_masks_leave_the_rest_untouched() -> None:
    levels = np.concatenate(list(logmel_of([voice_like(9.0)], FrontEnd())), axis=1)
    result = seen("masks", levels)
    is_masked = result != levels
    fill = np.unique(result[is_masked])
    assert len(fill) == 1
    assert fill[0] == pytest.approx(levels.mean(), abs=1e-3)
    bands, moments = is_masked.mean(axis=1) > 0.99, is_masked.all(axis=0)
    assert 1 <= bands.sum() <= 18
    assert (is_masked == bands[:, np.newaxis] | moments).all()
    for start in range(0, levels.shape[1] - 99, 100):  # one moment in every second
        assert 1 <= moments[start : start + 100].sum() <= 20
        assert np.abs(np.diff(moments[start : start + 100].astype(int))).sum() <= 2


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 400), n_mels=st.integers(1, 80), block=st.integers(1, 130))
def test_masks_are_the_same_however_the_frames_were_cut(n: int, n_mels: int, block: int) -> None:
    levels = np.random.default_rng(n).standard_normal((n_mels, n)).astype(np.float32)
    whole, cut = seen("masks", levels), seen("masks", levels, block=block)
    np.testing.assert_allclose(cut, whole, atol=1e-6)


def test_speed_is_a_resampling() -> None:
    sound = voice_like(1.0)
    whole = soxr.resample(sound, 1.1 * RATE, RATE, quality="HQ")
    np.testing.assert_allclose(through("speed-1.1", sound), whole, atol=1e-5)


LEVELS_DB = {
    "clean": (1, -31.39, 22.70),
    "gain+6db": (1, -25.39, 22.70),
    "gain-6db": (1, -37.39, 22.70),
    "masks": (1, -27.63, 18.05),
    "noise-20db": (1, -22.30, 12.27),
    "noise-20db-pink": (1, -24.77, 14.74),
    "pitch+2": (1, -30.62, 20.74),
    "pitch-2-formants": (1, -30.06, 22.51),
    "reverb-0.3s": (1, -32.14, 22.43),
    "reverb-0.6s": (1, -32.95, 22.96),
    "speed-0.9": (1, -32.00, 22.72),
    "speed-1.1": (1, -29.70, 21.18),
    "vtlp-0.9": (1, -33.23, 23.21),
    "vtlp-1.1": (1, -29.77, 22.14),
}
"""Revision, mean and deviation of what each view makes of one vowel."""


@pytest.mark.parametrize("name", NAMES)
def test_a_revision_computes_what_it_always_has(name: str) -> None:
    """Where this fails on purpose, raise the kind's revision: stores hold what it computed before."""
    sound = through(name, vowel(150, 1.0))
    picture = np.concatenate(list(logmel_of([sound], FrontEnd(), warp=view(name).warp)), axis=1)
    levels = seen(name, picture).astype(np.float64)
    found = (view(name).revision, levels.mean(), levels.std())
    assert found == pytest.approx(LEVELS_DB[name], abs=0.02)

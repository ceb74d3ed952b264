from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from scipy import signal
from sklearn.metrics import recall_score
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from stages.corpora.phones import CONSONANTS, FRICTION_HZ, Syllable, sentence, sounds
from stages.corpora.prosody import (
    STYLES,
    draw_habit,
    draw_speaker,
    draw_style,
    perform,
    phonation,
)
from stages.corpora.reader import CorpusError
from stages.corpora.synthetic import EMOTIONS, write_corpus
from stages.corpora.voice import (
    FRAME_S,
    FRAME_SAMPLES,
    SAMPLE_RATE,
    Phonation,
    Tracks,
    smooth,
    speak,
)
from stages.manifest import COLUMNS, read_manifest


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    folder = tmp_path_factory.mktemp("corpus")
    return folder, write_corpus(folder)


def steady(
    f0_hz: float = 125.0, voicing: float = 1.0, formants_hz: tuple[float, ...] = (700.0, 1200.0)
) -> Tracks:
    n_frames = 200
    return Tracks(
        f0_hz=np.full(n_frames, f0_hz),
        voicing=np.full(n_frames, voicing),
        aspiration=np.zeros(n_frames),
        formants_hz=np.tile(formants_hz, (n_frames, 1)),
        friction=np.zeros((n_frames, 1)),
        friction_hz=((2000.0, 4000.0),),
    )


def modal(jitter: float = 0.0, shimmer: float = 0.0, tilt_hz: float = 4000.0) -> Phonation:
    return Phonation(open_quotient=0.6, tilt_hz=tilt_hz, jitter=jitter, shimmer=shimmer)


def spoken(tracks: Tracks, voice: Phonation) -> np.ndarray:
    return speak(tracks, voice, np.random.default_rng(0))


def high_share(samples: np.ndarray) -> float:
    frequency_hz, power = signal.welch(samples, SAMPLE_RATE, nperseg=1024)
    return float(power[frequency_hz > 1000].sum() / power.sum())


def test_the_corpus_is_whole_and_balanced(corpus: tuple[Path, pd.DataFrame]) -> None:
    folder, manifest = corpus
    assert list(manifest.columns) == list(COLUMNS)
    assert len(manifest) == manifest["utterance_id"].nunique() == 192
    assert set(manifest.groupby(["speaker", "emotion"]).size()) == {8}
    assert sorted(set(manifest["emotion"])) == list(EMOTIONS)
    assert manifest.groupby("gender")["speaker"].nunique().to_dict() == {"female": 3, "male": 3}
    assert set(manifest["corpus"]) == {"synthetic"}
    pd.testing.assert_frame_equal(read_manifest(folder / "manifest.csv"), manifest)


def test_every_file_is_clean_16_khz_mono(corpus: tuple[Path, pd.DataFrame]) -> None:
    folder, manifest = corpus
    assert len(list((folder / "wav").iterdir())) == 192
    for file in manifest["file"]:
        info = soundfile.info(folder / file)
        assert (info.samplerate, info.channels, info.subtype) == (16_000, 1, "PCM_16")
        assert 0.7 < info.duration < 4.0
        samples, _ = soundfile.read(folder / file)
        assert 0.01 < np.abs(samples).max() < 0.951


def test_the_same_seed_gives_the_same_bytes_whatever_else_is_made(
    tmp_path: Path, corpus: tuple[Path, pd.DataFrame]
) -> None:
    small = write_corpus(tmp_path, n_speakers=2, n_takes=1)
    for file in small["file"]:
        assert (tmp_path / file).read_bytes() == (corpus[0] / file).read_bytes()
    write_corpus(tmp_path / "other", n_speakers=2, n_takes=1, seed=1)
    for file in small["file"]:
        assert (tmp_path / file).read_bytes() != (tmp_path / "other" / file).read_bytes()


def test_no_two_files_sound_alike(corpus: tuple[Path, pd.DataFrame]) -> None:
    folder, manifest = corpus
    assert len({(folder / file).read_bytes() for file in manifest["file"]}) == 192


def test_the_task_is_neither_trivial_nor_hopeless(corpus: tuple[Path, pd.DataFrame]) -> None:
    folder, manifest = corpus
    features = []
    for file in manifest["file"]:
        samples, _ = soundfile.read(folder / file)
        _, _, power = signal.spectrogram(samples, SAMPLE_RATE, nperseg=400, noverlap=240)
        bands = 10 * np.log10(power[:200].reshape(40, 5, -1).sum(axis=1) + 1e-12)
        features.append(np.hstack([bands.mean(axis=1), bands.std(axis=1)]))
    truth, speakers = (np.array(manifest[name].tolist()) for name in ["emotion", "speaker"])
    classifier = make_pipeline(StandardScaler(), LinearSVC(C=0.01))
    guess = cross_val_predict(
        classifier, np.array(features), truth, groups=speakers, cv=LeaveOneGroupOut()
    )
    assert 0.5 < recall_score(truth, guess, average="macro") < 0.97


@pytest.mark.parametrize(
    "numbers", [{"n_speakers": 1}, {"n_takes": 0}, {"n_takes": 100}, {"seed": -1}]
)
def test_numbers_out_of_range_are_refused(tmp_path: Path, numbers: dict[str, int]) -> None:
    with pytest.raises(CorpusError, match=f"{next(iter(numbers))} is .*; expected"):
        write_corpus(tmp_path / "new", **numbers)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("f0_hz", [80.0, 125.0, 250.0, 400.0])
def test_the_voice_has_the_pitch_it_is_given(f0_hz: float) -> None:
    samples = spoken(steady(f0_hz), modal())[SAMPLE_RATE // 4 :]
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(samples.size)))
    frequency_hz = np.fft.rfftfreq(samples.size, 1 / SAMPLE_RATE)
    peaks, _ = signal.find_peaks(spectrum, height=spectrum.max() / 100)
    assert frequency_hz[peaks[0]] == pytest.approx(f0_hz, rel=0.02)


@pytest.mark.parametrize("formant_hz", [300.0, 500.0, 800.0, 2500.0])
def test_a_formant_is_where_it_is_put(formant_hz: float) -> None:
    samples = spoken(steady(50.0, formants_hz=(formant_hz,)), modal())
    flat = spoken(steady(50.0, formants_hz=(7800.0,)), modal())
    frequency_hz, power = signal.welch(samples, SAMPLE_RATE, nperseg=1600)
    gain = power / signal.welch(flat, SAMPLE_RATE, nperseg=1600)[1]
    audible = (frequency_hz > 100) & (frequency_hz < 5000)
    assert frequency_hz[audible][gain[audible].argmax()] == pytest.approx(formant_hz, abs=60)


def test_a_moving_tract_does_not_click() -> None:
    tracks = steady()
    glide = np.linspace(300, 800, 200)[:, None]
    moving = Tracks(
        **{
            **{name: getattr(tracks, name) for name in Tracks.__slots__},
            "formants_hz": np.hstack([glide, 3 * glide[::-1]]),
        }
    )
    still, moved = (spoken(t, modal(tilt_hz=1000.0)) for t in [tracks, moving])
    high_pass = signal.butter(6, 6000, "highpass", fs=SAMPLE_RATE, output="sos")
    still_db, moved_db = (
        20 * np.log10(np.abs(signal.sosfilt(high_pass, x)).max() / np.abs(x).max())
        for x in [still, moved]
    )
    assert moved_db < still_db + 12


def test_a_voice_without_jitter_repeats_and_one_with_jitter_does_not() -> None:
    def repeats(voice: Phonation) -> float:
        samples = spoken(steady(125.0), voice)[4000:12000]
        return float(np.corrcoef(samples[:-128], samples[128:])[0, 1])

    assert repeats(modal()) > 0.999
    assert repeats(modal(jitter=0.03)) < 0.99
    assert repeats(modal(shimmer=0.2)) < 0.99


def test_a_soft_voice_has_less_high_energy() -> None:
    bright, dull = (spoken(steady(), modal(tilt_hz=tilt_hz)) for tilt_hz in [5000.0, 800.0])
    assert high_share(bright) > 1.5 * high_share(dull)


def test_nothing_voiced_is_silence() -> None:
    samples = spoken(steady(voicing=0.0), modal())
    assert samples.shape == (200 * FRAME_SAMPLES,)
    np.testing.assert_array_equal(samples, 0.0)


def test_smoothing_keeps_length_and_level() -> None:
    track = np.r_[np.zeros(50), np.ones(50)]
    for width_s in [0.001, 0.02, 0.1]:
        rounded = smooth(track, width_s)
        assert rounded.shape == track.shape
        assert (rounded[0], rounded[-1]) == (pytest.approx(0), pytest.approx(1))
        assert (np.diff(rounded) > -1e-12).all()


def test_emotions_differ_as_the_literature_says() -> None:
    rng = np.random.default_rng(0)
    speaker = draw_speaker(0, rng)
    text = sentence(np.random.default_rng(1))
    heard: dict[str, dict[str, float]] = {}
    for emotion, style in STYLES.items():
        tracks = perform(text, speaker, style, np.random.default_rng(2))
        samples = speak(tracks, phonation(speaker, style), np.random.default_rng(3))
        voiced = tracks.voicing > 0.1 * tracks.voicing.max()
        heard[emotion] = {
            "pitch": np.median(tracks.f0_hz[voiced]),
            "range": np.std(12 * np.log2(tracks.f0_hz[voiced])),
            "seconds": tracks.f0_hz.size * FRAME_S,
            "level": samples.std(),
            # Of a vowel alone: what friction there is depends on the sentence.
            "bright": high_share(spoken(steady(), phonation(speaker, style))),
        }
    order = {
        "pitch": ["sadness", "neutral", "anger"],
        "range": ["sadness", "neutral", "happiness"],
        "seconds": ["anger", "neutral", "sadness"],
        "level": ["sadness", "neutral", "happiness", "anger"],
        "bright": ["sadness", "neutral", "anger"],
    }
    for measure, emotions in order.items():
        values = [heard[emotion][measure] for emotion in emotions]
        assert values == sorted(values), measure


def test_styles_are_drawn_around_their_rule() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_style("anger", draw_habit(rng), rng) for _ in range(400)]
    assert np.mean([style.pitch_st for style in drawn]) == pytest.approx(4.0, abs=0.5)
    assert min(style.jitter for style in drawn) > 0
    assert min(style.pause for style in drawn) >= 0


def test_sentences_have_accents_and_known_sounds() -> None:
    for seed in range(50):
        text = sentence(np.random.default_rng(seed))
        assert 5 <= len(text) <= 7
        assert sum(syllable.is_accented for syllable in text) == 2


@pytest.mark.parametrize("onset", CONSONANTS)
def test_every_consonant_can_be_spoken(onset: str) -> None:
    syllable = Syllable(onset=onset, vowel="a", coda="", is_accented=True)
    assert [sound.voicing for sound in sounds(syllable)].count(1.0) == 1
    assert all(0 <= sound.place < len(FRICTION_HZ) for sound in sounds(syllable))
    rng = np.random.default_rng(0)
    tracks = perform((syllable,), draw_speaker(1, rng), STYLES["neutral"], rng)
    assert np.isfinite(speak(tracks, modal(), rng)).all()

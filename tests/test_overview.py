import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.checking.cautions import FEW_UTTERANCES, cautions
from stages.checking.overview import N_BINS, overview
from stages.checking.sound import Sound
from stages.folds import speaker_names


def sound(seconds: float = 1.0, **facts: object) -> Sound:
    known = {"sample_rate": 16000, "n_channels": 1, "sample_format": "PCM_16", "digest": ""}
    return Sound(seconds=seconds, **(known | facts))  # type: ignore[arg-type]


def table(**columns: object) -> pd.DataFrame:
    n = max(len(values) for values in columns.values() if isinstance(values, list))
    defaults = {"emotion": "joy", "speaker": "a", "gender": "", "corpus": ""}
    return pd.DataFrame({**defaults, **columns}, index=range(n)).astype("str")


def test_counts_are_by_emotion_speaker_gender_and_corpus() -> None:
    rows = table(
        emotion=["joy", "fear", "joy", ""], speaker=["a", "a", "b", ""],
        gender=["f", "f", "m", "m"], corpus="x",
    )  # fmt: skip
    found = overview(rows, [sound(1.0), sound(2.0), sound(4.0), None])
    counts = {name: value for name, value in found.items() if name.startswith("n_")}
    assert counts == {
        "n_utterances": 4, "n_heard": 3, "n_speakers": 2, "n_emotions": 2,
        "n_unknown_speakers": 1, "n_unknown_emotions": 1, "n_channels": {"1": 3},
    }  # fmt: skip
    assert found["seconds"] == 7.0
    assert found["emotions"] == [
        {"name": "joy", "n_utterances": 2, "seconds": 5.0, "n_speakers": 2},
        {"name": "fear", "n_utterances": 1, "seconds": 2.0, "n_speakers": 1},
    ]
    assert found["speakers"] == [
        {"name": "a", "corpus": "x", "genders": ["f"], "n_utterances": 2, "seconds": 3.0,
         "emotions": {"fear": 1, "joy": 1}},
        {"name": "b", "corpus": "x", "genders": ["m"], "n_utterances": 1, "seconds": 4.0,
         "emotions": {"joy": 1}},
    ]  # fmt: skip
    assert found["genders"] == [
        {"name": "f", "n_speakers": 1, "n_utterances": 2, "seconds": 3.0},
        {"name": "m", "n_speakers": 1, "n_utterances": 1, "seconds": 4.0},
    ]
    assert found["corpora"] == [{"name": "x", "n_utterances": 4, "seconds": 7.0, "n_speakers": 2}]


def test_speakers_are_who_the_folds_take_them_for() -> None:
    rows = table(speaker=["1", "1", "2"], corpus=["x", "y", "y"])
    names = [one["name"] for one in overview(rows, [sound()] * 3)["speakers"]]
    assert names == sorted(set(speaker_names(rows)))
    rows = rows.assign(corpus="x")
    names = [one["name"] for one in overview(rows, [sound()] * 3)["speakers"]]
    assert names == sorted(set(speaker_names(rows)))


def test_audio_is_counted_by_rate_channels_and_format() -> None:
    sounds = [sound(), sound(sample_rate=8000), sound(n_channels=2, sample_format="VORBIS")]
    found = overview(table(emotion=["joy"] * 3), sounds)
    assert found["sample_rates_hz"] == {"16000": 2, "8000": 1}
    assert found["n_channels"] == {"1": 2, "2": 1}
    assert found["sample_formats"] == {"PCM_16": 2, "VORBIS": 1}


def test_lengths_have_quantiles() -> None:
    seconds = [float(i) for i in range(101)]
    found = overview(table(emotion=["joy"] * 101), [sound(s) for s in seconds])
    assert found["durations_s"] == {
        "min": 0.0, "p05": 5.0, "p25": 25.0, "median": 50.0, "p75": 75.0, "p95": 95.0,
        "max": 100.0, "mean": 50.0,
    }  # fmt: skip


def test_without_audio_or_rows_there_are_no_lengths() -> None:
    for n in (0, 2):
        rows = table(emotion=["joy"] * 2).iloc[:n]
        found = overview(rows, [None] * n)
        assert (found["durations_s"], found["histogram"]) == (None, None)
        assert (found["n_utterances"], found["n_heard"], found["seconds"]) == (n, 0, 0.0)


@given(st.lists(st.floats(1e-4, 1e5), min_size=1, max_size=50))
def test_every_length_is_in_one_bar_or_beyond_them(seconds: list[float]) -> None:
    found = overview(table(emotion=["joy"] * len(seconds)), [sound(s) for s in seconds])
    histogram = found["histogram"]
    counts, end_s = histogram["counts"], histogram["bin_s"] * len(histogram["counts"])
    assert sum(counts) + histogram["n_longer"] == len(seconds)
    assert 1 <= len(counts) <= N_BINS + 1
    assert histogram["n_longer"] == int((np.array(seconds) > end_s).sum())
    assert counts[0] == int((np.array(seconds) < histogram["bin_s"] * (1 - 1e-12)).sum()) or (
        len(counts) == 1
    )


def test_a_few_very_long_ones_do_not_squeeze_the_bars() -> None:
    seconds = [1 + i / 200 for i in range(200)] + [3600.0]
    histogram = overview(table(emotion=["joy"] * 201), [sound(s) for s in seconds])["histogram"]
    assert histogram["n_longer"] == 1
    assert histogram["bin_s"] == 0.1


def cautions_of(**columns: object) -> list[str]:
    rows = table(**columns)
    return cautions(overview(rows, [sound()] * len(rows)))


ENOUGH = [*["a"] * 20, *["b"] * 20]


def test_a_corpus_that_folds_and_normalisation_can_use_has_no_cautions() -> None:
    assert cautions_of(speaker=ENOUGH, emotion=["joy", "fear"] * 20) == []


@pytest.mark.parametrize(
    ("columns", "caution"),
    [
        ({"speaker": [*ENOUGH, ""]}, "1 utterance without a speaker: training refuses it"),
        ({"speaker": ENOUGH, "emotion": ["", " ", *["joy"] * 38]},
         "2 utterances without an emotion: training refuses them"),
        ({"speaker": ["a"] * 20}, "1 known speaker: folds by speaker need two at least"),
        ({"speaker": [""] * 20}, "0 known speakers: folds by speaker need two at least"),
        ({"speaker": [*ENOUGH, "c"]},
         ("1 speaker with fewer than 10 utterances ('c' 1): normalisation by speaker needs 10 of "
         "each")),
        ({"speaker": ENOUGH, "emotion": ["fear"] * 10 + ["joy"] * 30},
         ("1 emotion of a single speaker ('fear'): the fold that leaves this speaker out has "
         "nothing to learn it from")),
        ({"speaker": ENOUGH, "emotion": ["joy"] * 17 + ["fear"] * 6 + ["joy"] * 17},
         "1 emotion with fewer than 10 utterances ('fear' 6): its recall will say little"),
        ({"speaker": ENOUGH, "gender": ["f", "m", *["f"] * 38]},
         "1 speaker with more than one gender ('a' f and m)"),
    ],
)  # fmt: skip
def test_what_training_would_trip_over_is_told(columns: dict[str, object], caution: str) -> None:
    assert caution in cautions_of(**columns)


def test_of_many_names_a_few_are_given_and_long_ones_are_cut() -> None:
    speakers = [f"{i}{'x' * 300}" for i in range(9)]
    caution = cautions_of(speaker=speakers)[0]
    assert caution.startswith("9 speakers with fewer than 10")
    assert "and 4 more" in caution
    assert len(caution) < 400


def test_few_utterances_are_what_prediction_calls_few() -> None:
    from stages.predict import MIN_UTTERANCES

    assert FEW_UTTERANCES == MIN_UTTERANCES

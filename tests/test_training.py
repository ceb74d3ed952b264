"""The words in which a training and its predictions are told."""

import csv
import io
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pipeline.training import RANDOM_WEIGHTS, SYNTHETIC_VOICES, summary
from pipeline.verbs.training import _table


def fields(normalise: str = "speaker", **others: object) -> dict[str, Any]:
    kinds = ["speaker", "train"] if normalise == "speaker" else [normalise]
    return {
        "normalise": normalise,
        "uar_pooled": 82.53,
        "uar_inductive": 75.48 if normalise == "speaker" else 82.53,
        "uar_interval": [78.0, 86.04],
        "parts": {},
        "baselines": {f"svm-{kind}": 70.0 + i for i, kind in enumerate(kinds)},
        "warning": "",
        "report": "r.html",
        "bundle": "b",
        **others,
    }


def numbers(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("UAR ")]


def test_each_number_says_whether_it_is_transductive() -> None:
    assert numbers(summary(fields())) == [
        "UAR 82.5 BLSTM, speaker-normalised (transductive), 95 % interval over speakers 78.0 to 86.0",
        "UAR 75.5 BLSTM, normalised by the training speakers (inductive)",
        "UAR 70.0 linear SVM, speaker-normalised (transductive), the same folds",
        "UAR 71.0 linear SVM, normalised by the training speakers (inductive), the same folds",
    ]


def test_the_parts_of_a_classifier_are_told_after_it() -> None:
    parts = {"network-speaker": 80.0, "linear-speaker": 81.0}
    whole, _, network, linear, *_ = numbers(summary(fields(parts=parts)))
    assert whole.startswith("UAR 82.5 BLSTM and linear path, speaker-normalised (transductive)")
    assert network.startswith("UAR 80.0 BLSTM, attention, DNN, speaker-normalised (transductive)")
    assert linear.startswith("UAR 81.0 linear path, speaker-normalised (transductive)")


def test_each_baseline_says_whose_features_and_how_they_are_normalised() -> None:
    baselines = {"egemaps-speaker": 79.0, "whole-utterance-none": 50.0, "majority": 25.0}
    smile, picture, majority = numbers(summary(fields(baselines=baselines)))[2:]
    assert smile.startswith("UAR 79.0 linear SVM on openSMILE eGeMAPSv02, speaker-normalised (tra")
    assert picture.startswith("UAR 50.0 linear SVM on whole-utterance pictures, not normalised (in")
    assert majority == "UAR 25.0 majority class, the same folds"


@pytest.mark.parametrize("normalise", ["train", "none"])
def test_an_inductive_headline_is_said_once(normalise: str) -> None:
    lines = numbers(summary(fields(normalise)))
    assert len(lines) == 2
    assert all("(inductive)" in line and "transductive" not in line for line in lines)


def test_a_single_speaker_has_no_interval() -> None:
    assert "interval" not in summary(fields(uar_interval=None))


@pytest.mark.parametrize(
    ("warning", "mark"),
    [
        (RANDOM_WEIGHTS, " [random weights, not a result]"),
        (SYNTHETIC_VOICES, " [synthetic voices, not a result]"),
        (
            f"{RANDOM_WEIGHTS}; {SYNTHETIC_VOICES}",
            " [random weights, synthetic voices, not a result]",
        ),
        ("something else", " [mind the warning, not a result]"),
    ],
)
def test_each_number_carries_the_warning(warning: str, mark: str) -> None:
    text = summary(fields(warning=warning))
    assert text.startswith(f"MIND: {warning}\n")
    assert len(numbers(text)) == 4
    assert all(line.endswith(mark) for line in numbers(text))


def test_no_warning_leaves_no_mark() -> None:
    assert "[" not in summary(fields())
    assert "MIND" not in summary(fields())


@pytest.mark.parametrize("card", [{}, {"warning": ""}, {"warning": RANDOM_WEIGHTS}])
def test_a_table_of_predictions_has_a_warning_on_every_line_or_no_such_column(
    card: dict[str, str],
) -> None:
    bundle: Any = SimpleNamespace(labels=("a", "b"), card=card)
    one: Any = SimpleNamespace(
        name="u.wav",
        emotion="a",
        probabilities={"a": 0.75, "b": 0.25},
        start=np.zeros(1),
        end=np.ones(1),
        attention=np.ones(1),
    )
    rows = list(csv.DictReader(io.StringIO(_table(bundle, [one, one]))))
    assert [row.get("warning", "") for row in rows] == [card.get("warning", "")] * 2
    assert ("warning" in rows[0]) == bool(card.get("warning"))

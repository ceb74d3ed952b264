import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, recall_score

from reports.metrics import (
    MetricsError,
    bootstrap_uar,
    confusion,
    evaluate,
    macro_f1,
    recalls,
    uar,
    validate,
    wa,
)
from tests.fake_run import LABELS, fake_predictions

GOLDEN = Path(__file__).parent / "golden" / "metrics.json"

pairs = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=60)


def table(rows: list[tuple[str, str, str, int, str, str]]) -> pd.DataFrame:
    """Rows of (utterance, speaker, fold, seed, truth, predicted), labels a and b, as certain."""
    frame = pd.DataFrame(
        rows, columns=["utterance_id", "speaker", "fold", "seed", "truth", "predicted"]
    )
    for label in ("a", "b"):
        frame[f"p:{label}"] = (frame["predicted"] == label).astype(float)
    return frame


def small() -> pd.DataFrame:
    return table(
        [
            ("1", "x", "x", 0, "a", "a"),
            ("2", "x", "x", 0, "a", "b"),
            ("3", "y", "y", 0, "b", "b"),
            ("4", "y", "y", 0, "a", "a"),
        ]
    )


def test_evaluate_gives_the_golden_numbers() -> None:
    # Written by evaluate() once, after its parts had been compared with scikit-learn's (below).
    seen = evaluate(fake_predictions(), LABELS, n_boot=100)
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert json.loads(json.dumps(seen)).keys() == golden.keys()
    for name, value in golden.items():
        if name == "folds":
            continue
        if isinstance(value, dict):
            assert list(seen[name]) == list(value)
            np.testing.assert_allclose(list(seen[name].values()), list(value.values()), atol=1e-9)
        else:
            np.testing.assert_allclose(seen[name], value, atol=1e-9, err_msg=name)
    assert [fold["uar"] for fold in seen["folds"]] == pytest.approx(
        [fold["uar"] for fold in golden["folds"]], abs=1e-9
    )


def test_small_numbers_are_those_of_pencil_and_paper() -> None:
    metrics = evaluate(small(), ["a", "b"])
    assert metrics["uar_pooled"] == pytest.approx((200 / 3 + 100) / 2)
    assert metrics["wa"] == pytest.approx(75.0)
    assert metrics["recall_by_class"] == pytest.approx({"a": 200 / 3, "b": 100.0})
    assert metrics["confusion"] == [[2, 1], [0, 1]]
    assert [(f["fold"], f["n"], f["uar"], f["wa"]) for f in metrics["folds"]] == [
        ("x", 2, 50.0, 50.0),
        ("y", 2, 100.0, 100.0),
    ]
    assert metrics["uar_fold_mean"] == pytest.approx(75.0)
    assert metrics["uar_fold_sd"] == pytest.approx(np.std([50, 100], ddof=1))


def test_perfect_predictions_score_one_hundred_with_no_spread() -> None:
    rows = fake_predictions()
    rows["predicted"] = rows["truth"]
    for label in LABELS:
        rows[f"p:{label}"] = (rows["truth"] == label).astype(float)
    metrics = evaluate(rows, LABELS, n_boot=50)
    for name in ("uar_pooled", "uar_ensemble", "uar_fold_mean", "wa", "macro_f1"):
        assert metrics[name] == 100.0
    assert metrics["uar_interval"] == metrics["uar_interval_utterances"] == [100.0, 100.0]
    assert metrics["uar_fold_sd"] == 0.0


@given(pairs)
def test_metrics_agree_with_scikit_learn_over_the_classes_present(
    drawn: list[tuple[int, int]],
) -> None:
    truth, predicted = [str(t) for t, _ in drawn], [str(p) for _, p in drawn]
    present = sorted(set(truth))
    counts = confusion(truth, predicted, list("01234"))
    kwargs = {"labels": present, "average": "macro", "zero_division": 0}
    assert uar(counts) == pytest.approx(100 * recall_score(truth, predicted, **kwargs))
    assert macro_f1(counts) == pytest.approx(100 * f1_score(truth, predicted, **kwargs))
    assert wa(counts) == pytest.approx(100 * accuracy_score(truth, predicted))


@given(pairs, st.permutations(range(5)))
def test_metrics_do_not_depend_on_the_order_of_labels(
    drawn: list[tuple[int, int]], order: list[int]
) -> None:
    counts = confusion([str(t) for t, _ in drawn], [str(p) for _, p in drawn], list("01234"))
    turned = counts[np.ix_(order, order)]
    assert uar(turned) == pytest.approx(uar(counts))
    assert wa(turned) == pytest.approx(wa(counts))
    assert macro_f1(turned) == pytest.approx(macro_f1(counts))


@given(pairs, st.integers(1, 6), st.integers(0, 3))
@settings(max_examples=50, deadline=None)
def test_an_interval_is_ordered_and_within_bounds(
    drawn: list[tuple[int, int]], n_units: int, seed: int
) -> None:
    truth = np.array([t for t, _ in drawn])
    hits = np.array([[t == p for t, p in drawn]])
    units = np.unique(np.arange(len(drawn)) % n_units, return_inverse=True)[1]
    interval = bootstrap_uar(hits, truth, units, n_boot=40, seed=seed)
    if units.max() == 0:
        assert interval is None
    else:
        assert interval is not None
        assert 0.0 <= interval[0] <= interval[1] <= 100.0


def test_the_bootstrap_is_the_plain_one_drawn_in_kinds() -> None:
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 3, 300)
    hits = rng.random((2, 300)) < np.array([0.9, 0.6, 0.7])[truth]
    plain = []
    for _ in range(4000):
        drawn = rng.integers(0, 300, 300)
        plain.append(
            np.mean([[hit[drawn][truth[drawn] == k].mean() for k in range(3)] for hit in hits])
        )
    seen = bootstrap_uar(hits, truth, np.arange(300), n_boot=4000)
    assert seen == pytest.approx(100 * np.percentile(plain, [2.5, 97.5]), abs=0.5)


def test_resampling_speakers_is_wider_when_speakers_differ() -> None:
    truth = np.tile([0, 1], 100)
    units = np.repeat(np.arange(10), 20)
    hits = (units < 5)[None]
    by_speaker = bootstrap_uar(hits, truth, units)
    by_utterance = bootstrap_uar(hits, truth, np.arange(200))
    assert by_speaker is not None
    assert by_utterance is not None
    assert np.ptp(by_speaker) > 3 * np.ptp(by_utterance)


def test_numbers_repeat_and_do_not_depend_on_the_order_of_rows() -> None:
    rows = fake_predictions()
    shuffled = rows.sample(frac=1.0, random_state=5).reset_index(drop=True)
    assert evaluate(rows, LABELS, n_boot=50) == evaluate(shuffled, LABELS, n_boot=50)


def test_several_seeds_are_averaged_and_their_probabilities_pooled() -> None:
    first = table([("1", "x", "f", 0, "a", "a"), ("2", "y", "f", 0, "b", "a")])
    second = table([("1", "x", "f", 1, "a", "a"), ("2", "y", "f", 1, "b", "b")])
    first.loc[1, ["p:a", "p:b"]] = [0.6, 0.4]
    second.loc[1, ["p:a", "p:b"]] = [0.1, 0.9]
    metrics = evaluate(pd.concat([first, second]), ["a", "b"])
    assert metrics["uar_seeds"] == [50.0, 100.0]
    assert metrics["uar_pooled"] == 75.0
    assert metrics["uar_ensemble"] == 100.0
    assert metrics["seeds"] == [0, 1]
    assert metrics["confusion"] == [[2, 0], [1, 1]]


def test_a_class_nobody_spoke_is_left_out_of_the_mean() -> None:
    rows = small()
    rows["p:c"] = 0.0
    metrics = evaluate(rows, ["a", "b", "c"])
    assert metrics["recall_by_class"].keys() == {"a", "b"}
    assert metrics["uar_pooled"] == pytest.approx((200 / 3 + 100) / 2)
    assert np.isnan(recalls(np.array(metrics["confusion"]))[2])


def test_unknown_speakers_are_never_one_speaker() -> None:
    rows = small()
    rows["speaker"] = ""
    metrics = evaluate(rows, ["a", "b"])
    assert metrics["n_speakers"] == 4
    assert metrics["uar_interval"] == metrics["uar_interval_utterances"]


def test_a_single_speaker_has_no_interval_over_speakers() -> None:
    rows = small()
    rows["speaker"] = "x"
    metrics = evaluate(rows, ["a", "b"])
    assert metrics["uar_interval"] is None
    assert metrics["uar_interval_utterances"] is not None


def test_folds_come_in_natural_order() -> None:
    rows = table(
        [(str(i), str(i), name, 0, "a", "a") for i, name in enumerate(["10", "9", "Ses2", "Ses10"])]
    )
    assert [f["fold"] for f in evaluate(rows, ["a", "b"])["folds"]] == ["Ses2", "Ses10", "9", "10"]


def test_metrics_are_json() -> None:
    metrics = evaluate(fake_predictions(), LABELS, n_boot=10)
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns=["fold", "p:b"]), r"lack the columns \['fold', 'p:b'\]"),
        (lambda t: t.iloc[:0], "no rows"),
        (lambda t: t.assign(truth="z"), "truth holds 'z' .4 rows."),
        (lambda t: t.assign(predicted="z"), "predicted holds 'z'"),
        (lambda t: t.assign(**{"p:a": 0.7}), "do not sum to 1"),
        (lambda t: t.assign(**{"p:a": np.nan}), "not finite"),
        (lambda t: t.assign(**{"p:a": -1.0, "p:b": 2.0}), "negative"),
        (lambda t: t.assign(utterance_id="1"), "predicted twice"),
        (lambda t: t.assign(seed=[0, 0, 0, 1]), "not predicted by all 2 seeds"),
        (
            lambda t: pd.concat([t, t.assign(seed=1, fold="other")]),
            "one truth, fold and speaker",
        ),
        (lambda t: t.assign(evaluation=["one", "one", "two", "two"]), "mix the evaluations"),
    ],
    ids=[
        "columns", "empty", "truth", "predicted", "sum", "nan", "negative", "twice", "uneven",
        "fold", "mixed",
    ],
)  # fmt: skip
def test_dishonest_predictions_are_refused(change: object, message: str) -> None:
    with pytest.raises(MetricsError, match=message):
        validate(change(small()), ["a", "b"])  # type: ignore[operator]


@pytest.mark.parametrize("labels", [[], ["a", "a"]], ids=["none", "twice"])
def test_labels_must_be_distinct(labels: list[str]) -> None:
    with pytest.raises(MetricsError, match="expected at least one, each once"):
        evaluate(small(), labels)

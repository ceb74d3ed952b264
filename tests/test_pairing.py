"""Which utterances evaluations share, and which are refused."""

import pandas as pd
import pytest

from reports.pairing import CompareError, Entry, Matched, match
from tests.fake_run import fake_predictions, run_in_memory

FEW = {"labels": ("a", "b"), "counts": (12, 8), "speakers": ("s", "t", "u")}


def predictions(**how: object) -> pd.DataFrame:
    return fake_predictions(**{**FEW, **how})  # type: ignore[arg-type]


def entries(*tables: pd.DataFrame | None) -> list[Entry]:
    """Make the headline of a run of each table; None: a run without predictions."""
    found = []
    for number, rows in enumerate(tables, start=1):
        facts: dict[str, object] = {"predictions": None} if rows is None else {}
        own = predictions() if rows is None else rows
        run = run_in_memory(f"run{number}", {"speaker": own}, **facts)
        found.append(Entry(number=number, run=run, evaluation=run.headline))
    return found


def matched(*tables: pd.DataFrame | None) -> Matched:
    return match(entries(*tables))


def names(table: pd.DataFrame) -> list[str]:
    return sorted(set(table["utterance_id"]))


def test_scores_are_the_share_of_seeds_that_were_right() -> None:
    rows = predictions(seeds=(0, 1, 2))
    found = matched(rows, predictions(seeds=(5,), draw=0))
    wanted = (rows["truth"] == rows["predicted"]).groupby(rows["utterance_id"]).mean()
    assert found.answers[0]["score"].to_dict() == wanted.to_dict()
    assert set(found.answers[1]["score"]) <= {0.0, 1.0}
    assert found.n_left_out == 0


def test_only_shared_utterances_are_kept_whatever_the_order_of_rows() -> None:
    rows = predictions()
    every = names(rows)
    first = rows[rows["utterance_id"].isin(every[:-2])]
    second = rows[rows["utterance_id"].isin(every[3:])].iloc[::-1].reset_index(drop=True)
    found = matched(first, second, rows)
    assert found.n_left_out == 5
    for table, answers in zip(found.rows, found.answers, strict=True):
        assert names(table) == answers.index.tolist() == every[3:-2]


def test_the_ensemble_is_heard_where_seeds_disagree() -> None:
    rows = predictions(counts=(1, 1))
    one = rows["utterance_id"] == names(rows)[0]
    rows.loc[one, ["p:a", "p:b"]] = [[0.6, 0.4], [0.1, 0.9]]
    assert matched(rows, rows).answers[0]["heard"].iloc[0] == "b"


def test_truth_and_speakers_are_numbers_of_the_same_rows() -> None:
    found = matched(predictions(), predictions())
    assert [found.labels[i] for i in found.truth] == found.answers[0]["truth"].tolist()
    pairs = set(zip(found.speakers.tolist(), found.answers[0]["speaker"], strict=True))
    assert len(pairs) == 3


def test_unknown_speakers_are_never_one_speaker() -> None:
    rows = predictions().assign(speaker="")
    assert len(set(matched(rows, rows).speakers)) == 20


def test_a_class_that_no_shared_utterance_has_is_no_class() -> None:
    rows = predictions()
    found = matched(rows, rows[rows["truth"] == "b"])
    assert found.labels == ["b"]
    assert set(found.truth) == {0}


def test_other_truths_are_refused_with_the_first_of_them() -> None:
    rows = predictions()
    odd = names(rows)[0]
    changed = rows.assign(truth=rows["truth"].where(rows["utterance_id"] != odd, "b"))
    with pytest.raises(CompareError, match=rf"'{odd}' is 'a' in 'speaker' of run 'run1' and 'b'"):
        matched(rows, changed)


def test_runs_of_different_corpora_are_refused() -> None:
    rows = predictions()
    other = rows.assign(utterance_id="x" + rows["utterance_id"])
    with pytest.raises(CompareError, match=r"'speaker' of run 'run2' and .* share no utterance"):
        matched(rows, other)


def test_a_run_without_predictions_is_refused() -> None:
    with pytest.raises(CompareError, match=r"run 'run2' has no predictions\.parquet; expected"):
        matched(predictions(), None)


def test_dishonest_predictions_are_refused_with_the_runs_name() -> None:
    found = entries(predictions(), predictions())
    table = found[1].run.predictions
    assert table is not None
    table.loc[0, "predicted"] = "z"
    with pytest.raises(CompareError, match="'speaker' of run 'run2': predicted holds 'z'"):
        match(found)


@pytest.mark.parametrize("name", ["n" * 300, "new\nline", "<script>", '=cmd("x")', "\x00"])
def test_hostile_names_are_told_in_one_short_line(name: str) -> None:
    rows = predictions()
    rows["utterance_id"] = name + rows["utterance_id"]
    changed = rows.assign(truth=rows["truth"].map({"a": "b", "b": "a"}))
    with pytest.raises(CompareError, match="20 utterances differ") as caught:
        matched(rows, changed)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.folds import Audio, Fold, FoldError, check_fold, make_folds


def table(speakers: list[str], **columns: list[str]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "utterance_id": [f"u{i}" for i in range(len(speakers))],
            "speaker": speakers,
            **columns,
        }
    )


def audio(n: int) -> Audio:
    return Audio(keys=[f"key{i}" for i in range(n)])


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=2, max_size=80))
def test_every_row_is_tested_once_and_no_speaker_is_on_both_sides(numbers: list[int]) -> None:
    speakers = [f"s{i}" for i in [*numbers, 31]]
    folds = make_folds(table(speakers), audio(len(speakers)))
    assert sorted(np.concatenate([fold.test for fold in folds])) == list(range(len(speakers)))
    for fold in folds:
        assert not {speakers[i] for i in fold.test} & {speakers[i] for i in fold.train}
        assert len(fold.test) + len(fold.train) == len(speakers)


@pytest.mark.parametrize(("n_speakers", "n_folds"), [(2, 2), (12, 12), (13, 10), (40, 10)])
def test_up_to_twelve_speakers_are_left_out_alone(n_speakers: int, n_folds: int) -> None:
    speakers = [f"{i:02}" for i in range(n_speakers)] * 2
    folds = make_folds(table(speakers), audio(len(speakers)))
    assert len(folds) == n_folds
    names = [fold.name for fold in folds]
    if n_speakers <= 12:
        assert names == sorted(set(speakers))
    else:
        assert names == [f"fold {i:02}" for i in range(1, 11)]


def test_speakers_who_are_called_by_numbers_never_share_a_folds_name() -> None:
    speakers = ["2"] * 200 + [f"{i}" for i in range(3, 15) for _ in range(5)]
    folds = make_folds(table(speakers), audio(len(speakers)))
    assert len({fold.name for fold in folds}) == 10


def test_equal_names_in_two_corpora_are_two_speakers() -> None:
    manifest = table(["1", "2", "1", "2"], corpus=["a", "a", "b", "b"])
    assert [fold.name for fold in make_folds(manifest, audio(4))] == ["a/1", "a/2", "b/1", "b/2"]
    assert [fold.name for fold in make_folds(manifest, audio(4), column="corpus")] == ["a", "b"]
    one = table(["1", "2", "1", "2"], corpus=["a"] * 4)
    assert [fold.name for fold in make_folds(one, audio(4))] == ["1", "2"]


NAN = float("nan")


@pytest.mark.parametrize(
    ("spans", "is_shared"),
    [
        ([(0, NAN), (0, 3)], True),
        ([(0, NAN), (0.001, NAN)], True),
        ([(5, NAN), (0, 3)], False),
        ([(0, 3), (3, 5)], False),
        ([(2.9, 5), (0, 3)], True),
        ([(0, 10), (2, 3)], True),
    ],
    ids=["whole and part", "a hair apart", "before", "touching", "overlapping", "within"],
)
def test_a_fold_that_hears_one_stretch_of_a_file_on_both_sides_is_refused(
    spans: list[tuple[float, float]], is_shared: bool
) -> None:
    start, end = zip(*spans, (0, NAN), (0, NAN), strict=True)
    heard = Audio(keys=["1", "2", "3", "4"], sha256=["f", "f", "", ""], start=start, end=end)
    manifest = table(["a", "b", "c", "d"])
    if not is_shared:
        assert len(make_folds(manifest, heard)) == 4
        return
    with pytest.raises(FoldError, match="shares audio f between training and test"):
        make_folds(manifest, heard)


def test_one_side_may_hear_a_stretch_twice() -> None:
    heard = Audio(keys=["1", "2", "3"], sha256=["f"] * 3, start=[0, 1, 9], end=[5, 6, NAN])
    folds = make_folds(table(["a", "a", "b"]), heard)
    assert len(folds) == 2


def test_sessions_and_columns_of_the_users_own_make_folds() -> None:
    manifest = table(["a", "b", "c", "d"], session=["1", "1", "2", "2"], part=["x", "y", "y", "y"])
    assert [fold.name for fold in make_folds(manifest, audio(4), column="session")] == ["1", "2"]
    assert [len(fold.test) for fold in make_folds(manifest, audio(4), column="part")] == [1, 3]


def test_a_fold_that_shares_a_speaker_is_refused() -> None:
    manifest = table(["a", "b", "a", "d"], session=["1", "1", "2", "2"])
    with pytest.raises(FoldError, match="fold '1' shares speaker a between training and test"):
        make_folds(manifest, audio(4), column="session")


def test_a_fold_that_shares_audio_is_refused() -> None:
    with pytest.raises(FoldError, match="shares audio same between training and test"):
        make_folds(table(["a", "b", "c"]), Audio(keys=["same", "same", "other"]))


def test_check_fold_accepts_what_is_disjoint() -> None:
    fold = Fold(name="x", train=np.array([0, 1]), test=np.array([2]))
    check_fold(fold, ["a", "a", "b"], audio(3))


@pytest.mark.parametrize(
    ("manifest", "column", "message"),
    [
        (table(["a", "", "b", ""]), "speaker", r"2 of 4 utterances have no speaker \(u1, u3\)"),
        (table(["a", "a"]), "speaker", "1 different values; expected at least 2"),
        (table(["a", "b"], session=["1", "2"]), "sesion", "did you mean 'session'"),
        (table(["a", "b"], session=["1", ""]), "session", "1 of 2 utterances have no session"),
        (
            table([f"s{i}" for i in range(200)], part=[str(i) for i in range(200)]),
            "part",
            "200 different values; expected at most 100 folds",
        ),
    ],
    ids=["unknown speakers", "one speaker", "typing mistake", "empty session", "too many"],
)
def test_what_cannot_be_folded_is_told(manifest: pd.DataFrame, column: str, message: str) -> None:
    with pytest.raises(FoldError, match=message):
        make_folds(manifest, audio(len(manifest)), column=column)

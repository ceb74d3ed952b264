"""ARFF as liac-arff reads it, after the conventions of WEKA."""

from pathlib import Path
from typing import Any

import arff
import numpy as np
import pytest
import scipy.io.arff
from hypothesis import given
from hypothesis import strategies as st

from stages.sharing.arff import FILE, FORMAT, quoted, write
from stages.sharing.content import Content, content_of, pooled
from tests.shared_store import BREAKING, HOSTILE, recipe, selection_of

CONTROL = ("\x0b\x0c\x1c\x1e\x1f\x7f\x85", "\N{LINE SEPARATOR}\N{NO-BREAK SPACE}")
COMMENTS = ("%comment", "{0 1}", "@data", "\\n", "'", '"', "a\\", "{", "}", "a}", "NULL", "nan")
NAMES = [*HOSTILE, *BREAKING, *CONTROL, *COMMENTS]
HEADER = """\
@relation emostack-{recipe_id}

@attribute name string
@attribute frameTime numeric
@attribute corpus string
@attribute speaker string
@attribute f0 numeric
@attribute f1 numeric
@attribute f2 numeric
@attribute f3 numeric
@attribute f4 numeric
@attribute emotion {{anger,fear,'not sure'}}

@data
u,0.0,emodb,s0,"""


def written(content: Content, folder: Path) -> dict[str, Any]:
    """Write, and read with liac-arff."""
    folder.mkdir()
    write(content, folder)
    with (folder / FILE).open(encoding="utf-8") as file:
        document: dict[str, Any] = arff.load(file)
    return document


def check(document: dict[str, Any], content: Content) -> None:
    """Compare what was read with the content, row for row."""
    number = np.repeat(np.arange(content.n_utterances), content.n_rows)
    stacks = list(content.stacks())
    columns = list(zip(*document["data"], strict=True))
    for column, name in ((0, "utterance_id"), (2, "corpus"), (3, "speaker"), (-1, "emotion")):
        expected = content.manifest[name].iloc[number].tolist()
        assert [cell or "" for cell in columns[column]] == expected, name
        assert "" not in columns[column]
    assert columns[1] == tuple(np.concatenate([start for _, start, _ in stacks]).tolist())
    values = np.array(columns[4:-1], np.float32).T
    expected = np.concatenate([features for features, _, _ in stacks]).astype(np.float32)
    np.testing.assert_array_equal(values, expected)


@pytest.fixture
def hostile(tmp_path: Path) -> Content:
    speakers = ["", *NAMES[1:]]
    filled = selection_of(
        tmp_path / "store", NAMES, speaker=speakers, corpus=NAMES, emotion=[*NAMES[:-1], ""]
    )
    return content_of(*filled, recipe())


def test_the_header_is_wekas_name_first_and_class_last(tmp_path: Path) -> None:
    names = ["u", "v", "w", "x"]
    labels = ["not sure", "fear", "anger", ""]
    content = content_of(*selection_of(tmp_path / "store", names, emotion=labels), recipe())
    written(content, tmp_path / "out")
    text = (tmp_path / "out" / FILE).read_text(encoding="utf-8")
    assert text.startswith(HEADER.format(recipe_id=recipe().recipe_id))
    assert text.endswith(",?\n")
    assert "\r" not in text


def test_hostile_names_labels_and_features_read_back(hostile: Content, tmp_path: Path) -> None:
    document = written(hostile, tmp_path / "out")
    check(document, hostile)
    assert document["attributes"][-1] == ("emotion", sorted(NAMES[:-1]))


def test_no_line_is_broken_by_a_name(hostile: Content, tmp_path: Path) -> None:
    written(hostile, tmp_path / "out")
    body = (tmp_path / "out" / FILE).read_bytes().partition(b"@data\n")[2]
    assert body.count(b"\n") == hostile.n_rows.sum()
    assert not set(range(32)) - {10} & set(body)


def test_pooled_rows_read_back(hostile: Content, tmp_path: Path) -> None:
    content = pooled(hostile)
    document = written(content, tmp_path / "out")
    assert [name for name, _ in document["attributes"]][4:6] == ["mean_f0", "mean_f1"]
    assert len(document["data"]) == len(NAMES)
    check(document, content)


@pytest.mark.parametrize(
    ("labels", "kind"),
    [(["", "", ""], "STRING"), (["joy", "", "joy"], ["joy"]), (["a b", "", "a b"], ["a b"])],
)
def test_missing_labels_are_missing_values(
    tmp_path: Path, labels: list[str], kind: str | list[str]
) -> None:
    filled = selection_of(tmp_path / "store", ["u", "v", "w"], emotion=labels, corpus="")
    content = content_of(*filled, recipe())
    document = written(content, tmp_path / "out")
    assert document["attributes"][-1] == ("emotion", kind)
    assert document["data"][1][-1] is None
    check(document, content)


def test_one_segment_reads_back(tmp_path: Path) -> None:
    content = content_of(*selection_of(tmp_path / "store", ["u"]), recipe())
    document = written(content, tmp_path / "out")
    assert len(document["data"]) == 1
    check(document, content)


def test_scipy_does_not_read_it_as_the_card_says(hostile: Content, tmp_path: Path) -> None:
    written(hostile, tmp_path / "out")
    assert "scipy.io.arff does not read it" in FORMAT.files
    with pytest.raises(NotImplementedError, match="String attributes"):
        scipy.io.arff.loadarff(tmp_path / "out" / FILE)


texts = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.lists(texts, min_size=1))
def test_any_text_is_a_value_that_reads_back(values: list[str]) -> None:
    header = "".join(f"@attribute a{i} string\n" for i in range(len(values)))
    line = ",".join(map(quoted, values))
    document = arff.loads(f"@relation r\n{header}@data\n{line}\n")
    assert [value or "" for value in document["data"][0]] == values


@given(st.lists(texts.filter(bool), min_size=1, max_size=8, unique=True))
def test_any_texts_are_classes_that_read_back(labels: list[str]) -> None:
    classes = ",".join(map(quoted, labels))
    rows = "".join(f"{quoted(label)}\n" for label in labels)
    document = arff.loads(f"@relation r\n@attribute emotion {{{classes}}}\n@data\n{rows}")
    assert document["attributes"] == [("emotion", labels)]
    assert document["data"] == [[label] for label in labels]

import pickle
import tomllib
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.extraction import ExtractOptions
from pipeline.night_options import NightOptions, read_corpus
from pipeline.session import Session
from stages.corpora.labels import (
    LabelError,
    LabelMap,
    read_label_map,
    settle_labels,
    toml_text,
)
from stages.corpora.spellings import CANONICAL, KNOWN, canonical_name
from stages.recipe import DEFAULT, load_recipe
from tests.command_line import Emostack, command_line

HOSTILE = [
    'joy, "quoted"',
    "two\nlines",
    "=cmd('calc')",
    "<script>",
    "\x1b[31mred",
    "\x7f\u202e",
    "back\\slash",
    "日本 😀",
    "x" * 300,
]


@pytest.fixture
def emostack(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Emostack:
    """Call the command line in this process."""
    return command_line(monkeypatch, capfd)


def rows(*labels: str) -> pd.DataFrame:
    ids = [str(i) for i in range(len(labels))]
    return pd.DataFrame({"utterance_id": ids, "emotion": list(labels)})


def written(folder: Path, text: str) -> Path:
    path = folder / "map.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "spellings"),
    [
        ("anger", ["Angry", "ANG", "Wut", "wütend", "Ärger", "colère", "rabbia", "Angray"]),
        ("boredom", ["bored", "Langeweile", "boredem"]),
        ("calm", ["Calm", "ruhig"]),
        ("contempt", ["Contempt", "Verachtung"]),
        ("disgust", ["DIS", "disgusted", "Ekel", "dégoût"]),
        ("excitement", ["exc", "Excited"]),
        ("fear", ["fea", "fearful", "Angst", "peur"]),
        ("frustration", ["fru", "Frustrated"]),
        ("happiness", ["hap", "Happy", "joy", "Freude", "glücklich", "joie"]),
        ("neutral", ["NEU", "Neutral", "neutre"]),
        ("other", ["oth", "Others"]),
        ("sadness", ["sad", "Trauer", "traurig", "tristesse"]),
        ("surprise", ["sur", "surprised", "Superise", "Überraschung", "pleasant surprise"]),
    ],
)
def test_known_spellings_have_one_canonical_name(name: str, spellings: list[str]) -> None:
    assert [canonical_name(spelling) for spelling in spellings] == [name] * len(spellings)


def test_every_canonical_name_is_its_own() -> None:
    assert len(CANONICAL) == 13
    assert [canonical_name(name) for name in CANONICAL] == list(CANONICAL)
    assert set(KNOWN.values()) == set(CANONICAL)


@pytest.mark.parametrize(
    "label", ["anxiety", "con", "A", "xxx", "", "Amused", "Worried", "disappointment, disapproval"]
)
def test_what_may_mean_several_things_has_no_canonical_name(label: str) -> None:
    assert canonical_name(label) is None


@given(st.sampled_from(sorted(KNOWN)), st.sampled_from([str.upper, str.title, str.lower]))
def test_neither_case_nor_joined_words_matter(spelling: str, case: object) -> None:
    cased = case(spelling)  # type: ignore[operator]
    for text in [cased, f"  {cased} ", cased.replace(" ", "_"), cased.replace(" ", "-")]:
        assert canonical_name(text) == KNOWN[spelling]


def test_without_a_map_known_spellings_are_named_and_others_kept() -> None:
    settled, told = settle_labels(rows("joy", "calm", "awe", "awe", "", "Wut", "joy"))
    assert settled["emotion"].tolist() == [
        "happiness", "calm", "awe", "awe", "", "anger", "happiness",
    ]  # fmt: skip
    assert told == [
        "known spellings got their canonical names: 'Wut' 1 -> anger, 'joy' 2 -> happiness",
        "unknown labels were kept: 'awe' 2; name them with --map",
    ]


def test_canonical_labels_are_left_alone_silently() -> None:
    manifest = rows(*CANONICAL, "")
    settled, told = settle_labels(manifest)
    pd.testing.assert_frame_equal(settled, manifest)
    assert told == []


def test_a_manifest_without_rows_stays_one() -> None:
    settled, told = settle_labels(rows())
    assert (len(settled), told) == (0, [])


def test_a_map_comes_first_and_leaves_out() -> None:
    says = LabelMap(labels={"joy": "positive", "": "unlabelled"}, leave_out=("xxx",))
    settled, told = settle_labels(rows("joy", "xxx", "", "positive", "sad", "xxx"), says)
    assert settled["emotion"].tolist() == ["positive", "unlabelled", "positive", "sadness"]
    assert settled["utterance_id"].tolist() == ["0", "2", "3", "4"]
    assert settled.index.tolist() == [0, 1, 2, 3]
    assert told == [
        "known spellings got their canonical names: 'sad' 1 -> sadness",
        "utterances left out by the label map: 'xxx' 2",
    ]


def test_a_name_that_a_map_gives_is_not_looked_up_again() -> None:
    settled, _ = settle_labels(rows("hot", "joy"), LabelMap(labels={"hot": "joy"}))
    assert settled["emotion"].tolist() == ["joy", "joy"]


def test_a_map_may_make_a_label_unlabelled() -> None:
    settled, _ = settle_labels(rows("xxx", "fear"), LabelMap(labels={"xxx": ""}))
    assert settled["emotion"].tolist() == ["", "fear"]


def test_with_a_map_an_unknown_label_is_an_error_that_lists_every_spelling() -> None:
    says = LabelMap(labels={"joy": "positive"}, leave_out=("xxx",))
    with pytest.raises(LabelError, match=r"1 label\(s\) are neither mapped") as caught:
        settle_labels(rows("joy", "xxx", "awe", "awe", "sad", ""), says)
    assert caught.value.problems == ("awe",)
    head, *lines = str(caught.value).split("\n")
    assert "expected each to be one of these" in head
    assert lines == [
        '# left out: "xxx"  # 1 utterances',
        "[labels]",
        '"awe" = "awe"  # 2 utterances, unknown',
        '"joy" = "positive"  # 1 utterances',
        '"sad" = "sadness"  # 1 utterances',
    ]


def test_what_the_error_lists_can_be_put_into_the_map(tmp_path: Path) -> None:
    manifest = rows(*HOSTILE, "joy")
    with pytest.raises(LabelError) as caught:
        settle_labels(manifest, LabelMap(labels={"joy": "positive"}))
    listing = str(caught.value).split("\n", 1)[1]
    assert all(line.isprintable() for line in listing.split("\n"))
    settled, told = settle_labels(manifest, read_label_map(written(tmp_path, listing)))
    assert settled["emotion"].tolist() == [*HOSTILE, "positive"]
    assert told == []


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=12))
def test_any_text_survives_toml(text: str) -> None:
    assert tomllib.loads(f"x = {toml_text(text)}") == {"x": text}


LABEL = st.text(st.sampled_from("ab"), min_size=1, max_size=2)


@given(st.lists(LABEL, min_size=1), st.dictionaries(LABEL, LABEL), st.sets(LABEL))
def test_a_map_settles_every_label_or_names_those_it_does_not(
    labels: list[str], mapped: dict[str, str], left_out: set[str]
) -> None:
    mapped = {old: new for old, new in mapped.items() if old in labels and old not in left_out}
    says = LabelMap(labels=mapped, leave_out=tuple(sorted(left_out & set(labels))))
    loose = {x for x in labels if x not in left_out and x not in {*mapped, *mapped.values()}}
    try:
        settled, _ = settle_labels(rows(*labels), says)
    except LabelError as error:
        assert set(error.problems) == loose  # noqa: PT017 - or all were left out
        assert loose or set(labels) <= left_out
    else:
        assert not loose
        wanted = Counter(mapped.get(x, x) for x in labels if x not in left_out)
        assert Counter(settled["emotion"]) == wanted


@pytest.mark.parametrize(
    "says", [LabelMap(labels={"angr": "x"}), LabelMap(leave_out=("angr",))], ids=["maps", "omits"]
)
def test_a_map_of_labels_that_are_not_there_names_the_nearest(says: LabelMap) -> None:
    with pytest.raises(LabelError, match=r"no row has the emotion \['angr'\].*mean 'anger'"):
        settle_labels(rows("anger", "fear"), says)


def test_a_map_that_leaves_nothing_is_told() -> None:
    with pytest.raises(LabelError, match="leaves out all 2 utterances"):
        settle_labels(rows("xxx", "xxx"), LabelMap(leave_out=("xxx",)))


def test_a_column_that_is_none_of_labels_does_not_flood_the_screen() -> None:
    _, told = settle_labels(rows(*(f"text{i}" for i in range(2000))))
    assert told[0].endswith("and 1500 more; name them with --map")
    with pytest.raises(LabelError) as caught:
        settle_labels(rows("a", *(f"text{i}" for i in range(2000))), LabelMap(labels={"a": "b"}))
    assert str(caught.value).endswith("# and 1503 more")


def test_a_map_is_read(tmp_path: Path) -> None:
    text = 'leave_out = ["xxx", "xxx", "oth"]\n[labels]\n"Ärger, heiß" = "anger"\n"" = "?"\n'
    says = read_label_map(written(tmp_path, text))
    assert says == LabelMap(labels={"Ärger, heiß": "anger", "": "?"}, leave_out=("xxx", "oth"))
    assert read_label_map(written(tmp_path, 'leave_out = ["x"]')).labels == {}


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "has no table"),
        ("[labels\n", "cannot be read"),
        ("labels = 3", r"no table \[labels\]"),
        ("[labels]\na = 1\n", "expected texts in quotes"),
        ("[labels]\na = 'b'\nleave_out = ['x']\n", "expected it before"),
        ("[label]\na = 'b'\n", r"has 'label'; expected \[labels\]"),
        ("leave_out = 'x'\n", "no list of texts"),
        ("leave_out = [1]\n", "no list of texts"),
        ("leave_out = ['a']\n[labels]\na = 'b'\n", "both maps and leaves out 'a'"),
        ("a = " + "[" * 5000, "cannot be read"),
    ],
)
def test_what_is_no_map_is_refused(tmp_path: Path, text: str, match: str) -> None:
    with pytest.raises(LabelError, match=match):
        read_label_map(written(tmp_path, text))


def test_a_map_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="cannot be read"):
        read_label_map(tmp_path / "nowhere.toml")
    (tmp_path / "map.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(LabelError, match="cannot be read"):
        read_label_map(tmp_path / "map.toml")


def test_the_error_travels_between_processes() -> None:
    again = pickle.loads(pickle.dumps(LabelError("text", problems=("a",))))
    assert (str(again), again.problems) == ("text", ("a",))


def test_the_documentation_names_the_whole_vocabulary_and_shows_a_map_that_is_one(
    tmp_path: Path,
) -> None:
    text = (Path(__file__).parent.parent / "docs" / "corpora.md").read_text(encoding="utf-8")
    section = text.partition("\n## Labels\n")[2]
    quoted = " ".join(line[2:] for line in section.splitlines() if line.startswith("> "))
    assert tuple(quoted.split(", ")) == CANONICAL
    block = section.partition("```toml\n")[2].partition("```")[0]
    says = read_label_map(written(tmp_path, block))
    settled, told = settle_labels(
        rows("pleasant surprise", "bored", "???", "xxx", "no agreement", "HAP"), says
    )
    assert settled["emotion"].tolist() == ["happiness", "low arousal", "", "happiness"]
    assert told == [
        "known spellings got their canonical names: 'HAP' 1 -> happiness",
        "utterances left out by the label map: 'no agreement' 1, 'xxx' 1",
    ]


def corpus(folder: Path) -> Path:
    table = "file,emotion\na.wav,joy\nb.wav,awe\nc.wav,xxx\n"
    (folder / "t.csv").write_text(table)
    for name in "abc":
        (folder / f"{name}.wav").touch()
    return folder


def test_the_verb_tells_what_became_of_labels(tmp_path: Path, emostack: Emostack) -> None:
    folder, out = corpus(tmp_path), tmp_path / "m.parquet"
    done = emostack("manifest", "csv", folder, "-o", out, "--json")
    assert done.fields["emotions"] == {"awe": 1, "happiness": 1, "xxx": 1}
    told = "unknown labels were kept: 'awe' 1, 'xxx' 1; name them with --map"
    assert told in done.fields["problems"]
    assert f"warning: {told}" in done.err


def test_the_verb_takes_a_map_or_says_what_it_lacks(tmp_path: Path, emostack: Emostack) -> None:
    folder, out = corpus(tmp_path), tmp_path / "m.csv"
    words = ["manifest", "csv", folder / "t.csv", "-o", out, "--map", tmp_path / "map.toml"]
    written(tmp_path, 'leave_out = ["xxx"]\n')
    done = emostack(*words)
    assert (done.status, out.exists()) == (1, False)
    assert '"awe" = "awe"  # 1 utterances, unknown\n"joy" = "happiness"' in done.err
    written(tmp_path, 'leave_out = ["xxx"]\n' + done.err.partition("[labels]")[1] + "\nawe = 'ah'")
    done = emostack(*words)
    assert done.status == 0
    assert "2 utterances, 0 speakers; ah 1, happiness 1" in done.out
    assert f"pass --audio {tmp_path} along" in done.out


def test_the_list_of_corpora_says_what_may_be_done_with_them(emostack: Emostack) -> None:
    found = {entry["name"]: entry for entry in emostack("corpora", "--json").fields["corpora"]}
    wanted = ("n_utterances", "language", "sharing")
    assert [found["iemocap"][key] for key in wanted] == [5531, "en", "forbidden"]
    assert [found["csv"][key] for key in wanted] == [None, "", "unclear"]
    text = emostack("corpora").out
    assert "  classes   anger, happiness, neutral, sadness (5531 utterances)\n" in text
    assert "  features  may not be handed on\n" in text


@pytest.mark.parametrize(
    ("source", "has_map", "expected"),
    [
        ("reader", False, ["happiness", "awe", "xxx"]),
        ("reader", True, ["happiness", "ah", ""]),
        ("manifest", False, ["joy", "awe", "xxx"]),
        ("manifest", True, ["happiness", "ah", ""]),
    ],
)
def test_a_night_names_labels_as_the_verb_does(
    tmp_path: Path, source: str, has_map: bool, expected: list[str]
) -> None:
    folder = corpus(tmp_path)
    manifest = tmp_path / "m.csv"
    manifest.write_text(
        "utterance_id,file,speaker,emotion\na,a.wav,,joy\nb,b.wav,,awe\nc,c.wav,,xxx\n"
    )
    label_map = written(tmp_path, '[labels]\nawe = "ah"\nxxx = ""\n') if has_map else None
    options = NightOptions(
        title="t",
        reader="csv" if source == "reader" else "",
        source=folder / "t.csv" if source == "reader" else manifest,
        audio=folder,
        allow_absolute=False,
        label_map=read_label_map(label_map) if label_map else None,
        recipe=load_recipe(DEFAULT),
        recipe_name=DEFAULT,
        views=(),
        extract=ExtractOptions(),
        check=False,
        train=None,
        prometheus=folder / "x.prom",
    )
    session = Session(quiet=True)
    assert read_corpus(session, options)["emotion"].tolist() == expected
    assert ("'joy' 1 -> happiness" in " ".join(session.warnings)) == (expected[0] == "happiness")

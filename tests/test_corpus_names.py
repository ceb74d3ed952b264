"""Corpora's names, forwards and back: their forms and their whole designs, written a second time."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.corpora.labels import CANONICAL
from stages.corpora.named_files import NamedFiles
from stages.corpora.table import READERS

NAMED = {name: each for name, each in READERS.items() if isinstance(each, NamedFiles)}
every_named = pytest.mark.parametrize("name", NAMED)


# Every name of a corpus as it was designed: the tables of codes and the counts must agree on it.
def _ravdess(channel: str, emotions: int, actors: Sequence[int]) -> Iterator[str]:
    for emotion, i, s, r, actor in itertools.product(
        range(1, emotions + 1), (1, 2), (1, 2), (1, 2), actors
    ):
        if (emotion, i) != (1, 2):
            yield f"03-{channel}-{emotion:02}-{i:02}-{s:02}-{r:02}-{actor:02}.wav"


def _cafe() -> Iterator[str]:
    for actor, sentence in itertools.product(range(1, 13), range(1, 7)):
        yield f"{actor:02}-N-{sentence}.wav"
        for emotion, intensity in itertools.product("CDJPST", "12"):
            yield f"{actor:02}-{emotion}-{intensity}-{sentence}.wav"


def _enterface() -> Iterator[str]:
    for s, emotion, i in itertools.product(
        range(1, 45), ("an", "di", "fe", "ha", "sa", "su"), "12345"
    ):
        if s != 6 and not (s == 23 and emotion == "ha" and i in "123"):
            yield f"subject {s}/s{12 if s == 11 else s}_{emotion}_{i}.wav"


def _esd(first: int) -> Iterator[str]:
    for speaker, (n, emotion) in itertools.product(
        range(first, 21), enumerate(["Neutral", "Angry", "Happy", "Sad", "Surprise"])
    ):
        for number in range(350 * n + 1, 350 * n + 351):
            yield f"{speaker:04}/{emotion}/{speaker:04}_{number:06}.wav"


def _products(template: str, *values: Sequence[object]) -> Iterator[str]:
    return (template.format(*each) for each in itertools.product(*values))


DESIGNS: dict[str, tuple[int, Callable[[], Iterator[str]]]] = {
    "cafe": (12, _cafe),
    "emovo": (6, lambda: _products(
        "{}-{}-{}.wav", ["dis", "gio", "neu", "pau", "rab", "sor", "tri"],
        ["f1", "f2", "f3", "m1", "m2", "m3"],
        ["b1", "b2", "b3", "l1", "l2", "l3", "l4", "n1", "n2", "n3", "n4", "n5", "d1", "d2"],
    )),
    "enterface": (43, _enterface),
    "esd": (20, lambda: _esd(1)),
    "esd-english": (10, lambda: _esd(11)),
    "ravdess": (24, lambda: _ravdess("01", 8, range(1, 25))),
    "ravdess-song": (23, lambda: _ravdess("02", 6, [n for n in range(1, 25) if n != 18])),
    "savee": (4, lambda: itertools.chain(
        _products("{}/{}{:02}.wav", ["DC", "JE", "JK", "KL"], ["a", "d", "f", "h", "sa", "su"],
                  range(1, 16)),
        _products("{}_n{:02}.wav", ["DC", "JE", "JK", "KL"], range(1, 31)),
    )),
    "subesco": (20, lambda: _products(
        "{}_{:02}_NAME_S_{}_{}_{}.wav", "FM", range(1, 11), range(1, 11),
        ["ANGRY", "DISGUST", "FEAR", "HAPPY", "NEUTRAL", "SAD", "SURPRISE"], range(1, 6),
    )),
    "tess": (2, lambda: _products(
        "{}_{}_{}.wav", ["OAF", "YAF"],
        [first + second for first in "abcdefghijklmnopqrst" for second in "aeiouvwxyz"],
        ["angry", "disgust", "fear", "happy", "neutral", "ps", "sad"],
    )),
}  # fmt: skip


@pytest.mark.parametrize("name", DESIGNS)
def test_the_names_of_a_whole_corpus_add_up_to_the_published_counts(name: str) -> None:
    n_speakers, names = DESIGNS[name]
    rows = [row for row in map(NAMED[name].row, names()) if row is not None]
    assert Counter(row["emotion"] for row in rows) == NAMED[name].counts
    assert len({row["utterance_id"] for row in rows}) == len(rows)
    assert len({row["speaker"] for row in rows}) == n_speakers
    assert all(NAMED[name].part(row) for row in rows)


@pytest.mark.parametrize(
    ("name", "total"),
    [
        ("cafe", 936), ("cremad", 7442), ("emodb", 535), ("emovo", 588), ("enterface", 1287),
        ("esd", 35000), ("esd-english", 17500), ("ravdess", 1440), ("ravdess-song", 1012),
        ("savee", 480), ("shemo", 3000), ("subesco", 7000), ("tess", 2800), ("urdu", 400),
    ],
)  # fmt: skip
def test_the_published_counts_add_up(name: str, total: int) -> None:
    assert NAMED[name].n_utterances == total


@pytest.mark.parametrize("name", READERS)
def test_every_class_of_every_reader_is_canonical(name: str) -> None:
    assert set(READERS[name].classes) <= set(CANONICAL)


def test_the_readers_stand_by_name() -> None:
    assert list(READERS) == sorted(READERS)


@dataclass(frozen=True)
class Form:
    """How a corpus makes names of fields, written down a second time."""

    name: str
    fields: Mapping[str, Sequence[str]]
    row: Callable[[Mapping[str, str]], Mapping[str, str]]


def _digits(width: int, first: int, last: int) -> list[str]:
    return [f"{n:0{width}}" for n in range(first, last + 1)]


def _words(text: str) -> list[str]:
    return text.split()


def _codes(text: str) -> dict[str, str]:
    return dict(pair.split("=") for pair in text.split())


RAVDESS_E = _codes(
    "01=neutral 02=calm 03=happiness 04=sadness 05=anger 06=fear 07=disgust 08=surprise"
)
CAFE_E = _codes("C=anger D=disgust J=happiness P=fear S=surprise T=sadness")
CREMAD_E = _codes("ANG=anger DIS=disgust FEA=fear HAP=happiness NEU=neutral SAD=sadness")
CREMAD_L = _codes("LO=low MD=medium HI=high XX= X=")
EMODB_E = _codes("W=anger L=boredom E=disgust A=fear F=happiness N=neutral T=sadness")
EMODB_S = _codes(
    "03=male 08=female 09=female 10=male 11=male 12=male 13=female 14=female 15=male 16=female"
)
EMOVO_E = _codes(
    "dis=disgust gio=happiness neu=neutral pau=fear rab=anger sor=surprise tri=sadness"
)
ENTERFACE_E = _codes("an=anger di=disgust fe=fear ha=happiness sa=sadness su=surprise")
ESD_E = _codes("Angry=anger Happy=happiness Neutral=neutral Sad=sadness Surprise=surprise")
ESD_MEN = {4, 5, 6, 8, 10, 11, 12, 13, 14, 20}
SAVEE_E = _codes("a=anger d=disgust f=fear h=happiness n=neutral sa=sadness su=surprise")
SHEMO_E = _codes("A=anger F=fear H=happiness N=neutral S=sadness W=surprise")
SUBESCO_E = _codes(
    "ANGRY=anger DISGUST=disgust FEAR=fear HAPPY=happiness NEUTRAL=neutral SAD=sadness "
    "SURPRISE=surprise"
)
TESS_E = _codes(
    "angry=anger disgust=disgust fear=fear happy=happiness neutral=neutral ps=surprise sad=sadness"
)
URDU_E = _codes("A=anger H=happiness N=neutral S=sadness")
SEX = {"F": "female", "M": "male", "f": "female", "m": "male"}
PARITY = ("female", "male")


def _sung_or_spoken(channel: str, word: str, emotions: Sequence[str]) -> Form:
    return Form(
        f"03-{channel}-{{e}}-{{i}}-{{s}}-{{r}}-{{a}}",
        {"e": emotions, "i": ["01", "02"], "s": ["01", "02"], "r": ["01", "02"],
         "a": _digits(2, 1, 24)},
        lambda f: {
            "speaker": f["a"], "gender": PARITY[int(f["a"]) % 2], "emotion": RAVDESS_E[f["e"]],
            "channel": word, "intensity": {"01": "normal", "02": "strong"}[f["i"]],
            "sentence": f["s"], "repetition": f["r"],
        },
    )  # fmt: skip


def _of_esd(first: int) -> Form:
    return Form(
        "{e}/{s}_{n}",
        {"e": list(ESD_E), "s": _digits(4, first, 20), "n": _digits(6, 1, 1750)},
        lambda f: {
            "speaker": f["s"], "gender": "male" if int(f["s"]) in ESD_MEN else "female",
            "emotion": ESD_E[f["e"]], "language": "zh" if int(f["s"]) < 11 else "en",
        },
    )  # fmt: skip


FORMS = {
    "cafe": Form(
        "{a}-{e}-{i}-{s}",
        {"a": _digits(2, 1, 12), "e": list(CAFE_E), "i": ["1", "2"], "s": _digits(1, 1, 6)},
        lambda f: {
            "speaker": f["a"], "gender": PARITY[int(f["a"]) % 2], "emotion": CAFE_E[f["e"]],
            "intensity": {"1": "low", "2": "high"}[f["i"]], "sentence": f["s"],
        },
    ),
    "cremad": Form(
        "{a}_{s}_{e}_{l}",
        {"a": _digits(4, 1001, 1091), "e": list(CREMAD_E), "l": list(CREMAD_L),
         "s": _words("DFA IEO IOM ITH ITS IWL IWW MTI TAI TIE TSI WSI")},
        lambda f: {
            "speaker": f["a"], "gender": "", "emotion": CREMAD_E[f["e"]],
            "intensity": CREMAD_L[f["l"]], "sentence": f["s"],
        },
    ),
    "emodb": Form(
        "{s}{t}{e}{v}",
        {"s": list(EMODB_S), "t": _words("a01 a02 a04 a05 a07 b01 b02 b03 b09 b10"),
         "e": list(EMODB_E), "v": ["", "a", "b", "c", "d"]},
        lambda f: {
            "speaker": f["s"], "gender": EMODB_S[f["s"]], "emotion": EMODB_E[f["e"]],
        },
    ),
    "emovo": Form(
        "{e}-{s}-{t}",
        {"e": list(EMOVO_E), "s": ["f1", "f2", "f3", "m1", "m2", "m3"],
         "t": _words("b1 b2 b3 l1 l2 l3 l4 n1 n2 n3 n4 n5 d1 d2")},
        lambda f: {
            "speaker": f["s"], "gender": SEX[f["s"][0]], "emotion": EMOVO_E[f["e"]],
            "sentence": f["t"],
        },
    ),
    "enterface": Form(
        "s{s}_{e}_{i}",
        {"s": _digits(1, 1, 44), "e": list(ENTERFACE_E), "i": _digits(1, 1, 5)},
        lambda f: {
            "speaker": "s" + f["s"], "gender": "", "emotion": ENTERFACE_E[f["e"]],
            "sentence": f["i"],
        },
    ),
    "esd": _of_esd(1),
    "esd-english": _of_esd(11),
    "ravdess": _sung_or_spoken("01", "speech", list(RAVDESS_E)),
    "ravdess-song": _sung_or_spoken("02", "song", list(RAVDESS_E)[:6]),
    "savee": Form(
        "{s}_{e}{n}",
        {"s": ["DC", "JE", "JK", "KL"], "e": list(SAVEE_E), "n": _digits(2, 1, 30)},
        lambda f: {"speaker": f["s"], "gender": "male", "emotion": SAVEE_E[f["e"]]},
    ),
    "shemo": Form(
        "{x}{s}{e}{n}",
        {"x": ["F", "M"], "s": _digits(2, 1, 56), "e": list(SHEMO_E), "n": _digits(2, 1, 130)},
        lambda f: {"speaker": f["x"] + f["s"], "gender": SEX[f["x"]], "emotion": SHEMO_E[f["e"]]},
    ),
    "subesco": Form(
        "{x}_{n}_{w}_S_{s}_{e}_{t}",
        {"x": ["F", "M"], "n": _digits(2, 1, 10), "w": ["EVAN", "OISHI", "S", "SAD"],
         "s": _digits(1, 1, 10), "e": list(SUBESCO_E), "t": _digits(1, 1, 5)},
        lambda f: {
            "speaker": f["x"] + "_" + f["n"], "gender": SEX[f["x"]], "emotion": SUBESCO_E[f["e"]],
            "sentence": f["s"], "repetition": f["t"],
        },
    ),
    "tess": Form(
        "{s}_{w}_{e}",
        {"s": ["OAF", "YAF"], "w": ["back", "dog", "ps", "sad", "fear"], "e": list(TESS_E)},
        lambda f: {
            "speaker": f["s"], "gender": "female", "emotion": TESS_E[f["e"]], "sentence": f["w"],
        },
    ),
    "urdu": Form(
        "S{x}{s}_F{n}_{e}0{n}",
        {"x": ["F", "M"], "s": _digits(1, 1, 27), "n": _digits(1, 1, 100), "e": list(URDU_E)},
        lambda f: {
            "speaker": "S" + f["x"] + f["s"], "gender": SEX[f["x"]], "emotion": URDU_E[f["e"]],
        },
    ),
}  # fmt: skip


def test_every_reader_by_names_has_its_form_written_down() -> None:
    assert sorted(FORMS) == sorted(NAMED)


@every_named
@given(data=st.data())
def test_fields_become_a_name_and_come_back(name: str, data: st.DataObject) -> None:
    form = FORMS[name]
    fields = {key: data.draw(st.sampled_from(list(codes))) for key, codes in form.fields.items()}
    path = form.name.format(**fields)
    folder = data.draw(st.sampled_from(["", "a/", "Actor 1/b,c/"]))
    suffix = data.draw(st.sampled_from([".wav", ".WAV"]))
    row = NAMED[name].row(folder + path + suffix)
    assert row == {"utterance_id": PurePosixPath(path).name, **form.row(fields)}
    assert NAMED[name].part(row)
    assert row["emotion"] in NAMED[name].classes


@every_named
@given(
    file=st.text(alphabet=st.characters(exclude_characters="\0"), max_size=300)
    | st.from_regex(r"[A-Za-z0-9_/-]{1,30}\.wav", fullmatch=True)
)
def test_no_name_breaks_a_reader(name: str, file: str) -> None:
    row = NAMED[name].row(file)
    if row is not None:
        assert row["utterance_id"]
        assert row["emotion"] in {*NAMED[name].classes, ""}

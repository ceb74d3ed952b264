from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
from numpy.typing import NDArray

from stages.check import AT_A_TIME, Checkup, Source, check
from stages.frontend.logmel import FrontEnd
from stages.manifest import complete, write_manifest
from tests.command_line import Emostack, command_line
from tests.hostile_audio import RATE, voice_like, write_hostile_corpus


@pytest.fixture
def emostack(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Emostack:
    return command_line(monkeypatch, capfd)


def manifest_of(files: dict[str, str], **columns: object) -> pd.DataFrame:
    table = {"utterance_id": list(files), "file": list(files.values())}
    defaults = {"start": 0.0, "end": np.nan, "speaker": "s1", "emotion": "neutral"}
    return complete(pd.DataFrame(table).assign(**(defaults | columns)))


def examine(manifest: pd.DataFrame, root: Path) -> Checkup:
    return check([Source(name="m.csv", rows=manifest, root=root)], FrontEnd())


def codes(manifest: pd.DataFrame, root: Path) -> list[tuple[str, str]]:
    return [(found.utterance_id, found.code) for found in examine(manifest, root).problems]


def clipped(gain: float, *, limit: float = 1.0) -> NDArray[np.float32]:
    samples: NDArray[np.float32] = np.clip(gain * voice_like(), -limit, limit)
    return samples


def whole_numbers(duration_s: float = 1.0, *, seed: int = 0) -> NDArray[np.int16]:
    """Sound that every lossless format holds as it is."""
    return np.round(20000 * voice_like(duration_s, seed=seed)).astype(np.int16)


def test_every_hostile_file_is_named_with_its_code_and_no_other(tmp_path: Path) -> None:
    files = write_hostile_corpus(tmp_path, long_s=20.0)
    manifest = manifest_of({name: path.name for name, (path, _) in files.items()})
    expected = {name: code for name, (_, code) in files.items() if code != "ok"}
    found = examine(manifest, tmp_path)
    assert [(p.utterance_id, p.code) for p in found.problems] == list(expected.items())
    assert found.n_ok == len(files) - len(expected)


@pytest.mark.parametrize(
    ("subtype", "samples", "is_clipped"),
    [
        ("PCM_16", clipped(1.0), False),
        ("PCM_16", clipped(5.0), True),
        ("PCM_24", clipped(5.0), True),
        ("PCM_U8", clipped(5.0), True),
        ("ULAW", clipped(5.0), True),
        ("FLOAT", clipped(5.0), True),
        ("PCM_16", clipped(5.0, limit=0.5), False),
    ],
)
def test_clipping_is_full_scale_in_a_row(
    tmp_path: Path, subtype: str, samples: NDArray[np.float32], is_clipped: bool
) -> None:
    stereo = np.stack([0.1 * samples, samples], axis=1)
    soundfile.write(tmp_path / "a.wav", stereo, RATE, subtype=subtype)
    expected = [("a", "clipped")] if is_clipped else []
    assert codes(manifest_of({"a": "a.wav"}), tmp_path) == expected


def test_peaks_that_only_touch_full_scale_are_not_clipped(tmp_path: Path) -> None:
    samples = np.tile(np.array([1.0, 0.0, -1.0, 0.0], np.float32), 4000)
    soundfile.write(tmp_path / "a.wav", samples, RATE)
    assert codes(manifest_of({"a": "a.wav"}), tmp_path) == []


@pytest.mark.parametrize(("run", "expected"), [(3, [("a", "clipped")]), (2, [])])
def test_a_run_at_full_scale_goes_on_over_the_end_of_a_block(
    tmp_path: Path, run: int, expected: list[tuple[str, str]]
) -> None:
    block_frames = 65536  # what is read at a time
    samples = np.zeros(2 * block_frames, np.int16)
    samples[::8] = 2**15 - 1
    samples[block_frames - run + 1 : block_frames + 1] = 2**15 - 1
    soundfile.write(tmp_path / "a.wav", samples, RATE)
    assert codes(manifest_of({"a": "a.wav"}), tmp_path) == expected


def test_the_same_audio_twice_is_told_once(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", voice_like(), RATE)
    (tmp_path / "copy.wav").write_bytes((tmp_path / "a.wav").read_bytes())
    manifest = manifest_of(
        {"a": "a.wav", "copy": "copy.wav", "part": "a.wav", "part again": "copy.wav"},
        start=[0.0, 0.0, 0.5, 0.5],
    )
    assert codes(manifest, tmp_path) == [("copy", "duplicated"), ("part again", "duplicated")]
    message = examine(manifest, tmp_path).problems[0].message
    assert message.startswith("the same audio as utterance 'a'; expected it once")


def _as_flac(path: Path) -> None:
    soundfile.write(path.with_suffix(".flac"), whole_numbers(), RATE)


def _as_24_bit(path: Path) -> None:
    soundfile.write(path, whole_numbers().astype(np.int32) << 16, RATE, subtype="PCM_24")


def _as_float(path: Path) -> None:
    samples = whole_numbers() / np.float32(2**15)
    samples[samples == 0] = -0.0  # the same sound in other bits
    soundfile.write(path, samples, RATE, subtype="FLOAT")


def _as_aiff(path: Path) -> None:
    soundfile.write(path.with_suffix(".aiff"), whole_numbers(), RATE)


def _as_stereo(path: Path) -> None:
    soundfile.write(path, np.stack([whole_numbers()] * 2, axis=1), RATE)


def _with_other_metadata(path: Path) -> None:
    with soundfile.SoundFile(path, "w", RATE, 1, "PCM_16") as file:
        file.title = "Take 2, <unnamed>"
        file.write(whole_numbers())


SAME: dict[str, Callable[[Path], None]] = {
    "FLAC": _as_flac,
    "24 bits": _as_24_bit,
    "floats": _as_float,
    "AIFF": _as_aiff,
    "both channels alike": _as_stereo,
    "other metadata": _with_other_metadata,
}


@pytest.mark.parametrize("write", SAME.values(), ids=SAME)
def test_the_same_sound_in_other_bytes_is_found(
    tmp_path: Path, write: Callable[[Path], None]
) -> None:
    soundfile.write(tmp_path / "a.wav", whole_numbers(), RATE)
    write(tmp_path / "b.wav")
    (other,) = (path for path in tmp_path.iterdir() if path.stem == "b")
    assert other.read_bytes() != (tmp_path / "a.wav").read_bytes()
    manifest = manifest_of({"a": "a.wav", "b": other.name})
    assert codes(manifest, tmp_path) == [("b", "duplicated")]


OTHER: dict[str, tuple[NDArray[np.generic], int]] = {
    "another rate": (whole_numbers(), RATE + 1),
    "another gain": ((0.5 * whole_numbers()).astype(np.int16), RATE),
    "one sample less": (whole_numbers()[:-1], RATE),
    "one sample later": (np.roll(whole_numbers(), 1), RATE),
    "one sample changed": (np.where(np.arange(RATE) == 99, 7, whole_numbers()).astype(np.int16), RATE),
    "another second channel": (np.stack([whole_numbers(), whole_numbers(seed=1)], axis=1), RATE),
    "turned upside down": (-whole_numbers(), RATE),
}  # fmt: skip


@pytest.mark.parametrize(("samples", "rate"), OTHER.values(), ids=OTHER)
def test_another_sound_is_not_taken_for_the_same(
    tmp_path: Path, samples: NDArray[np.generic], rate: int
) -> None:
    soundfile.write(tmp_path / "a.wav", whole_numbers(), RATE)
    soundfile.write(tmp_path / "b.wav", samples, rate)
    assert codes(manifest_of({"a": "a.wav", "b": "b.wav"}), tmp_path) == []


def test_a_cut_is_the_same_as_its_place_in_the_long_recording(tmp_path: Path) -> None:
    long = whole_numbers(12.0)  # several blocks
    soundfile.write(tmp_path / "long.flac", long, RATE)
    soundfile.write(tmp_path / "cut.wav", long[2 * RATE : 9 * RATE], RATE)
    soundfile.write(tmp_path / "later.wav", long[2 * RATE + 1 : 9 * RATE + 1], RATE)
    manifest = manifest_of(
        {"whole": "long.flac", "part": "long.flac", "cut": "cut.wav", "later": "later.wav"},
        start=[0.0, 2.0, 0.0, 0.0],
        end=[np.nan, 9.0, 7.0, np.nan],
    )
    assert codes(manifest, tmp_path) == [("cut", "duplicated")]


def test_silence_and_what_is_too_short_are_not_called_the_same(tmp_path: Path) -> None:
    for name in ("a", "b"):
        soundfile.write(tmp_path / f"silent_{name}.wav", np.zeros(RATE, np.int16), RATE)
        soundfile.write(tmp_path / f"short_{name}.wav", whole_numbers(0.01), RATE)
    files = [f"{kind}_{name}" for kind in ("silent", "short") for name in ("a", "b")]
    expected = ["silent", "silent", "too_short", "too_short"]
    manifest = manifest_of({name: f"{name}.wav" for name in files})
    assert codes(manifest, tmp_path) == list(zip(files, expected, strict=True))


def test_clipped_twins_are_told_both_ways(tmp_path: Path) -> None:
    for name in ("a", "b"):
        soundfile.write(tmp_path / f"{name}.wav", clipped(5.0), RATE)
    found = codes(manifest_of({"a": "a.wav", "b": "b.wav"}), tmp_path)
    assert found == [("a", "clipped"), ("b", "clipped"), ("b", "duplicated")]


@pytest.mark.parametrize(
    ("emotions", "speakers", "code", "words"),
    [
        (("joy", "fear"), ("s", "s"), "duplicated_conflicting",
         "utterance 'a', but the emotion is 'fear' here and 'joy' there; expected one answer"),
        (("joy", "joy"), ("s", "t"), "duplicated_conflicting",
         "utterance 'a', but the speaker is 't' here and 's' there; expected one answer"),
        (("joy", "fear"), ("s", "t"), "duplicated_conflicting",
         "the emotion is 'fear' here and 'joy' there and the speaker is 't' here and 's' there"),
        (("joy", "joy "), ("s", "s"), "duplicated", "utterance 'a'; expected it once"),
        (("", "joy"), ("s", ""), "duplicated", "utterance 'a'; expected it once"),
    ],
)  # fmt: skip
def test_twins_that_disagree_are_worse_than_twins(
    tmp_path: Path,
    emotions: tuple[str, str],
    speakers: tuple[str, str],
    code: str,
    words: str,
) -> None:
    soundfile.write(tmp_path / "a.wav", whole_numbers(), RATE)
    manifest = manifest_of({"a": "a.wav", "b": "a.wav"}, emotion=emotions, speaker=speakers)
    (twin,) = (p for p in examine(manifest, tmp_path).problems if "missing" not in p.code)
    assert (twin.utterance_id, twin.code) == ("b", code)
    assert words in twin.message


def test_an_unknown_label_hides_no_disagreement_of_later_twins(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", whole_numbers(), RATE)
    manifest = manifest_of(
        dict.fromkeys("abcd", "a.wav"), emotion=["", "joy", "fear", "joy"], speaker="s"
    )
    twins = [p for p in examine(manifest, tmp_path).problems if "missing" not in p.code]
    assert [(p.utterance_id, p.code) for p in twins] == [
        ("b", "duplicated"), ("c", "duplicated_conflicting"), ("d", "duplicated"),
    ]  # fmt: skip
    assert "utterance 'b', but the emotion is 'fear' here and 'joy' there" in twins[1].message


def test_the_order_is_the_manifests_however_many_are_read_at_once(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", whole_numbers(), RATE)
    n = AT_A_TIME + 40
    files = {f"u{i}": "a.wav" if i % 3 else "missing.wav" for i in range(n)}
    manifest = manifest_of(files, end=[0.2 + 0.001 * (i // 2) for i in range(n)])
    told: list[int] = []
    source = Source(name="m.csv", rows=manifest, root=tmp_path)
    found = check([source], FrontEnd(), told.append)
    assert told == [AT_A_TIME, 40]
    names = [problem.utterance_id for problem in found.problems]
    assert names == sorted(names, key=lambda name: int(name[1:]))
    assert {p.code for p in found.problems} == {"missing", "duplicated"}
    assert found.n_ok == n - len(set(names))


def test_empty_labels_and_speakers_are_told_beside_what_else_is_wrong(tmp_path: Path) -> None:
    manifest = manifest_of({"a": "missing.wav"}, emotion="", speaker=" ")
    expected = [("a", "missing_label"), ("a", "missing_speaker"), ("a", "missing")]
    assert codes(manifest, tmp_path) == expected
    assert examine(manifest, tmp_path).n_ok == 0


def test_a_sound_corpus_has_no_problems_and_messages_are_one_line(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", voice_like(), RATE)
    assert examine(manifest_of({"a": "a.wav"}), tmp_path).problems == []
    (found,) = examine(manifest_of({"b": "new\nline.wav"}), tmp_path).problems
    assert "\n" not in found.message


def test_an_empty_manifest_holds_nothing(tmp_path: Path) -> None:
    found = examine(manifest_of({"a": "a.wav"}).iloc[:0], tmp_path)
    assert (found.n_ok, found.problems, found.overview["n_utterances"]) == (0, [], 0)


def write_corpus(folder: Path, name: str, files: dict[str, int], **columns: object) -> Path:
    """Write sounds, by seed, and a manifest beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    for file, seed in files.items():
        soundfile.write(folder / file, whole_numbers(0.5, seed=seed), RATE)
    rows = manifest_of({Path(file).stem: file for file in files}, **columns)
    write_manifest(rows, folder / name)
    return folder / name


def test_several_manifests_are_searched_for_doubles_between_them(
    tmp_path: Path, emostack: Emostack
) -> None:
    first = write_corpus(tmp_path / "x", "a.csv", {"u1.wav": 1, "u2.wav": 2}, corpus="berlin")
    second = write_corpus(
        tmp_path / "y", "b.csv", {"u1.flac": 2, "u3.flac": 1, "u4.wav": 4}, emotion="joy"
    )
    done = emostack("check", first, second, "--json")
    assert (done.status, done.fields["n_ok"]) == (0, 3)
    found = [(p["manifest"], p["utterance_id"], p["code"]) for p in done.fields["problems"]]
    conflict = "duplicated_conflicting"
    assert found == [(str(second), "u1", conflict), (str(second), "u3", conflict)]
    message = done.fields["problems"][0]["message"]
    assert f"utterance 'u2' (corpus 'berlin', manifest {str(first)!r})" in message
    corpora = {one["name"]: one["n_utterances"] for one in done.fields["overview"]["corpora"]}
    assert corpora == {"berlin": 2, "b": 3}
    text = emostack("check", first, second).out
    assert f"{str(second)!r}: 'u1': {conflict}: the same audio" in text
    assert text.splitlines()[-1] == "3 of 5 utterances are fine"


def test_one_audio_folder_serves_all_manifests(tmp_path: Path, emostack: Emostack) -> None:
    audio = tmp_path / "audio"
    write_corpus(audio, "all.csv", {"u1.wav": 1, "u2.wav": 2})
    for name, file in (("a.csv", "u1.wav"), ("b.csv", "u2.wav")):
        write_manifest(manifest_of({"u": file}), tmp_path / name)
    done = emostack("check", tmp_path / "a.csv", tmp_path / "b.csv", "--audio", audio, "--json")
    assert (done.fields["n_ok"], done.fields["problems"]) == (2, [])


def test_each_manifest_has_an_audio_folder_of_its_own(tmp_path: Path, emostack: Emostack) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        write_corpus(folder, "m.csv", {"u1.wav": 1})
        (folder / "m.csv").rename(tmp_path / f"{folder.name}.csv")
    words = ["check", tmp_path / "a.csv", tmp_path / "b.csv", "--json"]
    roots = [word for folder in folders for word in ("--audio", folder)]
    done = emostack(*words, *roots)
    assert [problem["code"] for problem in done.fields["problems"]] == ["duplicated"], done.err
    refused = emostack(*words, *roots, "--audio", tmp_path)
    assert refused.status == 1
    assert "--audio was given 3 times for 2 manifests; expected one" in refused.err


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ([], 2, "MANIFEST"),
        (["a.csv", "./a.csv"], 1, "a.csv is named twice; expected each manifest once"),
        (["a.csv", "none.csv"], 1, "none.csv is not there"),
        (["a.csv", "--html", "a.csv/page.html"], 1, "expected a folder that this user may write"),
    ],
)
def test_a_wrong_call_is_told_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, emostack: Emostack,
    words: list[str], status: int, said: str,
) -> None:  # fmt: skip
    write_corpus(tmp_path, "a.csv", {"u1.wav": 1})
    monkeypatch.chdir(tmp_path)
    done = emostack("check", *words)
    assert done.status == status
    assert said in done.err
    assert "Traceback" not in done.err


def test_the_text_sums_the_corpus_up_below_the_problems(tmp_path: Path, emostack: Emostack) -> None:
    manifest = write_corpus(
        tmp_path, "m.csv", {f"u{i}.wav": i for i in range(4)},
        emotion=["joy", "joy", "fear\u202e", ""], speaker=["a", "b", "a", ""],
        gender=["f", "m", "f", ""],
    )  # fmt: skip
    lines = emostack("check", manifest).out.splitlines()
    assert lines == [
        (
            "'u3': missing_label: the emotion is empty; expected a name, since training refuses the "
            "utterance without; fill it in"
        ),
        (
            "'u3': missing_speaker: the speaker is empty; expected a name, since training refuses the "
            "utterance without; fill it in"
        ),
        "4 utterances, 2.0 s, 2 speakers, 2 emotions",
        "  length    shortest 0.5 s, median 0.5 s, longest 0.5 s",
        r"  emotions  joy 2, fear\u202e 1",
        "  speakers  f 1, m 1",
        "  audio     16000 Hz 4, 1 channel 4, PCM_16 4",
        "  look      1 utterance without an emotion: training refuses it",
        "  look      1 utterance without a speaker: training refuses it",
        (
            "  look      2 speakers with fewer than 10 utterances ('a' 2, 'b' 1): normalisation by "
            "speaker needs 10 of each"
        ),
        (
            r"  look      1 emotion of a single speaker ('fear\u202e'): the fold that leaves this "
            "speaker out has nothing to learn it from"
        ),
        (
            r"  look      2 emotions with fewer than 10 utterances ('joy' 2, 'fear\u202e' 1): their "
            "recall will say little"
        ),
        "3 of 4 utterances are fine",
    ]


def test_json_says_the_overview_and_the_page(tmp_path: Path, emostack: Emostack) -> None:
    manifest = write_corpus(tmp_path, "m.csv", {"u1.wav": 1, "u2.flac": 1})
    page = tmp_path / "new folder" / "page.html"
    fields: dict[str, Any] = emostack("check", manifest, "--html", page, "--json").fields
    assert set(fields) == {"n_ok", "problems", "overview", "page"}
    assert fields["page"] == str(page)
    assert set(fields["problems"][0]) == {"utterance_id", "code", "message", "manifest"}
    assert fields["overview"]["sample_rates_hz"] == {"16000": 2}
    assert "the same audio as utterance" in page.read_text(encoding="utf-8")
    assert [path.name for path in page.parent.iterdir()] == ["page.html"]

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from numpy.typing import NDArray

from stages.check import Problem, check
from stages.frontend.logmel import FrontEnd
from tests.hostile_audio import RATE, voice_like, write_hostile_corpus


def manifest_of(files: dict[str, str], **columns: object) -> pd.DataFrame:
    table = {"utterance_id": list(files), "file": list(files.values())}
    defaults = {"start": 0.0, "end": np.nan, "speaker": "s1", "emotion": "neutral"}
    return pd.DataFrame(table).assign(**(defaults | columns))


def codes(manifest: pd.DataFrame, root: Path) -> list[tuple[str, str]]:
    return [(found.utterance_id, found.code) for found in check(manifest, root, FrontEnd())]


def clipped(gain: float, *, limit: float = 1.0) -> NDArray[np.float32]:
    samples: NDArray[np.float32] = np.clip(gain * voice_like(), -limit, limit)
    return samples


def test_every_hostile_file_is_named_with_its_code_and_no_other(tmp_path: Path) -> None:
    files = write_hostile_corpus(tmp_path, long_s=20.0)
    manifest = manifest_of({name: path.name for name, (path, _) in files.items()})
    expected = {name: code for name, (_, code) in files.items() if code != "ok"}
    assert codes(manifest, tmp_path) == list(expected.items())


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


def test_the_same_audio_twice_is_told_once(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", voice_like(), RATE)
    (tmp_path / "copy.wav").write_bytes((tmp_path / "a.wav").read_bytes())
    manifest = manifest_of(
        {"a": "a.wav", "copy": "copy.wav", "part": "a.wav", "part again": "copy.wav"},
        start=[0.0, 0.0, 0.5, 0.5],
    )
    assert codes(manifest, tmp_path) == [("copy", "duplicated"), ("part again", "duplicated")]
    message = next(check(manifest, tmp_path, FrontEnd())).message
    assert message.startswith("the same audio as utterance 'a'")


def test_empty_labels_and_speakers_are_told_beside_what_else_is_wrong(tmp_path: Path) -> None:
    manifest = manifest_of({"a": "missing.wav"}, emotion="", speaker=" ")
    expected = [("a", "missing_label"), ("a", "missing_speaker"), ("a", "missing")]
    assert codes(manifest, tmp_path) == expected


def test_a_sound_corpus_has_no_problems_and_messages_are_one_line(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", voice_like(), RATE)
    assert list(check(manifest_of({"a": "a.wav"}), tmp_path, FrontEnd())) == []
    found = next(check(manifest_of({"b": "new\nline.wav"}), tmp_path, FrontEnd()))
    assert isinstance(found, Problem)
    assert "\n" not in found.message

import struct
from pathlib import Path

import pytest
import soundfile

from stages.frontend.audio import AudioError
from stages.frontend.logmel import FrontEnd
from stages.frontend.segments import Segments
from stages.preview import preview
from tests.hostile_audio import RATE, voice_like


def size_of(png: Path) -> tuple[int, int]:
    head = png.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", head[16:24])
    return width, height


@pytest.mark.parametrize(
    ("duration_s", "scaling", "n_columns"),
    [(0.1, "fixed", 1), (0.8, "utterance", 2), (6, "fixed", 8)],
)
def test_a_picture_shows_up_to_eight_segments(
    tmp_path: Path, duration_s: float, scaling: str, n_columns: int
) -> None:
    soundfile.write(tmp_path / "a.wav", voice_like(duration_s), RATE)
    output = tmp_path / "new folder" / "a.png"
    frontend = FrontEnd(scaling=scaling)
    assert preview(tmp_path / "a.wav", frontend, Segments(), output) == output
    assert size_of(output)[0] == pytest.approx(120 * (1.6 + 1.7 * n_columns), abs=1)
    assert [path.name for path in output.parent.iterdir()] == ["a.png"]


@pytest.mark.parametrize("name", ["$a$ $\\frac{.wav", "two\nlines.wav", "你好.wav"])
def test_a_file_name_is_text_and_never_markup(tmp_path: Path, name: str) -> None:
    soundfile.write(tmp_path / name.replace("/", "_"), voice_like(), RATE)
    preview(tmp_path / name, FrontEnd(), Segments(), tmp_path / "a.png", max_segments=1)
    assert size_of(tmp_path / "a.png")


def test_a_bad_file_leaves_the_older_picture_alone(tmp_path: Path) -> None:
    output = tmp_path / "a.png"
    output.write_bytes(b"older")
    with pytest.raises(AudioError, match="there is no file"):
        preview(tmp_path / "missing.wav", FrontEnd(), Segments(), output)
    assert output.read_bytes() == b"older"
    assert list(tmp_path.iterdir()) == [output]

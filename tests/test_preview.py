import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from stages.frontend.audio import AudioError
from stages.frontend.logmel import FrontEnd
from stages.frontend.segments import Segments
from stages.frontend.views.table import view
from stages.frontend.views.view import ViewError
from stages.listening import seed, write_sound
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


def test_a_view_is_drawn_as_an_extraction_sees_it(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, voice_like(1.0), RATE)
    for name in ("clean", "masks", "speed-0.5"):
        preview(path, FrontEnd(), Segments(), tmp_path / f"{name}.png", view=view(name))
    sizes = {name: size_of(tmp_path / f"{name}.png") for name in ("clean", "masks", "speed-0.5")}
    assert sizes["clean"] == sizes["masks"]
    assert sizes["clean"][0] < sizes["speed-0.5"][0]
    pictures = [(tmp_path / f"{name}.png").read_bytes() for name in ("clean", "masks")]
    assert pictures[0] != pictures[1]
    assert seed(path, view("masks")) == seed(path, view("masks")) > 2**200
    assert seed(path, view("masks")) != seed(path, view("noise-20db"))


def test_a_view_can_be_heard(tmp_path: Path) -> None:
    path, output = tmp_path / "a.wav", tmp_path / "new" / "b.wav"
    soundfile.write(path, voice_like(1.0), RATE, subtype="FLOAT")
    write_sound(path, view("gain-6db"), RATE, output)
    before, after = (soundfile.read(each, dtype="float32")[0] for each in (path, output))
    np.testing.assert_array_equal(after, before * np.float32(10 ** (-6 / 20)))
    write_sound(path, view("speed-0.5"), RATE, output)
    assert soundfile.info(output).duration == pytest.approx(2.0, abs=0.01)


@pytest.mark.parametrize("name", ["masks", "vtlp-0.9"])
def test_a_view_that_is_only_seen_is_not_written_as_sound(tmp_path: Path, name: str) -> None:
    with pytest.raises(ViewError, match="is seen and not what is heard; expected"):
        write_sound(tmp_path / "a.wav", view(name), RATE, tmp_path / "b.wav")


def test_a_bad_file_has_no_sound_and_leaves_none(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"no audio")
    for name in ("clean", "noise-20db"):
        with pytest.raises(AudioError, match="cannot be decoded"):
            write_sound(tmp_path / "a.wav", view(name), RATE, tmp_path / "b.wav")
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]

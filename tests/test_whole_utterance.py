from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from models.networks import NetworkSettings
from models.whole_picture import WholePictureCNN
from stages.frontend.logmel import logmel_blocks
from stages.recipe import Recipe
from stages.recordings import RecordingError
from stages.utterance import Utterance
from stages.whole_utterance import picture_settings, whole_utterance_maker, whole_utterance_vectors
from tests.hostile_audio import voice_like

RECIPE = Recipe(
    network=NetworkSettings(
        network="mobilenet-0.25",
        weights="random:0",
        layers=("conv_pw_1_relu",),
        input_size=32,
        pooling="bands:4",
    )
)
SMALL = replace(picture_settings(RECIPE), input_size=32)


def recordings(folder: Path, lengths_s: Sequence[float]) -> list[Utterance]:
    made = []
    for i, length_s in enumerate(lengths_s):
        path = folder / f"{i}.wav"
        soundfile.write(path, voice_like(length_s, seed=i), 16000)
        made.append(Utterance(utterance_id=f"u{i}", path=path, key=str(i)))
    return made


def test_the_deepest_layer_of_the_recipes_network_sees_the_networks_own_size() -> None:
    settings = picture_settings(RECIPE)
    assert settings.layers == ("conv_pw_13_relu",)
    assert (settings.input_size, settings.pooling) == (224, "average")
    assert (settings.network, settings.weights) == ("mobilenet-0.25", "random:0")


def test_utterances_of_any_length_give_vectors_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stages.whole_utterance.picture_settings", lambda _: SMALL)
    made = recordings(tmp_path, [0.1, 0.7, 3.0])
    vectors = np.stack(list(whole_utterance_vectors(made, RECIPE)))
    assert vectors.shape == (3, 256)
    assert np.isfinite(vectors).all()
    assert len(np.unique(vectors.round(3), axis=0)) == 3
    alone = list(whole_utterance_vectors(made[2:], RECIPE))
    assert np.array_equal(alone[0], vectors[2])


def test_the_picture_is_the_level_in_grey_from_the_lowest_to_the_highest_band() -> None:
    network = WholePictureCNN(SMALL, None, batch_size=8)
    levels = np.linspace(-80, 10, 32, dtype=np.float32)[:, np.newaxis].repeat(50, axis=1)
    picture = network._picture(levels)
    assert picture.shape == (32, 32, 3)
    np.testing.assert_allclose(picture, picture[:, :1, :1] + np.zeros_like(picture), atol=1e-4)
    np.testing.assert_allclose(picture[[0, -1], 0, 0], [-1, 1], atol=1e-4)  # MobileNet's range
    assert (np.diff(picture[:, 0, 0]) > 0).all()


def test_a_long_utterance_is_averaged_not_sampled() -> None:
    network = WholePictureCNN(SMALL, None, batch_size=8)
    stripes = np.full((32, 3200), -80, np.float32)
    stripes[:, ::2] = 10
    picture = network._picture(stripes)
    np.testing.assert_allclose(picture[:, 2:-2], 0, atol=0.02)


def test_what_decides_a_vector_is_told_and_nothing_else() -> None:
    identity = whole_utterance_maker(RECIPE).identity
    other_bands = replace(RECIPE, network=replace(RECIPE.network, pooling="bands:7"))
    assert whole_utterance_maker(other_bands).identity == identity
    other_mels = replace(RECIPE, frontend=replace(RECIPE.frontend, n_mels=40))
    assert whole_utterance_maker(other_mels).identity != identity
    other_weights = replace(RECIPE, network=replace(RECIPE.network, weights="random:1"))
    assert whole_utterance_maker(other_weights).identity != identity


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "'u0' cannot be used: No such file"),
        (b"no sound at all", "'u0' cannot be used: '0.wav' cannot be decoded"),
    ],
    ids=["missing", "no audio"],
)
def test_audio_that_cannot_be_used_is_told(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    (own,) = recordings(tmp_path, [0.3])
    own.path.unlink()
    if content is not None:
        own.path.write_bytes(content)
    with pytest.raises(RecordingError, match=message):
        list(whole_utterance_vectors([own], RECIPE))


def test_audio_that_has_changed_is_told(tmp_path: Path) -> None:
    (own,) = recordings(tmp_path, [0.3])
    assert len(list(logmel_blocks(own.path, settings=RECIPE.frontend)))
    with pytest.raises(RecordingError, match=r"'u0' has changed .* run 'emostack extract' again"):
        list(whole_utterance_vectors([replace(own, audio_sha256="0" * 64)], RECIPE))

import hashlib
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import keras
import pytest

from models import weights
from models.networks import NetworkSettings
from models.weights import (
    WeightsError,
    file_sha256,
    find_weights,
    is_reachable,
    keras_home,
    resolve,
    weights_file,
)

NAME = "mobilenet_7_5_224_tf_no_top.h5"
IMAGENET = NetworkSettings()
NAMED = NetworkSettings(weights="file:mine.h5")
RANDOM = NetworkSettings(weights="random:0")
CONTENT = b"weights"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    (tmp_path / "keras" / "models").mkdir(parents=True)
    return tmp_path / "keras"


@pytest.fixture(autouse=True)
def _nothing_is_reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "is_reachable", lambda: False)


def _put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(CONTENT)
    return path


def test_the_cache_is_where_keras_has_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert keras_home() == home
    monkeypatch.delenv("KERAS_HOME")
    assert keras_home() == Path.home() / ".keras"


def test_imagenet_weights_are_found_under_keras_own_name(home: Path) -> None:
    assert find_weights(IMAGENET) is None
    path = _put(home / "models" / NAME)
    assert find_weights(IMAGENET) == weights_file(IMAGENET, download=False) == path
    assert resolve(IMAGENET).weights_sha256 == SHA256


def test_weights_are_looked_for_in_a_given_folder_only(home: Path, tmp_path: Path) -> None:
    _put(home / "models" / NAME)
    assert find_weights(IMAGENET, tmp_path) is None
    path = _put(tmp_path / "there" / NAME)
    assert find_weights(IMAGENET, path.parent) == path


def test_a_named_file_lies_in_the_cache(home: Path) -> None:
    path = _put(home / "models" / "mine.h5")
    assert weights_file(NAMED, download=False) == path


def test_where_a_named_file_lies_is_no_part_of_its_identity(home: Path, tmp_path: Path) -> None:
    path = _put(tmp_path / "elsewhere" / "mine.h5")
    settings = NetworkSettings(weights=f"file:{path}")
    assert weights_file(settings, download=False) == path
    resolved = resolve(settings)
    _put(home / "models" / "mine.h5")
    assert resolved == resolve(NAMED)
    assert weights_file(resolved, download=False, folder=path.parent) == path


def test_a_relative_path_is_no_name() -> None:
    with pytest.raises(WeightsError, match=r"'\.\./mine\.h5' has folders in its name"):
        find_weights(NetworkSettings(weights="file:../mine.h5"))


def test_random_weights_have_no_file_and_an_identity_of_their_own() -> None:
    assert find_weights(RANDOM) is None
    assert weights_file(RANDOM, download=True) is None
    assert resolve(RANDOM).weights_sha256 == hashlib.sha256(b"random:0").hexdigest()
    assert resolve(resolve(RANDOM)) == resolve(RANDOM)
    with pytest.raises(WeightsError, match="remove weights_sha256"):
        resolve(NetworkSettings(weights="random:0", weights_sha256="0" * 64))


@pytest.mark.parametrize(
    ("settings", "name"), [(IMAGENET, NAME), (NAMED, "mine.h5")], ids=["imagenet", "file"]
)
def test_absent_weights_are_told_with_where_to_put_them(
    settings: NetworkSettings, name: str, home: Path
) -> None:
    with pytest.raises(WeightsError, match="put the file there, or set KERAS_HOME") as caught:
        weights_file(settings, download=False)
    message = str(caught.value)
    assert str(home / "models" / name) in message
    assert "\n" not in message


@pytest.mark.usefixtures("home")
def test_a_host_that_does_not_answer_is_told() -> None:
    with pytest.raises(WeightsError, match=r"storage\.googleapis\.com could not be reached"):
        resolve(IMAGENET, download=True)


@pytest.mark.usefixtures("home")
def test_a_named_file_is_never_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "is_reachable", lambda: pytest.fail("asked the network"))
    with pytest.raises(WeightsError, match="does not exist"):
        weights_file(NAMED, download=True)


def _keras_that(
    monkeypatch: pytest.MonkeyPatch, action: Callable[[], object]
) -> list[dict[str, object]]:
    calls: list[dict[str, object]] = []

    def constructor(**options: object) -> None:
        calls.append(options)
        action()

    monkeypatch.setattr(weights, "is_reachable", lambda: True)
    monkeypatch.setattr(keras.applications, "MobileNet", constructor)
    return calls


def test_what_is_missing_is_downloaded_by_keras(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = home / "models" / NAME
    path.parent.rmdir()
    calls = _keras_that(monkeypatch, lambda: _put(path))
    assert weights_file(IMAGENET, download=True) == path
    assert weights_file(IMAGENET, download=True) == path
    assert calls == [
        {"include_top": False, "weights": "imagenet", "input_shape": (224, 224, 3), "alpha": 0.75}
    ]
    assert socket.getdefaulttimeout() is None


@pytest.mark.usefixtures("home")
def test_a_failed_download_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise Exception("URL fetch failure: 404")  # noqa: TRY002 (as Keras does)

    _keras_that(monkeypatch, fail)
    with pytest.raises(WeightsError, match="downloading it failed: URL fetch failure: 404"):
        weights_file(IMAGENET, download=True)
    assert socket.getdefaulttimeout() is None


@pytest.mark.usefixtures("home")
def test_a_download_that_landed_elsewhere_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    _keras_that(monkeypatch, lambda: None)
    with pytest.raises(WeightsError, match="Keras downloaded it to another place"):
        weights_file(IMAGENET, download=True)


@pytest.mark.usefixtures("home")
def test_nothing_is_downloaded_where_it_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = _keras_that(monkeypatch, lambda: None)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(WeightsError, match="that folder cannot be written to"):
        weights_file(IMAGENET, download=True)
    assert calls == []


def test_a_cache_that_cannot_be_made_is_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "models").rmdir()
    (home / "models").write_text("in the way")
    _keras_that(monkeypatch, lambda: None)
    with pytest.raises(WeightsError, match="File exists"):
        weights_file(IMAGENET, download=True)


def test_a_file_that_is_not_the_recorded_one_is_refused(home: Path) -> None:
    path = _put(home / "models" / NAME)
    right = NetworkSettings(weights_sha256=SHA256)
    assert weights_file(right, download=False) == path
    assert resolve(right) == right
    wrong = NetworkSettings(weights_sha256="0" * 64)
    with pytest.raises(WeightsError, match=f"has the sha256 {SHA256}; expected 0000"):
        weights_file(wrong, download=False)


def test_a_file_that_is_not_the_one_keras_knows_is_refused(home: Path) -> None:
    _put(home / "models" / "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5")
    with pytest.raises(WeightsError, match=r"has the md5 .* expected 6d6bbae.* 'file:vgg16_"):
        resolve(NetworkSettings(network="vgg16", layers=("block3_pool",)))


def test_sha256_is_that_of_the_bytes(tmp_path: Path) -> None:
    assert file_sha256(_put(tmp_path / "file")) == SHA256


def test_a_listening_host_is_reachable_and_a_closed_port_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(weights, "getproxies", dict)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert is_reachable("127.0.0.1", port)
    assert not is_reachable("127.0.0.1", port)


def test_the_proxy_is_asked_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        proxy = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setattr(weights, "getproxies", lambda: {"https": proxy})
        assert is_reachable("host.invalid")


def test_a_name_server_that_does_not_answer_costs_no_more_than_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    over = threading.Event()

    def hang(*_: object, **__: object) -> None:
        over.wait(10.0)
        raise OSError

    monkeypatch.setattr(weights, "getproxies", dict)
    monkeypatch.setattr(socket, "create_connection", hang)
    assert not is_reachable("host.invalid", timeout_s=0.05)
    over.set()

"""Where a network's weights are, and which they are.

Conventions
-----------
A weights file lies in ``KERAS_HOME/models`` (``~/.keras/models`` if that variable is unset) under
the name Keras gives it, or is named by the settings. Its sha256 is its identity: it is found,
hashed and compared without importing Keras, which happens only for a download. Random weights have
no file; their identity is the sha256 of the text ``random:SEED``.
"""

import contextlib
import hashlib
import logging
import os
import socket
import sys
import threading
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

from models.networks import NetworkSettings, random_seed

HOST = "storage.googleapis.com"
_PROBE_TIMEOUT_S = 5.0
_STALL_TIMEOUT_S = 60.0

_log = logging.getLogger("emostack." + __name__)


class WeightsError(FileNotFoundError):
    """Weights that are not there, cannot be had, or are not the ones expected."""


def keras_home() -> Path:
    """Folder of Keras' cache: ``KERAS_HOME``, else ``~/.keras``."""
    return Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser()


def file_sha256(path: Path) -> str:
    """Sha256 of a file's bytes, as 64 hexadecimal digits."""
    return _file_hash(path, "sha256")


def find_weights(settings: NetworkSettings, folder: Path | None = None) -> Path | None:
    """Path of the settings' weights file if it is there; None if absent, or for random weights.

    Parameters
    ----------
    settings : which weights
    folder : where to look; default ``KERAS_HOME/models``
        Not used for a ``file:NAME`` that is an absolute path.

    Raises
    ------
    WeightsError
        If ``file:NAME`` is a relative path with folders in it.
    """
    wanted = _wanted_path(settings, folder)
    return wanted if wanted is not None and wanted.is_file() else None


def weights_file(
    settings: NetworkSettings, *, download: bool, folder: Path | None = None
) -> Path | None:
    """Path of the settings' weights file, checked; None for random weights.

    An absent ``imagenet`` file is downloaded by Keras into ``KERAS_HOME/models`` if `download` is
    true, no `folder` is given and the host answers within five seconds (the download itself has
    no limit but on standing still). The file's sha256 must be the one the settings have; where
    they have none yet, ``imagenet`` weights must have the hash Keras knows, if it knows one.

    Raises
    ------
    WeightsError
        If the file is absent and cannot be had, or is not the one expected.
    """
    wanted = _wanted_path(settings, folder)
    if wanted is None:
        return None
    if not wanted.is_file():
        if not (download and folder is None and settings.weights == "imagenet"):
            raise WeightsError(_absent(settings, wanted))
        _download(settings, wanted)
    _check_identity(settings, wanted)
    return wanted


def resolve(
    settings: NetworkSettings, *, download: bool = False, folder: Path | None = None
) -> NetworkSettings:
    """Fill in ``weights_sha256``, so that the settings are ready to be part of a recipe.

    A ``file:`` with an absolute path keeps only its base name, since where a file lies does not
    decide a feature: call `weights_file` on the unresolved settings to hold on to the path.

    Raises
    ------
    WeightsError
        As `weights_file`.

    Examples
    --------
    >>> resolve(NetworkSettings(weights="random:0")).weights_sha256[:12]
    '9daac99491eb'
    """
    path = weights_file(settings, download=download, folder=folder)
    if path is None:
        digest = hashlib.sha256(settings.weights.encode("ascii")).hexdigest()
        if settings.weights_sha256 not in ("", digest):
            message = (
                f"weights {settings.weights} have the sha256 {digest}; the settings record "
                f"{settings.weights_sha256}; remove weights_sha256"
            )
            raise WeightsError(message)
        return replace(settings, weights_sha256=digest)
    digest = settings.weights_sha256 or file_sha256(path)
    name = "imagenet" if settings.weights == "imagenet" else f"file:{path.name}"
    return replace(settings, weights=name, weights_sha256=digest)


def is_reachable(host: str = HOST, port: int = 443, timeout_s: float = _PROBE_TIMEOUT_S) -> bool:
    """Whether a connection can be made within `timeout_s` seconds, looking the name up included.

    Where a proxy for https is set in the environment, the proxy is asked instead.
    """
    proxy = urlsplit(getproxies().get("https", ""))
    address = (proxy.hostname, proxy.port or 80) if proxy.hostname else (host, port)
    reached = threading.Event()

    def probe() -> None:
        try:
            with socket.create_connection(address, timeout=timeout_s):
                reached.set()
        except OSError as error:
            _log.debug("cannot reach %s:%d: %s", *address, error)

    # A name server that does not answer ignores the socket's timeout, hence a thread.
    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    thread.join(timeout_s)
    return reached.is_set()


def _wanted_path(settings: NetworkSettings, folder: Path | None) -> Path | None:
    if random_seed(settings.weights) is not None:
        return None
    folder = keras_home() / "models" if folder is None else folder
    if settings.weights == "imagenet":
        return folder / settings.entry.weights_name
    name = Path(settings.weights.removeprefix("file:"))
    if not name.is_absolute() and len(name.parts) != 1:
        message = (
            f"weights file {str(name)!r} has folders in its name; expected an absolute path or the "
            f"bare name of a file in {folder}"
        )
        raise WeightsError(message)
    return folder / name


def _absent(settings: NetworkSettings, wanted: Path) -> str:
    return (
        f"the {settings.weights} weights of {settings.network} are not there: "
        f"{wanted} does not exist; put the file there, or set KERAS_HOME to a folder whose models/ "
        "holds it"
    )


def _download(settings: NetworkSettings, wanted: Path) -> None:
    if not is_reachable():
        message = f"{_absent(settings, wanted)} ({HOST} could not be reached to download it)"
        raise WeightsError(message)
    # In a cache that it cannot write to, Keras quietly downloads to a folder that everybody can
    # write to; weights from there are not to be trusted.
    _make_writable(settings, wanted)
    import keras

    entry = settings.entry
    _log.info("downloading %s", entry.weights_name)
    options = {} if entry.alpha is None else {"alpha": entry.alpha}
    stall_timeout_s = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_STALL_TIMEOUT_S)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # stdout is for results; Keras shows a bar
            getattr(keras.applications, entry.constructor)(
                include_top=False,
                weights="imagenet",
                input_shape=(entry.default_size, entry.default_size, 3),
                **options,
            )
    except Exception as error:  # Keras raises a plain Exception for a failed download
        message = f"{_absent(settings, wanted)} (downloading it failed: {error})"
        raise WeightsError(message) from error
    finally:
        socket.setdefaulttimeout(stall_timeout_s)
    if not wanted.is_file():
        raise WeightsError(_absent(settings, wanted) + " (Keras downloaded it to another place)")


def _make_writable(settings: NetworkSettings, wanted: Path) -> None:
    try:
        wanted.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WeightsError(f"{_absent(settings, wanted)} ({error})") from error
    if not os.access(wanted.parent, os.W_OK) or not os.access(keras_home(), os.W_OK):
        message = f"{_absent(settings, wanted)} (that folder cannot be written to)"
        raise WeightsError(message)


def _check_identity(settings: NetworkSettings, path: Path) -> None:
    expected = settings.weights_sha256
    if not expected and settings.weights == "imagenet":
        expected = settings.entry.weights_hash
    if not expected:
        return
    kind = "sha256" if len(expected) == 64 else "md5"
    seen = _file_hash(path, kind)
    if seen != expected:
        message = (
            f"{path} has the {kind} {seen}; expected {expected} for {settings.weights} weights of "
            f"{settings.network}; fetch the file again, or use it as weights 'file:{path.name}'"
        )
        raise WeightsError(message)


def _file_hash(path: Path, kind: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(
            file, lambda: hashlib.new(kind, usedforsecurity=False)
        ).hexdigest()

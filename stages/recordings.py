"""The recordings behind a data set's utterances, for what has to hear them again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from features_cache.keys import file_sha256
from stages.manifest import audio_paths
from stages.utterance import Utterance

if TYPE_CHECKING:
    from stages.dataset import Dataset
    from stages.frontend.audio import AudioError


class RecordingError(ValueError):
    """A recording that is not there, or no longer what the features were made of."""


def recordings_of(dataset: Dataset, root: Path) -> list[Utterance]:
    """List the recordings of a data set's utterances, files taken as below `root`."""
    manifest = dataset.manifest
    columns = zip(
        manifest["utterance_id"],
        audio_paths(manifest, root),
        manifest["start"],
        manifest["end"],
        dataset.keys,
        dataset.audio_sha256,
        strict=True,
    )
    return [
        Utterance(
            utterance_id=str(name),
            path=Path(path),
            start=float(start),
            end=float(end),
            key=str(key),
            audio_sha256=str(sha256),
        )
        for name, path, start, end, key, sha256 in columns
    ]


def check_unchanged(recording: Utterance) -> None:
    """Refuse a file that is not the one whose features are in the store.

    Raises
    ------
    RecordingError
        It cannot be read, or holds other bytes.
    """
    try:
        found = file_sha256(recording.path)
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise unusable(recording, getattr(error, "strerror", None) or str(error)) from error
    if recording.audio_sha256 and found != recording.audio_sha256:
        raise RecordingError(
            f"the audio of {recording.utterance_id!r} has changed since its features were extracted; "
            f"expected the same bytes; run 'emostack extract' again"
        )


def unusable(recording: Utterance, reason: AudioError | str) -> RecordingError:
    """Make the error that says why the audio cannot be used."""
    return RecordingError(
        f"the audio of {recording.utterance_id!r} cannot be used: {reason}; the baselines need the "
        f"recordings; give their folder with --audio (--test-audio for those that are only "
        f"tested), or train without --baselines"
    )

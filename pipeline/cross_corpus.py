"""A second corpus, only to be tested on: read, named as the first, joined to it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from features_cache.store import Store
from pipeline.session import Session
from stages.corpora.labels import read_label_map
from stages.cross_corpus import joined, settle_test_labels
from stages.dataset import Dataset, DatasetError
from stages.manifest import audio_paths, read_manifest
from stages.training_features import read_features


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondCorpus:
    """Utterances to test on.

    Attributes
    ----------
    manifest : its emotions are named as those of the corpus to train on
    root : the folder of the audio, which need not be there
    """

    manifest: pd.DataFrame
    root: Path


def read_second_corpus(
    session: Session, path: Path, audio: Path | None, label_map: Path | None, first: pd.DataFrame
) -> SecondCorpus:
    """Read the manifest of a corpus to test on.

    Parameters
    ----------
    session : told of what the label map did
    path, audio : the manifest, and the folder that its files start from; None: the manifest's own
    label_map : TOML file that names its emotions as the first corpus does; None: they are so named
    first : manifest of the corpus to train on
    """
    manifest = read_manifest(path, audio=audio, allow_absolute=True)
    if label_map is not None:
        known = set(first["emotion"])
        manifest, told = settle_test_labels(manifest, read_label_map(label_map), known)
        for line in told:
            session.warn(f"test manifest: {line}")
    return SecondCorpus(manifest=manifest, root=audio or path.parent)


def load_second_corpus(
    session: Session, second: SecondCorpus, stores: Sequence[Store], memory_bytes: float
) -> Dataset:
    """Read the features of a corpus to test on, of the stores that the first is read from.

    Above `memory_bytes` they stay there: see `stages.training_features.read_features`.

    Raises
    ------
    DatasetError
        An utterance was never extracted.
    """
    try:
        dataset, left_out = read_features(second.manifest, stores, memory_bytes=memory_bytes)
    except DatasetError as error:
        raise DatasetError(f"test manifest: {error}") from error
    if left_out:
        session.warn(f"{len(left_out)} quarantined utterances of the test manifest are left out")
    return dataset


def with_second_corpus(first: Dataset, root: Path, second: Dataset, second_root: Path) -> Dataset:
    """Join two corpora, whose audio lies in two folders: files become absolute paths."""
    return joined(_with_absolute_files(first, root), _with_absolute_files(second, second_root))


def _with_absolute_files(dataset: Dataset, root: Path) -> Dataset:
    files = audio_paths(dataset.manifest, root)
    return replace(dataset, manifest=dataset.manifest.assign(file=files))

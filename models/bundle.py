"""A trained classifier on disk: JSON settings and arrays, nothing that is code.

Format 3
--------
A folder with

``bundle.json``
    ``format`` (3), ``labels``, ``recipe_id``, ``recipe_json``, ``feature_dim``, ``seeds``,
    ``normalisation`` and ``classifier`` (settings), ``linear_share``, ``card`` (model card: text,
    numbers). Of several recipes side by side, ``recipe_id`` joins their ids by ``+``, and
    ``recipe_json`` is an array of them.
``normalisation.npz``
    what the normalisation fitted, see `models.normalisation.array_shapes`.
``linear.npz``
    what the linear path fitted, see `models.linear_path.array_shapes`; not where its share is 0.
``seed-<n>.npz``
    the weights of one final model a seed, see `models.blstm_attention_dnn.weight_shapes`.

Reading trusts nothing. The settings say which arrays there must be and how large; the zip
directory and every array's header are held against that, and against `MAX_BYTES`, before an array
is allocated. Arrays are little-endian float32 in C order; an object array, which would be a
pickle, is none.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from models.array_file import ArrayFileError, read_arrays, write_arrays
from models.blstm_attention_dnn import (
    ClassifierError,
    ClassifierSettings,
    weight_shapes,
)
from models.linear_path import (
    LinearPath,
    LinearPathError,
    LinearPathSettings,
    linear_path_of,
)
from models.linear_path import array_shapes as linear_shapes
from models.normalisation import (
    Normalisation,
    NormalisationError,
    NormalisationSettings,
    array_shapes,
)
from models.settings import SettingsError, from_mapping, parse_object

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np

Card: TypeAlias = "dict[str, str | int | float | bool | None]"

FORMAT = 3
MAX_JSON_BYTES = 1 << 20
MAX_BYTES = 1 << 30
"""The most that the arrays of one bundle may take, all seeds together."""

MAX_LABELS, MAX_SEEDS, MAX_FEATURES, MAX_TEXT = 1000, 100, 1_000_000, 200
"""Limits that a bundle's settings are held against before any shape is computed from them."""


class BundleError(ValueError):
    """A folder that is not a bundle, or not a sound one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A trained classifier.

    Parameters
    ----------
    labels : class names, in the order of the probabilities
    recipe_id, recipe_json : the recipe, or recipes, of the features that it was trained on
    feature_dim : columns of a stack as the store has it, before normalisation
    normalisation : fitted on all training utterances
    classifier : settings of the network
    weights : seed -> the weights of its final model
    linear_share : the linear path's, see `models.linear_path`
    linear : that path, fitted on all training utterances; None where its share is 0
    card : model card: what it was trained on, how well it did, what it is not for
    """

    labels: tuple[str, ...]
    recipe_id: str
    recipe_json: str
    feature_dim: int
    normalisation: Normalisation
    classifier: ClassifierSettings
    weights: Mapping[int, Mapping[str, np.ndarray]]
    linear_share: float = 0.0
    linear: LinearPath | None = None
    card: Card

    @property
    def n_inputs(self) -> int:
        """Features that the network sees, after normalisation."""
        return self.normalisation.settings.n_components or self.feature_dim


def save_bundle(bundle: Bundle, folder: Path) -> None:
    """Write a bundle; the folder appears whole or not at all.

    Parameters
    ----------
    bundle : what to write
    folder : must not exist; its parent must

    Raises
    ------
    BundleError
        The folder exists, or the bundle is one that `load_bundle` would refuse.
    """
    if folder.exists():
        raise BundleError(f"{folder} exists; expected a new folder; choose another name")
    partial = folder.with_name(f"{folder.name}.{os.getpid()}.partial")
    partial.mkdir()
    try:
        _write(bundle, partial)
        load_bundle(partial)
        partial.rename(folder)
        _sync(folder.parent)
    finally:
        if partial.exists():
            shutil.rmtree(partial)


def _write(bundle: Bundle, folder: Path) -> None:
    document = {
        "format": FORMAT,
        "labels": list(bundle.labels),
        "recipe_id": bundle.recipe_id,
        "recipe_json": bundle.recipe_json,
        "feature_dim": bundle.feature_dim,
        "seeds": list(bundle.weights),
        "normalisation": asdict(bundle.normalisation.settings),
        "classifier": asdict(bundle.classifier),
        "linear_share": float(bundle.linear_share),
        "card": bundle.card,
    }
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    with (folder / "bundle.json").open("w", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    write_arrays(folder / "normalisation.npz", bundle.normalisation.arrays)
    if bundle.linear is not None:
        write_arrays(folder / "linear.npz", bundle.linear.arrays)
    for seed, weights in bundle.weights.items():
        write_arrays(folder / f"seed-{seed}.npz", weights)
    _sync(folder)


def _sync(folder: Path) -> None:
    """Flush a folder's entries to disk, so that a rename survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def load_bundle(folder: Path) -> Bundle:
    """Read a bundle that may come from anybody.

    Raises
    ------
    BundleError
        Anything missing, foreign, too large or of another shape than the settings imply.
    """
    try:
        return _load(folder)
    except (
        ArrayFileError,
        ClassifierError,
        LinearPathError,
        NormalisationError,
        SettingsError,
        OSError,
    ) as error:
        raise BundleError(f"{folder} is not a sound bundle: {error}") from error


def _load(folder: Path) -> Bundle:
    document = _document(folder / "bundle.json")
    normalisation = from_mapping(NormalisationSettings, document["normalisation"], complete=True)
    classifier = from_mapping(ClassifierSettings, document["classifier"], complete=True)
    feature_dim, labels = document["feature_dim"], document["labels"]
    linear = LinearPathSettings(share=document["linear_share"])
    check_limits(labels, document["seeds"], feature_dim, normalisation, classifier, linear)
    fitted = array_shapes(normalisation, feature_dim)
    needed = weight_shapes(classifier, normalisation.n_components or feature_dim, len(labels))
    return Bundle(
        labels=tuple(labels),
        recipe_id=document["recipe_id"],
        recipe_json=document["recipe_json"],
        feature_dim=feature_dim,
        normalisation=Normalisation(
            normalisation, read_arrays(folder / "normalisation.npz", fitted)
        ),
        classifier=classifier,
        weights={
            seed: read_arrays(folder / f"seed-{seed}.npz", needed) for seed in document["seeds"]
        },
        linear_share=linear.share,
        linear=_linear_path(folder, normalisation.standardise, feature_dim, len(labels))
        if linear.share
        else None,
        card=document["card"],
    )


def _linear_path(folder: Path, kind: str, feature_dim: int, n_labels: int) -> LinearPath:
    shapes = linear_shapes(kind, feature_dim, n_labels)
    return linear_path_of(kind, read_arrays(folder / "linear.npz", shapes))


def check_limits(
    labels: Sequence[Any],
    seeds: Sequence[Any],
    feature_dim: int,
    normalisation: NormalisationSettings,
    classifier: ClassifierSettings,
    linear: LinearPathSettings,
) -> None:
    """Refuse what no bundle may hold; a training asks beforehand.

    Parameters
    ----------
    labels : class names
    seeds : one final model each
    feature_dim : columns of a stack as the store has it
    normalisation, classifier, linear : settings

    Raises
    ------
    BundleError
        Names the limit that is passed.
    """
    if not 1 <= feature_dim <= MAX_FEATURES:
        raise BundleError(f"feature_dim is {feature_dim}; expected 1 to {MAX_FEATURES}")
    if not _distinct(labels, str, 2, MAX_LABELS) or not all(map(_is_name, labels)):
        raise BundleError(
            f"labels are not 2 to {MAX_LABELS} different texts of 1 to {MAX_TEXT} printable "
            f"characters"
        )
    if not _distinct(seeds, int, 1, MAX_SEEDS) or not all(0 <= seed < 2**32 for seed in seeds):
        raise BundleError(f"seeds are not 1 to {MAX_SEEDS} different numbers from 0 to 2**32 - 1")
    if normalisation.n_components > feature_dim:
        raise BundleError(
            f"{normalisation.n_components} components of {feature_dim} features; "
            f"expected at most as many components as features"
        )
    n_inputs = normalisation.n_components or feature_dim
    needed = weight_shapes(classifier, n_inputs, len(labels))
    fitted = [array_shapes(normalisation, feature_dim)]
    if linear.share:
        fitted.append(linear_shapes(normalisation.standardise, feature_dim, len(labels)))
    _check_size([*fitted, *[needed] * len(seeds)])


def _is_name(label: str) -> bool:
    """Whether a label can be shown anywhere: a terminal would obey control characters."""
    return 0 < len(label) <= MAX_TEXT and label.isprintable()


def _check_size(all_shapes: Sequence[Mapping[str, tuple[int, ...]]]) -> None:
    n_bytes = 0
    for shapes in all_shapes:
        for shape in shapes.values():
            size = 4
            for side in shape:
                size *= side
            n_bytes += size
    if n_bytes > MAX_BYTES:
        raise BundleError(
            f"the settings imply {n_bytes} bytes of weights; expected at most {MAX_BYTES}"
        )


def _document(path: Path) -> dict[str, Any]:
    document = parse_object(path, MAX_JSON_BYTES)
    kinds = {
        "format": int,
        "labels": list,
        "recipe_id": str,
        "recipe_json": str,
        "feature_dim": int,
        "seeds": list,
        "normalisation": dict,
        "classifier": dict,
        "linear_share": float,
        "card": dict,
    }
    if set(document) != set(kinds):
        wrong = ", ".join(sorted(set(document) ^ set(kinds)))
        raise BundleError(f"bundle.json has missing or unknown keys: {wrong}")
    for key, kind in kinds.items():
        if type(document[key]) is not kind:
            raise BundleError(
                f"{key} is a {type(document[key]).__name__}; expected {kind.__name__}"
            )
    if document["format"] != FORMAT:
        raise BundleError(
            f"format is {document['format']}; expected {FORMAT}; use the emostack that wrote "
            "it, or train again"
        )
    scalars = (str, int, float, bool, type(None))
    if not all(type(value) in scalars for value in document["card"].values()):
        raise BundleError("the card holds something that is neither text, number, bool nor null")
    return document


def _distinct(values: Sequence[Any], kind: type, least: int, most: int) -> bool:
    right = all(type(value) is kind for value in values)
    return right and least <= len(values) <= most and len(set(values)) == len(values)

"""From audio straight to emotions: a bundle's own front end, network and classifiers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from features_cache.consolidated import TimedStack
from models.bundle import Bundle, BundleError
from models.engines import Engine
from models.predictor import Predictor
from stages.fusing import fused, joint_name, recipes_from_json
from stages.recipe import Recipe
from stages.segment_features import Failed, Rows, feature_events, storable, window_events
from stages.shard_work import load_network
from stages.utterance import Utterance

BATCH_SIZE = 32

MIN_UTTERANCES = 10
"""Utterances a speaker needs before his own mean and deviation mean anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What the bundle makes of one utterance.

    Attributes
    ----------
    name : the utterance's
    emotion : the most probable label
    probabilities : label -> probability, mean over the bundle's models
    start, end : float64, shape (n_segments,), seconds in the utterance
    attention : float32, shape (n_segments,), sums to 1
    """

    name: str
    emotion: str
    probabilities: dict[str, float]
    start: NDArray[np.float64]
    end: NDArray[np.float64]
    attention: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unusable:
    """An utterance that gives no prediction: reason code and words."""

    name: str
    code: str
    message: str


def audio_files(folder: Path) -> list[Path]:
    """List the audio files below a folder, by the suffixes that libsndfile knows."""
    known = {f".{name.lower()}" for name in soundfile.available_formats()} | {".oga", ".aif"}
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in known and p.is_file())


def bundle_recipes(bundle: Bundle) -> list[Recipe]:
    """Return the recipes whose features, side by side, a bundle was trained on; mostly one.

    Raises
    ------
    BundleError
        The bundle's recipe id is not that of its recipe: it was edited, or by another version.
    """
    recipes = recipes_from_json(bundle.recipe_json)
    found = joint_name(recipe.recipe_id for recipe in recipes)
    if found != bundle.recipe_id:
        message = (
            f"the bundle says it was trained on recipe {bundle.recipe_id}, the recipe in it is "
            f"{found}; expected one and the same; use a bundle as it was written"
        )
        raise BundleError(message)
    return recipes


def check_speakers(bundle: Bundle, utterances: list[Utterance]) -> None:
    """Refuse what a speaker-normalised bundle cannot honestly predict.

    Raises
    ------
    BundleError
        An utterance has no speaker, or a speaker too few utterances.
    """
    if bundle.normalisation.settings.standardise != "speaker":
        return
    speakers = [utterance.speaker for utterance in utterances]
    for speaker in dict.fromkeys(speakers):
        n = speakers.count(speaker)
        if speaker == "" or n < MIN_UTTERANCES:
            who = f"speaker {speaker!r} has {n} utterances" if speaker else "a speaker is unknown"
            message = (
                f"{who}; this bundle normalises by speaker and expects a manifest with at least "
                f"{MIN_UTTERANCES} utterances of each; use an inductive bundle"
            )
            raise BundleError(message)


def predict(bundle: Bundle, utterances: list[Utterance]) -> Iterator[Prediction | Unusable]:
    """Predict utterances, in their order; one that cannot be used does not stop the others.

    Raises
    ------
    BundleError
        The bundle's recipe does not hold together, or the utterances do not suit a
        speaker-normalised bundle.
    models.weights.WeightsError
        The frozen network's weights are not here.
    """
    recipes = bundle_recipes(bundle)
    check_speakers(bundle, utterances)
    networks = [load_network(recipe.to_json(), BATCH_SIZE) for recipe in recipes]
    feature_dim = sum(network.feature_dim for network in networks)
    if feature_dim != bundle.feature_dim:
        message = (
            f"the bundle's recipe gives {feature_dim} features a segment, its classifier "
            f"expects {bundle.feature_dim}; use a bundle as it was written"
        )
        raise BundleError(message)
    asked = [_looked_at(utterance, place) for place, utterance in enumerate(utterances)]
    parts: dict[Utterance, list[TimedStack]] = {utterance: [] for utterance in asked}
    failures: dict[Utterance, Unusable] = {}
    for recipe, network in zip(recipes, networks, strict=True):
        left = [utterance for utterance in asked if utterance not in failures]
        for utterance, found in zip(left, _stacks(left, recipe, network), strict=True):
            if isinstance(found, Failed):
                name = utterance.utterance_id
                failures[utterance] = Unusable(name=name, code=found.code, message=found.message)
            else:
                parts[utterance].append(found)
    good = [utterance for utterance in asked if utterance not in failures]
    check_speakers(bundle, good)  # what failed is no statistic
    predictions = iter(_classify(bundle, good, [parts[utterance] for utterance in good]))
    for utterance in asked:
        yield failures.get(utterance) or next(predictions)


def _looked_at(utterance: Utterance, place: int) -> Utterance:
    """Note what the file is now, and tell two calls for one file apart."""
    try:
        found = utterance.path.stat()
        size, mtime_ns = found.st_size, found.st_mtime_ns
    except OSError:
        size, mtime_ns = 0, 0  # decoding says what is wrong with it
    return replace(utterance, key=str(place), size=size, mtime_ns=mtime_ns)


def _stacks(
    utterances: Sequence[Utterance], recipe: Recipe, network: Engine
) -> Iterator[TimedStack | Failed]:
    """Make each utterance's features by one recipe, or say why there are none."""
    rows: dict[Utterance, list[Rows]] = {utterance: [] for utterance in utterances}
    failures: dict[Utterance, Failed] = {}
    events = feature_events(window_events(utterances, recipe), network)
    for event in storable(events, recipe.dtype):
        if isinstance(event, Failed):
            failures[event.utterance] = event
        elif isinstance(event, Rows):
            rows[event.utterance].append(event)
    for utterance in utterances:
        yield failures.get(utterance) or _stack(rows[utterance])


def _stack(rows: list[Rows]) -> TimedStack:
    return (
        np.concatenate([each.values for each in rows]),
        np.concatenate([each.start for each in rows]),
        np.concatenate([each.end for each in rows]),
    )


def _classify(
    bundle: Bundle, utterances: list[Utterance], stacks: list[list[TimedStack]]
) -> Iterator[Prediction]:
    if not stacks:
        return
    speakers = [utterance.speaker for utterance in utterances]
    probabilities, attention = Predictor(bundle).predict([fused(s) for s in stacks], speakers)
    for i, utterance in enumerate(utterances):
        _, start, end = stacks[i][0]
        yield Prediction(
            name=utterance.utterance_id,
            emotion=bundle.labels[int(np.argmax(probabilities[i]))],
            probabilities=dict(zip(bundle.labels, probabilities[i].tolist(), strict=True)),
            start=start,
            end=end,
            attention=attention[i],
        )

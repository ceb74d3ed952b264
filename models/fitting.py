"""Training of the second network: epochs, class balance, views, the learning rate's schedule.

Conventions
-----------
The learning rate falls from its start to nothing, by half a cosine (Loshchilov and Hutter 2017, SGDR,
without restarts), over a number of epochs that is fixed beforehand: so no speaker has to be set aside to
say when to stop, and all of a fold's training speakers are learned from, once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from models.batches import pad, shuffled
from models.stacks import lengths_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from threading import Event

    from models.blstm_attention_dnn import BLSTMAttentionDNN
    from models.stacks import Stacks


class FittingError(ValueError):
    """A training that went astray."""


class StoppedError(RuntimeError):
    """A training that was not to go on."""


BALANCES = ("weights", "oversample", "none")


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledStacks:
    """Stacks and their labels as numbers.

    Parameters
    ----------
    stacks : float32, each of shape (n_i, n_features)
    targets : int64, shape (n_stacks,), in 0 ... n_labels - 1
    views : stacks of the same utterances seen otherwise, for each view one an utterance; each time an
        utterance is learned from, one of its stacks is drawn
    """

    stacks: Stacks
    targets: np.ndarray
    views: Sequence[Stacks] = ()


def class_weights(targets: np.ndarray, n_labels: int) -> np.ndarray:
    """Weight of each class, inversely to how often it occurs; the mean over `targets` is 1.

    Examples
    --------
    >>> class_weights(np.array([0, 0, 0, 1]), 2).round(3).tolist()
    [0.667, 2.0]
    """
    counts = np.bincount(targets, minlength=n_labels)
    present = np.count_nonzero(counts)
    return np.where(counts > 0, len(targets) / (present * np.maximum(counts, 1)), 0.0)


def _epoch_rows(targets: np.ndarray, balance: str, rng: np.random.Generator) -> np.ndarray:
    """Rows of one epoch: each once, or the rarer classes repeated up to the commonest."""
    rows = np.arange(len(targets))
    if balance != "oversample":
        return rows
    counts = np.bincount(targets)
    extra = [
        rng.choice(rows[targets == label], counts.max() - count)
        for label, count in enumerate(counts)
        if count
    ]
    return np.concatenate([rows, *extra])


@dataclass(frozen=True, slots=True)
class _Draw:
    """What one step is to learn from an utterance.

    Parameters
    ----------
    version : 0 for the utterance itself, or which of its views
    row : of the utterance
    kept : bool, one a segment
    """

    version: int
    row: int
    kept: np.ndarray


def _draw(row: int, lengths: Sequence[np.ndarray], share: float, rng: np.random.Generator) -> _Draw:
    """Draw one of an utterance's stacks, and leave out segments at random, never all of them."""
    version = int(rng.integers(len(lengths))) if len(lengths) > 1 else 0
    n_segments = int(lengths[version][row])
    if share == 0:
        return _Draw(version, row, np.ones(n_segments, bool))
    kept = rng.random(n_segments) >= share
    kept[rng.integers(n_segments)] = True
    return _Draw(version, row, kept)


def _batches(
    network: BLSTMAttentionDNN,
    data: LabelledStacks,
    weights: np.ndarray,
    balance: str,
    rng: np.random.Generator,
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """One epoch: values, mask, targets and weights of each batch, whose stacks are read with it."""
    size = network.settings.batch_size
    versions = (data.stacks, *data.views)
    lengths = [lengths_of(own) for own in versions]
    share = network.settings.segment_dropout
    draws = [_draw(row, lengths, share, rng) for row in _epoch_rows(data.targets, balance, rng)]
    for places in shuffled(np.array([np.count_nonzero(own.kept) for own in draws]), size, rng):
        chosen = [draws[place] for place in places]
        stacks = [versions[own.version][own.row][own.kept] for own in chosen]
        labels = data.targets[[own.row for own in chosen]]
        targets = np.zeros((size, network.n_labels), np.float32)
        targets[np.arange(len(chosen)), labels] = 1
        sample_weights = np.zeros(size, np.float32)
        sample_weights[: len(chosen)] = weights[labels]
        yield *pad(stacks, size), targets, sample_weights


def fit(
    network: BLSTMAttentionDNN,
    train: LabelledStacks,
    *,
    seed: int,
    balance: str = "weights",
    stop: Event | None = None,
) -> list[float]:
    """Train from scratch, for as many epochs as the network's settings say.

    Parameters
    ----------
    network : reset first; holds the trained weights afterwards
    train : what to learn from
    seed : decides weights, dropout, the order of the stacks and the views drawn
    balance : how rare classes are made up for: ``weights`` gives them larger weights, ``oversample``
        draws their utterances, through other views each time, as often as the commonest class's
    stop : once it is set, no further epoch is begun

    Returns
    -------
    mean cross-entropy of each epoch, in nats

    Raises
    ------
    FittingError
        A loss that is not finite.
    StoppedError
        Somebody has set `stop`.
    """
    settings = network.settings
    rng = np.random.default_rng([seed, 1])
    weights = np.ones(network.n_labels)
    if balance == "weights":
        weights = class_weights(train.targets, network.n_labels)
    network.reset(seed)
    losses: list[float] = []
    for epoch in range(settings.epochs):
        if stop is not None and stop.is_set():
            raise StoppedError(f"the training was stopped before epoch {epoch + 1}")
        network.learning_rate = learning_rate(settings.learning_rate, epoch / settings.epochs)
        total, n_rows = 0.0, 0
        for batch in _batches(network, train, weights, balance, rng):
            total += settings.batch_size * network.train_step(*batch)
            n_rows += int(np.count_nonzero(batch[3]))
        losses.append(_finite(total / n_rows, epoch + 1))
    return losses


def learning_rate(start: float, done: float) -> float:
    """Learning rate after a share of a training, in [0, 1]: half a cosine from `start` to nothing.

    Examples
    --------
    >>> [round(learning_rate(2.0, done), 3) for done in (0.0, 0.5, 1.0)]
    [2.0, 1.0, 0.0]
    """
    return start * (1 + math.cos(math.pi * done)) / 2


def _finite(loss: float, epoch: int) -> float:
    if not math.isfinite(loss):
        raise FittingError(
            f"the loss is {loss} in epoch {epoch}; expected a finite number; lower the learning "
            f"rate, and look for features that are not finite"
        )
    return loss

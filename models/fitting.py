"""Training of the second network: epochs, class balance, early stopping."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from sklearn.metrics import recall_score

from models.batches import pad, shuffled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.blstm_attention_dnn import BLSTMAttentionDNN


class FittingError(ValueError):
    """A training that went astray."""


BALANCES = ("weights", "oversample", "none")


@dataclass(kw_only=True)
class History:
    """What a training went through, one number an epoch.

    Parameters
    ----------
    train_loss, validation_loss : mean cross-entropy in nats (validation: classes weighted alike)
    validation_uar : percent
    best_epoch : epochs trained to reach the weights that were kept, from 1
    """

    train_loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    validation_uar: list[float] = field(default_factory=list)
    best_epoch: int = 0

    def as_json(self) -> dict[str, list[float] | int]:
        """Return plain lists and numbers."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledStacks:
    """Stacks and their labels as numbers.

    Parameters
    ----------
    stacks : float32, each of shape (n_i, n_features)
    targets : int64, shape (n_stacks,), in 0 ... n_labels - 1
    """

    stacks: Sequence[np.ndarray]
    targets: np.ndarray


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


def _thinned(stack: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Leave out segments at random, never all of them."""
    if share == 0:
        return stack
    kept = rng.random(len(stack)) >= share
    kept[rng.integers(len(stack))] = True
    return stack[kept]


def _run_epoch(
    network: BLSTMAttentionDNN,
    data: LabelledStacks,
    weights: np.ndarray,
    balance: str,
    rng: np.random.Generator,
) -> float:
    size = network.settings.batch_size
    rows = _epoch_rows(data.targets, balance, rng)
    stacks = [_thinned(data.stacks[row], network.settings.segment_dropout, rng) for row in rows]
    lengths = np.array([len(stack) for stack in stacks])
    total = 0.0
    for places in shuffled(lengths, size, rng):
        chosen = rows[places]
        targets = np.zeros((size, network.n_labels), np.float32)
        targets[np.arange(len(chosen)), data.targets[chosen]] = 1
        sample_weights = np.zeros(size, np.float32)
        sample_weights[: len(chosen)] = weights[data.targets[chosen]]
        values, mask = pad(stacks, places, size)
        total += size * network.train_step(values, mask, targets, sample_weights)
    return total / len(rows)


def uar(truth: np.ndarray, heard: np.ndarray) -> float:
    """Unweighted average recall over the classes that occur in the truth, in [0, 1].

    Examples
    --------
    >>> uar(np.array([0, 0, 1]), np.array([0, 1, 1]))
    0.75
    """
    return float(recall_score(truth, heard, labels=np.unique(truth), average="macro"))


def score(network: BLSTMAttentionDNN, data: LabelledStacks) -> tuple[float, float]:
    """Cross-entropy in nats with all classes weighted alike, and UAR in percent."""
    probabilities, _ = network.predict(data.stacks)
    picked = probabilities[np.arange(len(data.targets)), data.targets]
    weights = class_weights(data.targets, network.n_labels)[data.targets]
    loss = float(np.mean(-np.log(np.maximum(picked, 1e-12)) * weights))
    return loss, 100 * uar(data.targets, probabilities.argmax(axis=1))


def fit(
    network: BLSTMAttentionDNN,
    train: LabelledStacks,
    validation: LabelledStacks | None = None,
    *,
    seed: int,
    n_epochs: int | None = None,
    balance: str = "weights",
) -> History:
    """Train from scratch.

    With a validation set, training stops after `patience` epochs without a better validation
    loss, and the weights of the best epoch are kept. Without one it runs for `n_epochs`.

    Parameters
    ----------
    network : reset first; holds the trained weights afterwards
    train, validation : of different speakers
    seed : decides weights, dropout and the order of the stacks
    n_epochs : at most this many epochs; default: the network's `max_epochs`
    balance : how rare classes are made up for in training

    Raises
    ------
    FittingError
        A loss that is not finite.
    """
    settings = network.settings
    rng = np.random.default_rng([seed, 1])
    weights = np.ones(network.n_labels)
    if balance == "weights":
        weights = class_weights(train.targets, network.n_labels)
    network.reset(seed)
    history = History()
    best_loss, best_weights = math.inf, None
    for epoch in range(1, (settings.max_epochs if n_epochs is None else n_epochs) + 1):
        loss = _run_epoch(network, train, weights, balance, rng)
        history.train_loss.append(_finite("training", loss, epoch))
        if validation is None:
            history.best_epoch = epoch
            continue
        loss, recall = score(network, validation)
        history.validation_loss.append(_finite("validation", loss, epoch))
        history.validation_uar.append(recall)
        if loss < best_loss:
            best_loss, best_weights, history.best_epoch = loss, network.weights(), epoch
        elif epoch - history.best_epoch >= settings.patience:
            break
    if best_weights is not None:
        network.set_weights(best_weights)
    return history


def _finite(what: str, loss: float, epoch: int) -> float:
    if not math.isfinite(loss):
        raise FittingError(
            f"the {what} loss is {loss} in epoch {epoch}; expected a finite number; lower the "
            f"learning rate, and look for features that are not finite"
        )
    return loss

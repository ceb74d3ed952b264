"""Ragged stacks -> rectangular batches with a mask.

Conventions
-----------
A stack is float32 (n_segments, n_features). A batch is rectangular: its time axis is filled with
zeros after the last segment, and a boolean mask says which steps are real. Lengths are rounded up
to a multiple of `LENGTH_STEP` and short batches are filled with empty rows, so that a backend that
compiles one program a shape sees few shapes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

LENGTH_STEP = 4


def pad(chosen: Sequence[np.ndarray], batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Lay some stacks side by side in one zero-filled array.

    Parameters
    ----------
    chosen : float32, each of shape (n_i, n_features), n_i >= 1; at most `batch_size` of them
    batch_size : rows of the batch; those that no stack fills are empty

    Returns
    -------
    values : float32, shape (batch_size, n_steps, n_features)
    mask : bool, shape (batch_size, n_steps)
        True where a segment is. An empty row has its first step unmasked, since a softmax over
        nothing has no value; such rows carry no weight in training and are cut off in prediction.

    Examples
    --------
    >>> values, mask = pad([np.ones((3, 2), np.float32)], batch_size=2)
    >>> values.shape, mask.sum(axis=1).tolist()
    ((2, 4, 2), [3, 1])
    """
    n_steps = _rounded(max(map(len, chosen)))
    values = np.zeros((batch_size, n_steps, chosen[0].shape[1]), np.float32)
    mask = np.zeros((batch_size, n_steps), bool)
    mask[:, 0] = True
    for place, stack in enumerate(chosen):
        values[place, : len(stack)] = stack
        mask[place, : len(stack)] = True
    return values, mask


def _rounded(length: int) -> int:
    return -(-length // LENGTH_STEP) * LENGTH_STEP


def in_order(lengths: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """Cut all rows into batches of like length, longest last; the same cut every time."""
    order = np.argsort(lengths, kind="stable")
    return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]


def within(
    batches: Iterable[np.ndarray], lengths: np.ndarray, batch_size: int, max_steps: int
) -> Iterator[tuple[np.ndarray, int]]:
    """Cut batches that would be too large into smaller ones.

    Parameters
    ----------
    batches : rows of each
    lengths : int64, of every stack
    batch_size : rows that a batch is laid out for
    max_steps : rows times padded length of the largest batch; a single stack may be longer

    Yields
    ------
    rows of a batch, and how many it is laid out for: `batch_size`, or a smaller power of two

    Examples
    --------
    >>> [(b.tolist(), n) for b, n in within([np.arange(3)], np.array([8, 8, 80]), 4, 160)]
    [([0, 1], 2), ([2], 2)]
    """
    for rows in batches:
        fitting = max(1, max_steps // _rounded(int(lengths[rows].max())))
        size = batch_size
        if size > fitting:  # few sizes, since each may be compiled
            size = 1 << (fitting.bit_length() - 1)
        for i in range(0, len(rows), size):
            yield rows[i : i + size], size


def shuffled(
    lengths: np.ndarray, batch_size: int, rng: np.random.Generator, jitter: float = 0.25
) -> list[np.ndarray]:
    """Cut all rows into batches of roughly like length, in random order.

    Every row is in exactly one batch. Lengths are multiplied by random factors in
    [1 - jitter, 1 + jitter] before they are sorted, so that the company a row keeps changes from
    epoch to epoch while little of a batch is padding.
    """
    noisy = lengths * rng.uniform(1 - jitter, 1 + jitter, len(lengths))
    order = np.argsort(noisy, kind="stable")
    # A batch is laid out whole: the one that is short had better not be the longest.
    batches = [order[max(0, i - batch_size) : i] for i in range(len(order), 0, -batch_size)]
    return [batches[i] for i in rng.permutation(len(batches))]

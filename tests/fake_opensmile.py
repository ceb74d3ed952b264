"""In place of openSMILE, which is an extra: functionals that tests know beforehand."""

import functools
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages import opensmile_features

__all__ = ["FakeSmile", "use_fake_opensmile"]


class FakeSmile:
    """Number of samples, level, zero crossings, and NaN for what is too short."""

    N_VALUES = 3

    def __init__(self) -> None:
        self.heard: list[tuple[np.ndarray, int]] = []

    def process_signal(self, samples: np.ndarray, rate: int) -> pd.DataFrame:
        """Answer as the package does: one row, one column a functional."""
        self.heard.append((samples, rate))
        if len(samples) < 960:
            warnings.warn("Segment too short, filling with NaN.", UserWarning, stacklevel=1)
            return pd.DataFrame([[np.nan] * self.N_VALUES], dtype=np.float32)
        crossings = np.mean(np.diff(np.signbit(samples).astype(int)) != 0)
        return pd.DataFrame([[len(samples), samples.std(), crossings]], dtype=np.float32)


def use_fake_opensmile(monkeypatch: pytest.MonkeyPatch) -> FakeSmile:
    """Let the fake one answer, in this process, as if the package were installed."""
    fake = FakeSmile()

    def in_this_process(
        job: Callable[[Any], np.ndarray], recordings: Sequence[Any], _n_workers: int
    ) -> Iterator[np.ndarray]:
        return map(job, recordings)

    monkeypatch.setattr(opensmile_features, "smile", functools.cache(lambda _: fake))
    monkeypatch.setattr(opensmile_features, "_in_processes", in_this_process)
    monkeypatch.setattr("importlib.metadata.version", lambda _: "0")
    return fake

"""A corpus small and easy enough to train on within a test."""

import numpy as np
import pandas as pd

from models.blstm_attention_dnn import ClassifierSettings
from stages.dataset import Dataset
from stages.manifest import COLUMNS

EMOTIONS = ["angry", "calm", "sad"]
SMALL_NETWORK = ClassifierSettings(
    lstm_units=8,
    attention_units=4,
    dnn_units=(6,),
    batch_size=16,
    epochs=12,
    dropout=0.1,
    segment_dropout=0.1,
    learning_rate=1e-2,
)


def make_dataset(
    n_speakers: int = 4,
    n_each: int = 9,
    n_features: int = 12,
    *,
    shift: float = 4.0,
    apart: float = 1.0,
) -> Dataset:
    """Speakers who differ by `apart`, emotions by `shift` in a feature each; sessions of two."""
    rng = np.random.default_rng(0)
    rows, stacks = [], []
    for speaker in range(n_speakers):
        for take, emotion in enumerate(np.tile(EMOTIONS, n_each // 3)):
            name = f"{speaker}-{take}"
            own = (f"s{speaker}", str(1 + speaker // 2), "", emotion, "toy")
            rows.append((name, f"{name}.wav", 0.0, np.nan, *own))
            stack = rng.normal(apart * speaker, 1, (rng.integers(2, 7), n_features)).astype(
                np.float32
            )
            stack[:, EMOTIONS.index(emotion)] += shift
            stacks.append(stack)
    starts = [0.16 * np.arange(len(stack)) for stack in stacks]
    return Dataset(
        manifest=pd.DataFrame(rows, columns=COLUMNS),
        stacks=stacks,
        segment_start=starts,
        segment_end=[start + 0.64 for start in starts],
        keys=[f"key-{row[0]}" for row in rows],
        audio_sha256=[f"sha-{row[0]}" for row in rows],
        recipe_id="r1",
        recipe_json='{"revision": 1}',
        snapshot=7,
    )

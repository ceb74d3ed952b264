"""How far are one recipe's features from another's, of the same utterances and segments?

Such as those of bfloat16 from those of float32, or as float16 in the store from float32 there. What it
does to a training: `ablate.py`, whose rows have both.

    python benchmarks/compare_features.py m.csv emostack-v1 emostack-v1-bfloat16 --workdir runs
"""

import argparse
from pathlib import Path

import numpy as np

from models.stacks import Stacks
from pipeline.stores import open_store
from pipeline.workdir import Workdir
from stages.manifest import read_manifest
from stages.training_features import read_features


def main() -> None:
    """Read both and print how far they are apart."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("recipe")
    parser.add_argument("other", help="a recipe that has the same segments and features")
    parser.add_argument("--workdir", type=Path, default=Path("runs"))
    given = parser.parse_args()
    manifest = read_manifest(given.manifest, allow_absolute=True)
    stacks = []
    for name in (given.recipe, given.other):
        store, _ = open_store(Workdir(given.workdir), name, None)
        dataset, _ = read_features(manifest, [store], memory_bytes=0)
        stacks.append(dataset.stacks)
    print(f"{given.other} against {given.recipe}:")
    for words, value in apart(*stacks).items():
        print(f"  {words}: {value:.1e}")


def apart(stacks: Stacks, others: Stacks) -> dict[str, float]:
    """Say how far apart features are, in parts of what they are and of how they vary.

    Parameters
    ----------
    stacks, others : of the same utterances, each of shape (n_segments, n_features)

    Returns
    -------
    words to numbers
    """
    n_segments, largest, peak = 0, 0.0, 0.0
    error, value, square = np.zeros((3, stacks[0].shape[1]))
    for one, other in zip(stacks, others, strict=True):
        wide = one.astype(np.float64)
        difference = other - wide
        n_segments += len(wide)
        error += np.square(difference).sum(axis=0)
        value += wide.sum(axis=0)
        square += np.square(wide).sum(axis=0)
        largest = max(largest, float(np.abs(difference).max()))
        peak = max(peak, float(np.abs(wide).max()))
    deviation = np.sqrt(np.maximum(square / n_segments - np.square(value / n_segments), 0))
    moving = deviation > 0
    shares = np.sqrt(error / n_segments)[moving] / deviation[moving]
    return {
        "root mean square, in parts of the features'": float(np.sqrt(error.sum() / square.sum())),
        "of a feature, in parts of its deviation: median": float(np.median(shares)),
        "of a feature, in parts of its deviation: 99 of 100 below": float(
            np.quantile(shares, 0.99)
        ),
        "largest, in parts of the largest feature": largest / peak,
    }


if __name__ == "__main__":
    main()

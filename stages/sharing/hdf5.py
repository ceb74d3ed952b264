"""Export to HDF5: one file with everything in it, and without links."""

from pathlib import Path

import numpy as np

from features_cache.consolidated import write_consolidated
from stages.sharing.content import Content
from stages.sharing.format import Format

FILE = "features.h5"


def write(content: Content, folder: Path) -> None:
    """Write `FILE`; ``docs/store-format.md`` says what is in it."""
    rows = content.manifest
    texts = {name: rows[name] for name in rows if name not in ("start", "end")}
    times = {name: rows[name].to_numpy(np.float64) for name in ("start", "end")}
    columns = {**texts, **times, "key": content.keys}
    write_consolidated(folder / FILE, content.stacks(), columns, content.origin())


FORMAT = Format(
    name="hdf5",
    files="features.h5 holds everything; rows offsets[i] to offsets[i + 1] are utterance i.",
    snippet="""\
import h5py

with h5py.File("features.h5") as file:
    emotions = file["emotion"].asstr()[:]
    features = file["features"][file["offsets"][0] : file["offsets"][1]]
""",
    write=write,
)

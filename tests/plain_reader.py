"""A reader of stores, written from docs/store-format.md alone: nothing of emostack is imported."""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow.parquet as pq


def tables(folder: Path) -> dict[int, list[dict[str, Any]]]:
    """Rows of every numbered table in a folder, by number."""
    return {
        int(p.stem): pq.read_table(p).to_pylist() for p in sorted(folder.glob("[0-9]*.parquet"))
    }


def places(store: Path, is_old: bool) -> dict[bytes, tuple[str, int, int]]:
    """Where the features of each key are."""
    found: dict[bytes, tuple[str, int, int]] = {}
    if not is_old:
        rows = tables(store / "catalogue").popitem()[1]
        return {r["key"]: (r["shard"], r["row_start"], r["row_end"]) for r in rows if r["shard"]}
    for rows in tables(store / "generations").values():  # the newest last
        for row in sorted(rows, key=lambda row: row["status"] != "gone"):
            if row["shard"] and (store / "shards" / row["shard"]).exists():
                key = bytes.fromhex(row["key"])
                found[key] = row["shard"], row["row_start"], row["row_end"]
    return found


def read(store: Path) -> dict[tuple[int, str, str, str], np.ndarray]:
    """Features by snapshot, corpus, utterance and view."""
    is_old = "format" not in json.loads((store / "recipe.json").read_text(encoding="utf-8"))
    where = places(store, is_old)
    found = {}
    for number, rows in tables(store / ("generations" if is_old else "snapshots")).items():
        for row in rows:
            if row["status"] == "live":
                key = bytes.fromhex(row["key"]) if is_old else row["key"]
                shard, first, last = where[key]
                with h5py.File(store / "shards" / shard) as file:
                    name = number, row["corpus"], row["utterance_id"], row["view"]
                    found[name] = file["features"][first:last]
    return found

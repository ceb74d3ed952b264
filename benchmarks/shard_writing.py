"""Writing and hashing a shard, features in memory; as a script, a child that times it."""

import tempfile
from pathlib import Path
from typing import Any

from benchmarks.child import Action, Numbers, serve
from features_cache.shard import ShardWriter, open_shard, read_entries, read_header


def make_ready(fields: dict[str, Any]) -> Action:
    """Get ready to write a shard again: ``shard``, the path of one that is published."""
    path = Path(fields["shard"])
    header, entries = read_header(path), read_entries(path)
    with open_shard(path) as file:
        features, start, end = (
            file[name][:] for name in ("features", "segment_start", "segment_end")
        )

    def run(step: int) -> Numbers:
        with (
            tempfile.TemporaryDirectory(dir=path.parent) as folder,
            ShardWriter(Path(folder), header) as shard,
        ):
            for entry in entries[::step]:
                rows = slice(entry.row_start, entry.row_end)
                shard.append(features[rows], start[rows], end[rows])
                shard.end_utterance(key=entry.key, utterance_id=entry.utterance_id, view=entry.view)
            written = shard.close()
        return {"n_segments": written.entries[-1].row_end}

    return run


if __name__ == "__main__":
    serve(make_ready)

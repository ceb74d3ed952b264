"""What a night leaves of itself: the record that `reports.night` makes a page of."""

import json
import shlex
import socket
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from features_cache.store import Store
from pipeline import __version__
from pipeline.extraction import Features
from stages.plan import CHANGES, Plan

N_NAMES, N_LISTED = 20, 50
"""Ids of each kind of change, and bad files or findings, that the record names."""

NAMED = ("new", "changed", "renamed", "relabelled")

Record = dict[str, Any]


def blank_record(folder: Path, title: str, recipe_name: str) -> Record:
    """Begin the record of a night in `folder`: as if it died here, until it says otherwise."""
    return {
        "format": 1,
        "night": folder.name,
        "title": title,
        "host": socket.gethostname(),
        "command": shlex.join(["emostack", *sys.argv[1:]]),
        "emostack": __version__,
        "began": datetime.now().astimezone().isoformat(timespec="seconds"),
        "ended": "",
        "seconds": 0.0,
        "status": "running",
        "exit_status": 0,
        "error": "",
        "stopped_by": "",
        "changed": False,
        "recipe": recipe_name,
        "recipe_id": "",
        "store": "",
        "snapshot": 0,
        "parent_snapshot": 0,
        "counts": dict.fromkeys(
            ("manifest", *CHANGES, "gone", "newly_quarantined", "quarantined", "left"), 0
        ),
        "names": {name: [] for name in (*NAMED, "gone")},
        "failures": {},
        "failures_total": {},
        "quarantined": [],
        "checks": {},
        "check_findings": [],
        "audio_seconds": None,
        "segments": 0,
        "segments_per_second": 0.0,
        "steps": [],
        "disk": {"store_bytes": 0, "store_bytes_before": 0, "free_bytes": 0, "shards": 0},
        "peak_rss_bytes": 0,
        "drift": None,
        "train": None,
        "train_skipped": "",
        "previous": previous_night(folder),
        "warnings": [],
    }


def note_store(record: Record, folder: Path, recipe_id: str) -> None:
    """Put into a record which store it is, and how it was found."""
    record |= {"recipe_id": recipe_id, "store": str(folder)}
    record["disk"]["store_bytes_before"] = store_size(folder)[0]
    if (folder / "recipe.json").exists():
        number = Store(folder).snapshot.number
        record |= {"parent_snapshot": number, "snapshot": number}


def note_plan(record: Record, plan: Plan) -> None:
    """Put into a record what a plan says."""
    counts = {change: plan.count(change) for change in CHANGES}
    counts |= {
        "manifest": len(plan.change),
        "gone": len(plan.gone),
        "left": len(plan.pending),
    }
    record["counts"] |= counts
    record["names"] = {change: plan.ids(change, N_NAMES) for change in NAMED}
    record["names"]["gone"] = list(plan.gone[:N_NAMES])


def note_features(record: Record, features: Features) -> None:
    """Put into a record what an extraction has come to."""
    done = features.done
    if done is None:
        return
    news = done.newly_quarantined
    record["counts"] |= {
        "newly_quarantined": len(news),
        "quarantined": sum(done.quarantined.values()),
        "left": done.n_left,
    }
    record["failures"] = {str(code): int(n) for code, n in news["reason"].value_counts().items()}
    record["failures_total"] = done.quarantined
    listed = news[["utterance_id", "file", "reason", "message"]].iloc[:N_LISTED]
    record["quarantined"] = listed.to_dict("records")
    record["segments"] = done.n_segments
    record["segments_per_second"] = features.fields["segments_per_second"]
    record["audio_seconds"] = done.audio_s


def previous_night(folder: Path) -> dict[str, str] | None:
    """Say how the night before `folder` ended; ``running`` if it died without a word."""
    for path in sorted(folder.parent.glob("*/night.json"), reverse=True):
        if path.parent != folder:
            try:
                record = json.loads(path.read_text(encoding="utf-8"))
                return {name: str(record[name]) for name in ("night", "status", "ended")}
            except (OSError, ValueError, KeyError, TypeError):
                continue
    return None


def store_size(folder: Path) -> tuple[int, int]:
    """Bytes of a store's files, and how many of them are shards."""
    shards = [path.stat().st_size for path in folder.glob("shards/*.h5")]
    others = [path.stat().st_size for path in folder.rglob("*") if path.suffix == ".parquet"]
    return sum(shards) + sum(others), len(shards)

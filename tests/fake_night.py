"""Nights as the pipeline writes them, made up."""

from typing import Any

__all__ = ["fake_night"]


def fake_night(**changes: Any) -> dict[str, Any]:  # noqa: ANN401  (any JSON value)
    """Make a calm night; `changes` replace keys, dicts are merged key by key."""
    night: dict[str, Any] = {
        "format": 1, "night": "20261123-020000", "title": "emodb", "host": "box",
        "command": "emostack nightly /etc/emostack.toml", "emostack": "0.1.0",
        "began": "2026-11-23T02:00:00+00:00", "ended": "2026-11-23T02:00:51+00:00",
        "seconds": 51.0, "status": "done", "exit_status": 0, "error": "", "stopped_by": "",
        "changed": True, "recipe": "emostack-v1", "recipe_id": "9f2c4e1ab07d35f6",
        "store": "/data/features/9f2c4e1ab07d35f6", "snapshot": 17, "parent_snapshot": 16,
        "counts": {
            "manifest": 1550, "new": 12, "changed": 1, "renamed": 0, "relabelled": 0, "gone": 2,
            "retried": 0, "skipped": 1537, "newly_quarantined": 0, "quarantined": 2, "left": 0,
        },
        "names": {
            "new": [f"03a{i:02d}Fa" for i in range(12)], "changed": ["16b10Wb"], "renamed": [],
            "relabelled": [], "gone": ["08a01Na", "08a02Na"],
        },
        "failures": {}, "failures_total": {"silent": 2}, "quarantined": [], "checks": {},
        "check_findings": [], "audio_seconds": 36.4, "segments": 1234,
        "segments_per_second": 48.7,
        "steps": [
            {"name": "manifest", "seconds": 1.2}, {"name": "plan", "seconds": 0.3},
            {"name": "check", "seconds": 2.1}, {"name": "extract", "seconds": 25.3},
            {"name": "train", "seconds": 20.4},
        ],
        "disk": {
            "store_bytes": 812_000_000, "store_bytes_before": 804_000_000,
            "free_bytes": 91_000_000_000, "shards": 31,
        },
        "peak_rss_bytes": 1_400_000_000,
        "drift": {
            "n_before": 500, "n_new": 12, "median_shift": 0.21, "largest_shift": 0.93,
            "expected_shift": 0.197, "median_spread_ratio": 1.03, "verdict": "none",
        },
        "train": {
            "uar_pooled": 83.1, "uar_inductive": 78.2, "uar_interval": [79.4, 86.6],
            "run": "20261123-020031", "report": "/data/runs/20261123-020031/report.html",
            "snapshot": 17, "seconds": 20.4, "previous_uar": 82.5, "warning": "",
        },
        "train_skipped": "",
        "previous": {
            "night": "20261122-020000", "status": "done", "ended": "2026-11-22T02:00:48+00:00",
        },
        "warnings": [],
    }  # fmt: skip
    for name, value in changes.items():
        old = night[name]
        night[name] = (
            {**old, **value} if isinstance(old, dict) and isinstance(value, dict) else value
        )
    return night

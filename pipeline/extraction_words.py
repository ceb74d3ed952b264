"""What an extraction says: what it is going to do, how it gets on, what has come of it."""

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features_cache.keys import CLEAN
from pipeline.session import Session
from pipeline.stores import named_snapshot
from stages.extract import Extraction
from stages.plan import CHANGES, Plan
from stages.recipe import Recipe

if TYPE_CHECKING:
    from stages.shard_work import ShardResult

SHOWN = 5
"""Names shown of each kind of change, and failures told one by one."""


class Watch:
    """Counts what is done, and says in time that the disk will not do."""

    def __init__(self, session: Session, folder: Path, n_utterances: int) -> None:
        self._session, self._folder, self._n_utterances = session, folder, n_utterances
        self._began = time.monotonic()
        self._n_segments = self._n_ended = self._n_bytes = 0
        self._has_warned = False

    def count(self, result: "ShardResult") -> tuple[int, str]:
        """Count a result; give how many utterances it ended, and the rate so far in words."""
        n_ended = len(result.failures)
        if result.shard:
            n_ended += len(result.shard.entries)
            self._n_bytes += (self._folder / result.shard.name).stat().st_size
        self._n_ended += n_ended
        self._n_segments += result.n_segments
        self._look_at_disk()
        rate = self._n_segments / (time.monotonic() - self._began)
        return n_ended, f"{rate:.0f} segments/s"

    def _look_at_disk(self) -> None:
        if self._has_warned or not self._n_ended:
            return
        needed = self._n_bytes / self._n_ended * (self._n_utterances - self._n_ended)
        free = shutil.disk_usage(self._folder).free
        if needed > free:
            self._has_warned = True
            self._session.warn(
                f"about {needed / 2**30:.1f} GiB more will be needed in {self._folder}, and "
                f"{free / 2**30:.1f} GiB are free; make room, or the run will end before its time"
            )


def tell_plan(session: Session, plan: Plan) -> None:
    """Say how many utterances of each kind there are, and the first few of them."""
    for change in CHANGES:
        n = plan.count(change)
        if n:
            names = "" if change == "skipped" else _names(plan.ids(change, SHOWN), n)
            session.say(f"{change:>12} {n:6d}  {names}".rstrip())
    if plan.gone:
        session.say(
            f"{'gone':>12} {len(plan.gone):6d}  {_names(plan.gone[:SHOWN], len(plan.gone))}"
        )
    session.say(f"{'to extract':>12} {len(plan.pending):6d}")
    for view, (n_to_extract, _) in plan.n_by_view().items():
        if n_to_extract:
            session.say(f"{'as':>12} {n_to_extract:6d}  {view}")
    if plan.n_withdrawn:
        session.say(
            f"{plan.n_withdrawn} of them were made, or given up, by a decoder that has been mended "
            "since, and are made again"
        )


def _names(ids: Sequence[str], n: int) -> str:
    shown = ", ".join(repr(name) for name in ids)
    return shown + (", ..." if n > len(ids) else "")


def tell_quarantined(session: Session, done: Extraction) -> None:
    """Warn of what is newly quarantined, the first few one by one."""
    news = done.newly_quarantined
    names = ("utterance_id", "view", "reason", "message")
    columns = (news[name].iloc[:SHOWN] for name in names)
    for name, view, code, message in zip(*columns, strict=True):
        which = "" if view == CLEAN else f" in view {view}"
        session.warn(f"quarantined {name!r}{which}: {code}: {message}")
    if len(news) > SHOWN:
        left = len(news) - SHOWN
        session.warn(f"and {left} more; 'emostack store ls --quarantined' lists them")


def contract_fields(
    recipe: Recipe, plan: Plan, done: Extraction | None, snapshot: int, seconds: float
) -> dict[str, Any]:
    """Give the contract's fields of ``emostack extract --json``; `done` is None for a dry run."""
    n_segments = done.n_segments if done else 0
    return {
        "recipe_id": recipe.recipe_id,
        **{f"n_{change}": plan.count(change) for change in CHANGES if change != "quarantined"},
        "n_gone": len(plan.gone),
        "n_withdrawn": plan.n_withdrawn,
        "views": {
            view: {"n_to_extract": n_to_extract, "n_there": n_there}
            for view, (n_to_extract, n_there) in plan.n_by_view().items()
        },
        "n_to_extract": len(plan.pending),
        "n_left": done.n_left if done else len(plan.pending),
        "n_quarantined": len(done.newly_quarantined if done else plan.newly_bad),
        "n_quarantined_total": sum(done.quarantined.values())
        if done
        else plan.count("quarantined"),
        "n_segments": n_segments,
        "seconds": round(seconds, 3),
        "segments_per_second": round(n_segments / done.seconds, 1) if done and n_segments else 0.0,
        **named_snapshot(snapshot),
    }

"""One night: manifest, plan, check, extract, then train where something changed; and the page."""

import json
import resource
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from features_cache.lock import writer_lock
from features_cache.store import Store
from pipeline.errors import INTERRUPTED, QUARANTINED, exit_status, one_line
from pipeline.extraction import Features, Job, extract_features
from pipeline.night_options import NightOptions, read_corpus, refuse_unwritable
from pipeline.night_record import (
    N_LISTED,
    blank_record,
    note_features,
    note_plan,
    note_store,
    store_size,
)
from pipeline.session import Session
from pipeline.stopping import OutOfTimeError
from pipeline.workdir import Workdir
from reports.night import summary_line, write_night
from stages.manifest import audio_paths
from stages.nightly import feature_drift, findings, last_training, training_content
from stages.plan import Plan
from stages.recipe import resolve


def run_night(session: Session, workdir: Workdir, options: NightOptions) -> int:
    """Do everything that a night is for, say it in a line, and leave a page that says it all.

    Parameters
    ----------
    session : says what happens
    workdir : stores, runs and nights are below it
    options : what to do

    Returns
    -------
    int
        The command's exit status.

    Raises
    ------
    NightError
        The file for Prometheus cannot be written; no page is written.
    features_cache.lock.LockedError
        Another night is at work below this workdir; no page is written.
    Exception
        Whatever ended the night early; the line and the page say so.
    """
    workdir.nights.mkdir(parents=True, exist_ok=True)
    refuse_unwritable(options.prometheus)
    with writer_lock(workdir.nights):
        night = _Night(session, workdir, options)
        night.write()
        try:
            found = night.work()
        except OutOfTimeError as error:
            session.warn(str(error))
            night.end("stopped", stopped_by=str(error).partition(":")[0])
            found = {}
        except BaseException as error:
            status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
            text = "" if status == "interrupted" else one_line(error)
            night.end(status, error=text, exit_status=exit_status(error))
            night.tell({})
            raise
        night.tell(found)
        return night.exit_status


class _Night:
    """One night under way: its record, step by step."""

    def __init__(self, session: Session, workdir: Workdir, options: NightOptions) -> None:
        self._session, self._workdir, self._options = session, workdir, options
        self._began = time.monotonic()
        self._folder = workdir.new_night()
        self._record = blank_record(self._folder, options.title, options.recipe_name)
        self._limit = options.extract.limit

    def work(self) -> dict[str, Any]:
        """Go through the steps; the contract's fields of what was done."""
        record, options = self._record, self._options
        with self._step("manifest"):
            recipe = resolve(options.recipe)
            folder = self._workdir.store_folder(recipe.recipe_id)
            note_store(record, folder, recipe.recipe_id)
            manifest = read_corpus(self._session, options)
        job = Job(manifest=manifest, root=options.audio, recipe=recipe, views=options.views)
        features = self._extract(job)
        store = Store(folder)
        record["snapshot"] = store.snapshot.number
        record["changed"] = store.snapshot.number != record["parent_snapshot"]
        if features.was_interrupted:
            self.end("interrupted", stopped_by=features.stopped_by, exit_status=INTERRUPTED)
            return features.fields
        if record["changed"]:
            with self._step("drift"):
                record["drift"] = feature_drift(store, features.plan.pending["key"])
        trained = self._train(job, store, features)
        n_bad = features.fields["n_quarantined"]
        status = "stopped" if features.stopped_by else "done"
        self.end(status, stopped_by=features.stopped_by, exit_status=QUARANTINED if n_bad else 0)
        return {**features.fields, **trained}

    def end(self, status: str, **words: str | int) -> None:
        """Close the record and write the page."""
        folder = Path(self._record["store"]) if self._record["store"] else None
        n_bytes, n_shards = store_size(folder) if folder else (0, 0)
        self._record["disk"] |= {"store_bytes": n_bytes, "shards": n_shards}
        self._record |= {
            "status": status,
            **words,
            "ended": datetime.now().astimezone().isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - self._began, 3),
            "peak_rss_bytes": 1024
            * max(
                resource.getrusage(whose).ru_maxrss
                for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
            ),
            "warnings": self._session.warnings,
        }
        self.write()

    def write(self) -> None:
        """Write the page as far as it has come, so that a night that dies is seen to have died."""
        self._record["disk"]["free_bytes"] = shutil.disk_usage(self._workdir.nights).free
        write_night(self._folder, self._record, self._options.prometheus)

    @property
    def exit_status(self) -> int:
        """How the command ends."""
        return int(self._record["exit_status"])

    def tell(self, found: dict[str, Any]) -> None:
        """Say the night in one line, however it ended; `found` joins the contract's own fields."""
        names = ("changed", "status", "exit_status", "stopped_by", "error")
        fields = {name: self._record[name] for name in names}
        summary, page = summary_line(self._record), str(self._folder.absolute() / "night.html")
        self._session.result(
            {**found, **fields, "summary": summary, "page": page}, f"{summary}\n{page}"
        )

    def _extract(self, job: Job) -> Features:
        record, options = self._record, self._options
        began = time.monotonic()

        def on_plan(plan: Plan) -> None:
            nonlocal began
            self._note("plan", began)
            note_plan(record, plan)
            if options.check and len(plan.pending):
                with self._step("check"):
                    self._check(job, plan)
            began = time.monotonic()

        features = extract_features(
            self._session, self._workdir, job, options.extract, on_plan=on_plan
        )
        self._note("extract", began)
        note_features(record, features)
        return features

    def _check(self, job: Job, plan: Plan) -> None:
        limit = self._limit
        found = list(
            findings(
                plan,
                audio_paths(plan.wanted.manifest, job.root),
                job.recipe.frontend,
                lambda: limit is not None and limit.seconds_left < 0,
            )
        )
        self._record["checks"] = dict(Counter(problem.code for problem in found))
        self._record["check_findings"] = [
            {"utterance_id": p.utterance_id, "code": p.code, "message": p.message}
            for p in found[:N_LISTED]
        ]

    def _train(self, job: Job, store: Store, features: Features) -> dict[str, Any]:
        options, record = self._options, self._record
        if options.train is None:
            record["train_skipped"] = "switched off"
            return {}
        asked = {
            "recipe_id": job.recipe.recipe_id,
            "asked": json.dumps(options.train, sort_keys=True),
            "corpora": json.dumps(sorted(job.manifest["corpus"].unique())),
        }
        last = last_training(self._workdir.runs, options.title)
        snapshot = store.snapshot
        here = {"snapshot": str(snapshot.number), "snapshot_created": snapshot.created}
        # What was forgotten has to leave the classifiers, too.
        is_done = not snapshot.forgotten and {**asked, **here}.items() <= last.items()
        if not is_done:  # another snapshot may still say the same
            asked["content"] = training_content(snapshot, set(job.manifest["corpus"]))
            is_done = asked.items() <= last.items()
        if is_done:
            record["train_skipped"] = "nothing changed"
            return {}
        if features.stopped_by or (self._limit is not None and self._limit.seconds_left < 0):
            record["train_skipped"] = "no time left"
            return {}
        began = time.monotonic()
        with self._step("train"):
            fields = self._run_training(job, store, asked)
        record["train"] = {
            **{name: fields[name] for name in ("uar_pooled", "uar_interval", "report", "warning")},
            "uar_inductive": fields["uar_inductive"],
            "run": Path(fields["report"]).parent.name,
            "snapshot": store.snapshot.number,
            "seconds": time.monotonic() - began,
            "previous_uar": last.get("uar_pooled"),
        }
        return fields

    def _run_training(self, job: Job, store: Store, asked: dict[str, str]) -> dict[str, Any]:
        from pipeline.training import run_training  # imports Keras
        from stages.train_options import TrainOptions

        return run_training(
            self._session,
            self._workdir,
            job.manifest,
            job.root,
            store,
            job.recipe,
            TrainOptions(**(self._options.train or {})),
            title=self._options.title,
            provenance={
                "night": self._folder.name,
                "snapshot_created": store.snapshot.created,
                **asked,
            },
        )

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            self._note(name, began)

    def _note(self, name: str, began: float) -> None:
        seconds = round(time.monotonic() - began, 3)
        self._record["steps"].append({"name": name, "seconds": seconds})

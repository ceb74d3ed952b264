"""One night: manifest, plan, check, extract, then train where something changed; and the page."""

import json
import resource
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from features_cache.lock import writer_lock
from features_cache.store import Store
from pipeline.errors import QUARANTINED, exit_status, one_line
from pipeline.extraction import ExtractOptions, Features, Job, extract_features
from pipeline.night_record import (
    N_LISTED,
    blank_record,
    note_features,
    note_plan,
    store_size,
)
from pipeline.session import Session
from pipeline.stopping import OutOfTimeError, deadline
from pipeline.workdir import Workdir
from reports.night import summary_line, write_night
from stages.corpora.labels import read_label_map
from stages.corpora.table import reader
from stages.manifest import audio_paths, map_emotions, read_manifest
from stages.nightly import feature_drift, findings, last_training
from stages.plan import Plan
from stages.recipe import Recipe, load_recipe, resolve


class NightError(ValueError):
    """A night that does not know its corpus."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NightOptions:
    """What a night is asked to do.

    Attributes
    ----------
    title : heading of the page and of the training's report
    reader : name of the reader that makes the manifest; empty if there is one already
    source : the folder that the reader reads, or the manifest
    audio : folder that the manifest's files are relative to
    allow_absolute : let the manifest name files outside that folder
    label_map : old emotion -> new one
    recipe, recipe_name : need not be resolved yet; what the user called it
    extract : how to extract
    check : whether new and changed recordings are looked through
    train : fields of `stages.train_options.TrainOptions`; None for no training
    prometheus : where the textfile goes
    """

    title: str
    reader: str
    source: Path
    audio: Path
    allow_absolute: bool
    label_map: dict[str, str]
    recipe: Recipe
    recipe_name: str
    extract: ExtractOptions
    check: bool
    train: dict[str, Any] | None
    prometheus: Path


def night_options(workdir: Workdir, **given: Any) -> NightOptions:  # noqa: ANN401 - see verbs/whole
    """Make options of what the command line gave.

    Raises
    ------
    NightError
        It is not clear what the corpus is.
    """
    reader_name, corpus, manifest = given["reader"], given["corpus"], given["manifest"]
    if bool(reader_name) != bool(corpus) or bool(reader_name) == bool(manifest):
        seen = ", ".join(name for name in ("reader", "corpus", "manifest") if given[name])
        message = (
            f"the night has {seen or 'no corpus'}; expected reader and corpus, or manifest; set "
            "them in the table [nightly]"
        )
        raise NightError(message)
    source = corpus or manifest
    audio = given["audio"] or (corpus if reader_name else manifest.parent)
    extract = {name.name: given[name.name] for name in fields(ExtractOptions) if name.name in given}
    return NightOptions(
        title=given["title"] or reader_name or manifest.stem,
        reader=reader_name,
        source=source,
        audio=audio,
        allow_absolute=given["allow_absolute"],
        label_map=read_label_map(given["label_map"]) if given["label_map"] else {},
        recipe=load_recipe(given["recipe_name"]),
        recipe_name=given["recipe_name"],
        extract=ExtractOptions(**extract),
        check=given["check"],
        train={
            "folds": given["folds"],
            "normalise": given["normalise"],
            "balance": given["balance"],
            "seeds": tuple(range(given["seeds"])),
        }
        if given["trains"]
        else None,
        prometheus=given["prometheus"] or workdir.nights / "emostack.prom",
    )


def run_night(session: Session, workdir: Workdir, options: NightOptions) -> dict[str, Any]:
    """Do everything that a night is for, and leave a page that says what happened.

    Parameters
    ----------
    session : says what happens
    workdir : stores, runs and nights are below it
    options : what to do

    Returns
    -------
    dict
        The contract's fields of ``emostack nightly --json``; ``exit_status`` is among them.

    Raises
    ------
    features_cache.lock.LockedError
        Another night is at work below this workdir; no page is written.
    Exception
        Whatever ended the night early; the page says so.
    """
    workdir.nights.mkdir(parents=True, exist_ok=True)
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
            raise
        return {**found, **night.fields()}


class _Night:
    """One night under way: its record, step by step."""

    def __init__(self, session: Session, workdir: Workdir, options: NightOptions) -> None:
        self._session, self._workdir, self._options = session, workdir, options
        self._began = time.monotonic()
        self._folder = workdir.new_night()
        self._record = blank_record(self._folder, options.title, options.recipe_name)
        now = datetime.now().astimezone()
        self._limit = deadline(options.extract.until, options.extract.max_hours, now=now)

    def work(self) -> dict[str, Any]:
        """Go through the steps; the contract's fields of what was done."""
        record, options = self._record, self._options
        with self._step("manifest"):
            manifest = _manifest(self._session, options)
            recipe = resolve(options.recipe)
        folder = self._workdir.store_folder(recipe.recipe_id)
        record["recipe_id"], record["store"] = recipe.recipe_id, str(folder)
        record["disk"]["store_bytes_before"] = store_size(folder)[0]
        job = Job(manifest=manifest, root=options.audio, recipe=recipe)
        features = self._extract(job)
        store = Store(folder)
        record["generation"] = store.generation.number
        record["changed"] = store.generation.number != record["parent_generation"]
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
            "peak_rss_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
            "warnings": self._session.warnings,
        }
        self.write()

    def write(self) -> None:
        """Write the page as far as it has come, so that a night that dies is seen to have died."""
        self._record["disk"]["free_bytes"] = shutil.disk_usage(self._workdir.nights).free
        write_night(self._folder, self._record, self._options.prometheus)

    def fields(self) -> dict[str, Any]:
        """Say the contract's own fields of a night."""
        return {
            "changed": self._record["changed"],
            "status": self._record["status"],
            "exit_status": self._record["exit_status"],
            "stopped_by": self._record["stopped_by"],
            "summary": summary_line(self._record),
            "page": str(self._folder / "night.html"),
        }

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

        folder = self._workdir.store_folder(job.recipe.recipe_id)
        if (folder / "recipe.json").exists():
            record["parent_generation"] = Store(folder).generation.number
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
                audio_paths(plan.rows, job.root),
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
        asked: dict[str, Any] = {
            "generation": store.generation.number,
            "recipe_id": job.recipe.recipe_id,
            "asked": json.dumps(options.train, sort_keys=True),
        }
        last = last_training(self._workdir.runs, options.title)
        if asked.items() <= last.items():
            record["train_skipped"] = "nothing changed"
            return {}
        if features.stopped_by or (self._limit is not None and self._limit.seconds_left < 0):
            record["train_skipped"] = "no time left"
            return {}
        began = time.monotonic()
        with self._step("train"):
            fields = self._run_training(job, store, asked["asked"])
        record["train"] = {
            **{name: fields[name] for name in ("uar_pooled", "uar_interval", "report", "warning")},
            "uar_inductive": fields["uar_inductive"],
            "run": Path(fields["report"]).parent.name,
            "generation": store.generation.number,
            "seconds": time.monotonic() - began,
            "previous_uar": last.get("uar_pooled"),
        }
        return fields

    def _run_training(self, job: Job, store: Store, asked: str) -> dict[str, Any]:
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
            provenance={"night": self._folder.name, "asked": asked},
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


def _manifest(session: Session, options: NightOptions) -> pd.DataFrame:
    """Read the corpus' folder, or its manifest."""
    if options.reader:
        rows, problems = reader(options.reader).read(options.source)
        for problem in problems:
            session.warn(problem)
    else:
        rows = read_manifest(
            options.source, audio=options.audio, allow_absolute=options.allow_absolute
        )
    return map_emotions(rows, options.label_map) if options.label_map else rows

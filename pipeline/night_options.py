"""What a night is asked to do, and on what."""

import tempfile
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.extraction import ExtractOptions
from pipeline.session import Session
from pipeline.stopping import deadline
from pipeline.workdir import Workdir
from stages.corpora.labels import LabelMap, read_label_map, settle_labels
from stages.corpora.table import reader
from stages.manifest import read_manifest
from stages.recipe import Recipe, load_recipe


class NightError(ValueError):
    """A night that does not know its corpus, does not find its audio, or cannot be told of."""


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
    label_map : what the corpus' labels are called; None for what is known of them
    recipe, recipe_name : need not be resolved yet; what the user called it
    views : names of the views to extract and to learn from besides `clean`
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
    label_map: LabelMap | None
    recipe: Recipe
    recipe_name: str
    views: tuple[str, ...]
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
    stages.corpora.reader.CorpusError
        There is no such reader.
    """
    reader_name, corpus, manifest = given["reader"], given["corpus"], given["manifest"]
    if bool(reader_name) != bool(corpus) or bool(reader_name) == bool(manifest):
        seen = ", ".join(name for name in ("reader", "corpus", "manifest") if given[name])
        message = (
            f"the night has {seen or 'no corpus'}; expected reader and corpus, or manifest; set "
            "them in the table [nightly]"
        )
        raise NightError(message)
    if reader_name:
        reader(reader_name)  # a name that is none is told before anything is begun
    source = corpus or manifest
    audio = given["audio"] or (source.parent if manifest or source.is_file() else source)
    extract = {name.name: given[name.name] for name in fields(ExtractOptions) if name.name in given}
    limit = deadline(given["until"], given["max_hours"])
    return NightOptions(
        title=given["title"] or reader_name or manifest.stem,
        reader=reader_name,
        source=source,
        audio=audio,
        allow_absolute=given["allow_absolute"],
        label_map=read_label_map(given["label_map"]) if given["label_map"] else None,
        recipe=load_recipe(given["recipe_name"]),
        recipe_name=given["recipe_name"],
        views=given["views"],
        extract=ExtractOptions(limit=limit, **extract),
        check=given["check"],
        train={
            "folds": given["folds"],
            "normalise": given["normalise"],
            "balance": given["balance"],
            "views": given["views"],
            "seeds": tuple(range(given["seeds"])),
        }
        if given["trains"]
        else None,
        prometheus=given["prometheus"] or workdir.nights / "emostack.prom",
    )


def refuse_unwritable(prometheus: Path) -> None:
    """Tell before the night, and not after it, that nobody would see it on the dashboard."""
    folder = prometheus.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return
    except OSError as error:
        message = (
            f"no file can be made in {folder} ({error.strerror}); expected a folder for "
            f"{prometheus.name} that this user may write to; give another --prometheus"
        )
        raise NightError(message) from error


def read_corpus(session: Session, options: NightOptions) -> pd.DataFrame:
    """Read the corpus' folder, or its manifest, whose labels stay as they are without a map."""
    if not options.audio.is_dir():
        message = (
            f"{options.audio} is not there, or no folder; expected the corpus' audio; mount the "
            "disk, or correct 'audio' or 'corpus' in the table [nightly]"
        )
        raise NightError(message)
    if options.reader:
        rows, problems = reader(options.reader).read(options.source)
        rows, told = settle_labels(rows, options.label_map)
        problems += told
    else:
        rows = read_manifest(
            options.source, audio=options.audio, allow_absolute=options.allow_absolute
        )
        problems = []
        if options.label_map is not None:
            rows, problems = settle_labels(rows, options.label_map)
    for problem in problems:
        session.warn(problem)
    return rows

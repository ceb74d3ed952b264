"""Verbs of stage two: train, report, compare, predict."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline import options
from pipeline.cross_corpus_options import check_second_corpus, second_corpus
from pipeline.errors import QUARANTINED
from pipeline.session import Session
from pipeline.workdir import Workdir

if TYPE_CHECKING:
    from models.bundle import Bundle
    from stages.predict import Prediction, Unusable
    from stages.utterance import Utterance


@click.command()
@options.manifest
@options.audio
@options.recipes
@options.snapshots
@options.seeds
@options.learned_views
@options.training
@options.baselines
@second_corpus
@click.option(
    "--speaker-bundle",
    is_flag=True,
    help="Bundle speaker-normalised models; they predict only manifests with known speakers.",
)
@click.option(
    "--memory",
    "memory_gib",
    type=click.FloatRange(min=0),
    metavar="GIB",
    help="What the features may take in memory; larger ones are streamed from the store, with the "
    "same result, later. Default: half of what is free.",
)
@click.option("--title", default="", help="Heading of the report. Default: the manifest's name.")
@options.common
def train(
    session: Session,
    workdir: Workdir,
    manifest: Path,
    audio: Path | None,
    recipe_names: tuple[str, ...],
    snapshots: tuple[int, ...],
    seeds: int,
    folds: str,
    title: str,
    with_baselines: bool,
    test_manifest: Path | None,
    test_audio: Path | None,
    label_map: Path | None,
    memory_gib: float | None,
    **how: Any,  # noqa: ANN401 - fields of TrainOptions
) -> None:
    """Stage two: cross-validate and train a classifier on the cached features of a MANIFEST.

    Folds never share a speaker. The audio is only needed for the report's spectrograms and for
    baselines. A run is repeated by its own manifest.csv and --snapshot. With --test another
    corpus is tested on, and nothing is learnt from it.

    \b
    Example: emostack train emodb.csv --seeds 3 --views speed-0.9,speed-1.1
    Example: emostack train emodb.csv --test savee.csv --map savee-to-emodb.toml
    Example: emostack train emodb.csv --recipe emostack-v1 --recipe emostack-small-v1
    """
    if snapshots and len(snapshots) != len(recipe_names):
        seen = f"{len(recipe_names)} --recipe and {len(snapshots)} --snapshot"
        raise click.UsageError(f"{seen}; expected no --snapshot, or one for each --recipe")
    check_second_corpus(test_manifest, test_audio, label_map, folds)
    from pipeline.cross_corpus import read_second_corpus
    from pipeline.stores import open_stores
    from pipeline.training import run_training, summary
    from stages.manifest import read_manifest
    from stages.train_options import TrainOptions

    rows = read_manifest(manifest, audio=audio, allow_absolute=True)
    second = None
    if test_manifest is not None:
        second = read_second_corpus(session, test_manifest, test_audio, label_map, rows)
        title = title or f"{manifest.stem}, tested on {test_manifest.stem}"
    (store, recipe), *beside = open_stores(workdir, recipe_names, snapshots)
    fields = run_training(
        session,
        workdir,
        rows,
        audio or manifest.parent,
        store,
        recipe,
        TrainOptions(folds=folds, seeds=tuple(range(seeds)), **how),
        title=title or manifest.stem,
        beside=beside,
        second=second,
        with_baselines=with_baselines,
        memory_gib=memory_gib,
    )
    session.result(fields, summary(fields))


@click.command()
@click.argument("run")
@options.common
def report(session: Session, workdir: Workdir, run: str) -> None:
    """Write the HTML report of a RUN again: a name below the workdir, or a folder.

    \b
    Example: emostack report 20261123-101500-emodb
    """
    from reports.page import write_report

    path = write_report(workdir.find_run(run))
    session.result({"report": str(path)}, str(path))


@click.command()
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
@options.common
def compare(session: Session, workdir: Workdir, runs: tuple[str, ...]) -> None:
    """Hold RUNs against the first of them: names below the workdir, or folders.

    Each difference comes with its interval and a paired randomisation test. Of a single RUN, the
    evaluations are compared: does the network beat the baselines?

    \b
    Example: emostack compare 20261123-101500-emodb 20261124-090000-emodb
    """
    from pipeline.comparing import run_comparison, summary

    fields = run_comparison(session, workdir, runs)
    session.result(fields, summary(fields))


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("sources", metavar="AUDIO...", nargs=-1, type=click.Path(path_type=Path))
@options.audio
@options.allow_absolute
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the table to this CSV file, too.",
)
@options.common
def predict(
    session: Session,
    workdir: Workdir,  # noqa: ARG001 - every verb has one
    bundle: Path,
    sources: tuple[Path, ...],
    audio: Path | None,
    allow_absolute: bool,
    output: Path | None,
) -> int:
    """Name the emotion in AUDIO: files, folders, or a manifest (.csv or .parquet).

    \b
    Example: emostack predict runs/runs/20261123-101500-emodb/bundle interview.wav
    """
    from features_cache.atomic import atomic_write
    from models.bundle import load_bundle
    from stages.predict import Prediction
    from stages.predict import predict as predict_utterances

    loaded = load_bundle(bundle)
    utterances = _utterances(sources, audio, allow_absolute=allow_absolute)
    if not utterances:
        seen = ", ".join(map(str, sources)) or "nothing"
        message = f"no audio in {seen}; expected audio files, folders of them, or a manifest"
        raise click.UsageError(message)
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
    results = list(predict_utterances(loaded, utterances))
    good = [each for each in results if isinstance(each, Prediction)]
    bad = [each for each in results if not isinstance(each, Prediction)]
    for each in bad:
        session.warn(f"{each.name!r}: {each.code}: {each.message}")
    if loaded.card.get("warning"):
        session.warn(str(loaded.card["warning"]))
    table = _table(loaded, good)
    if output:
        with atomic_write(output) as partial:
            partial.write_text(table, encoding="utf-8")
    session.result(_fields(loaded, good, bad), table.rstrip("\n"))
    return QUARANTINED if bad else 0


def _utterances(
    sources: tuple[Path, ...], audio: Path | None, *, allow_absolute: bool
) -> "list[Utterance]":
    from stages.folds import speaker_names
    from stages.manifest import SUFFIXES, audio_paths, read_manifest
    from stages.predict import audio_files
    from stages.utterance import Utterance

    found = []
    for path in sources:
        if path.suffix.lower() in SUFFIXES:
            rows = read_manifest(path, audio=audio, allow_absolute=allow_absolute)
            columns = zip(
                rows["utterance_id"],
                map(Path, audio_paths(rows, audio or path.parent)),
                rows["start"],
                rows["end"],
                speaker_names(rows),
                strict=True,
            )
            found += [
                Utterance(utterance_id=name, path=file, start=start, end=end, speaker=speaker)
                for name, file, start, end, speaker in columns
            ]
        elif path.is_dir():
            found += [Utterance(utterance_id=str(file), path=file) for file in audio_files(path)]
        else:
            found.append(Utterance(utterance_id=str(path), path=path))
    return found


def _table(bundle: "Bundle", predictions: "list[Prediction]") -> str:
    import csv
    import io

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    warning = str(bundle.card.get("warning") or "")
    warnings = {"warning": warning} if warning else {}
    writer.writerow(["file", "emotion", *bundle.labels, "segments", *warnings])
    for each in predictions:
        shares = [f"{each.probabilities[label]:.4f}" for label in bundle.labels]
        columns = zip(each.start, each.end, each.attention, strict=True)
        segments = " ".join(f"{start:.2f}-{end:.2f}:{share:.3f}" for start, end, share in columns)
        writer.writerow([each.name, each.emotion, *shares, segments, *warnings.values()])
    return text.getvalue()


def _fields(
    bundle: "Bundle", predictions: "list[Prediction]", bad: "list[Unusable]"
) -> dict[str, Any]:
    return {
        "predictions": [
            {
                "file": each.name,
                "emotion": each.emotion,
                "probabilities": each.probabilities,
                "segments": [
                    {"start": start, "end": end, "attention": share}
                    for start, end, share in zip(
                        each.start.tolist(), each.end.tolist(), each.attention.tolist(), strict=True
                    )
                ],
            }
            for each in predictions
        ],
        "problems": [
            {"file": each.name, "code": each.code, "message": each.message} for each in bad
        ],
        "warning": bundle.card.get("warning", ""),
    }

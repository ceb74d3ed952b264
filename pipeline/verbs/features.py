"""Verbs about features: extract, export, import."""

from pathlib import Path
from typing import Any

import click

from pipeline import options
from pipeline.errors import INTERRUPTED, QUARANTINED
from pipeline.session import Session
from pipeline.workdir import Workdir


@click.command()
@options.manifest
@options.audio
@options.allow_absolute
@options.recipe
@options.workers
@options.engine
@options.views
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@options.limits
@click.option(
    "--shard",
    "part",
    type=options.Part(),
    help="Do the i-th of n parts of the manifest, in a job array; then 'emostack store merge'.",
)
@options.common
def extract(
    session: Session,
    workdir: Workdir,
    manifest: Path,
    audio: Path | None,
    allow_absolute: bool,
    recipe_name: str,
    views: tuple[str, ...],
    dry_run: bool,
    part: tuple[int, int] | None,
    until: str | None,
    max_hours: float | None,
    **how: Any,  # noqa: ANN401 - the fields of ExtractOptions
) -> int:
    """Stage one: segment features of every utterance of a MANIFEST, into the recipe's store.

    What is there already is skipped. A file that cannot be used is quarantined and told; the others
    are done all the same (exit status 3).

    \b
    Example: emostack extract emodb.csv --audio /data/emodb
    Example: emostack extract emodb.csv --audio /data/emodb --views speed-0.9,speed-1.1
    """
    from pipeline.extraction import ExtractOptions, Job, extract_features, plan_features
    from pipeline.stopping import OutOfTimeError, deadline
    from stages.manifest import read_manifest
    from stages.recipe import load_recipe, resolve

    limit = deadline(until, max_hours)
    rows = read_manifest(manifest, audio=audio, allow_absolute=allow_absolute)
    recipe = resolve(load_recipe(recipe_name), download=not dry_run)
    job = Job(manifest=rows, root=audio or manifest.parent, recipe=recipe, views=views)
    job = job.part(*part) if part else job
    run = plan_features if dry_run else extract_features
    try:
        features = run(session, workdir, job, ExtractOptions(limit=limit, **how))
    except OutOfTimeError as error:
        session.warn(str(error))
        session.result({"recipe_id": recipe.recipe_id, "n_segments": 0}, "nothing was extracted")
        return 0
    fields = features.fields
    session.result(fields, _dry_text(fields) if dry_run else _done_text(fields, workdir))
    if features.was_interrupted:
        return INTERRUPTED
    return QUARANTINED if fields["n_quarantined"] and not dry_run else 0


FORMATS = ("hdf5", "parquet", "csv", "arff", "npz", "kaldi", "hf", "audformat")
"""The keys of `stages.sharing.table.FORMATS`, which a test compares: help must come at once."""


@click.command()
@options.manifest
@click.option("--to", "to", required=True, type=click.Choice(FORMATS), help="The format.")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="The folder to write; it must not be there yet.",
)
@click.option(
    "--pool", is_flag=True, help="One row an utterance: mean and deviation over its segments."
)
@click.option(
    "--anonymise",
    is_flag=True,
    help="Salted digests in place of the names of speakers, utterances, files and sessions. The "
    "salt stays in the workdir.",
)
@click.option(
    "--i-have-the-right",
    "has_right",
    is_flag=True,
    help="Hand on what a corpus' licence forbids; the data card records it.",
)
@options.recipe
@options.snapshot
@options.common
def export(
    session: Session,
    workdir: Workdir,
    manifest: Path,
    to: str,
    output: Path,
    pool: bool,
    anonymise: bool,
    has_right: bool,
    recipe_name: str,
    snapshot: int | None,
) -> None:
    """Write the features and labels of a MANIFEST into a folder, for others.

    With them go a data card, the recipe, split files and checksums (docs/sharing.md).

    \b
    Example: emostack export emodb.csv --to parquet -o emodb-features
    """
    from pipeline import __version__
    from pipeline.stores import open_store
    from stages.dataset import select
    from stages.export import ExportOptions
    from stages.export import export as write
    from stages.manifest import read_manifest
    from stages.sharing.anonymity import read_salt

    rows = read_manifest(manifest, allow_absolute=True)
    store, recipe = open_store(workdir, recipe_name, snapshot)
    selection = select(rows, store)
    if selection.left_out:
        session.warn(f"{len(selection.left_out)} quarantined utterances are left out")
    salt = read_salt(workdir.salt_file) if anonymise else None
    asked = ExportOptions(to=to, pool=pool, salt=salt, has_right=has_right, version=__version__)
    done = write(selection, store, recipe, output, asked)
    for remark in done.remarks:
        session.warn(remark)
    session.result(
        {
            "files": [str(file) for file in done.files],
            "n_utterances": done.n_utterances,
            "n_segments": int(selection.places.n_rows.sum()),
            "feature_dim": done.feature_dim,
            "sha256": list(done.sha256),
        },
        f"{output}: {done.n_utterances} utterances, {done.n_rows} rows of "
        f"{done.feature_dim} features",
    )


@click.command("import")
@click.argument("file", type=click.Path(exists=True, path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The manifest. Default: a CSV file named after the export, in the workdir's imports.",
)
@options.common
def import_(session: Session, workdir: Workdir, file: Path, output: Path | None) -> None:
    """Make a store of an exported hdf5 FILE (or its folder), and a manifest to train with.

    \b
    Example: emostack import emodb-features && emostack train runs/imports/emodb-features.csv
    """
    from pipeline.importing import import_export

    fields = import_export(workdir, file, output)
    for conflict in fields["conflicts"]:
        session.warn(f"{conflict['utterance_id']!r}: {conflict['code']}: {conflict['message']}")
    session.result(
        fields,
        f"{fields['store']}: {fields['n_added']} of {fields['n_utterances']} utterances came in, "
        f"{len(fields['conflicts'])} conflicts; snapshot {fields['snapshot']}\n"
        f"to train with: {fields['manifest']}",
    )


def _dry_text(fields: dict[str, Any]) -> str:
    return (
        f"{fields['n_to_extract']} utterances{_as_views(fields)} would be extracted, "
        f"{fields['n_skipped']} are there already, {fields['n_quarantined']} would be newly quarantined"
    )


def _as_views(fields: dict[str, Any]) -> str:
    n = sum(each["n_to_extract"] for each in fields["views"].values())
    return f" ({n} of them as views)" if n else ""


def _done_text(fields: dict[str, Any], workdir: Workdir) -> str:
    return (
        f"snapshot {fields['snapshot']} of {workdir.store_folder(fields['recipe_id'])}: "
        f"{fields['n_to_extract']} utterances worked on{_as_views(fields)}, {fields['n_segments']} segments in "
        f"{fields['seconds']:.1f} s ({fields['segments_per_second']:.0f} a second), "
        f"{fields['n_skipped']} were there, {fields['n_quarantined']} newly quarantined "
        f"({fields['n_quarantined_total']} in all)"
        + (f", {fields['n_left']} left for the next run" if fields["n_left"] else "")
    )

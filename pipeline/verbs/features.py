"""Verbs about features: extract, export."""

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
    """
    from pipeline.extraction import ExtractOptions, Job, extract_features, plan_features
    from pipeline.stopping import OutOfTimeError, deadline
    from stages.manifest import read_manifest
    from stages.recipe import load_recipe, resolve

    limit = deadline(until, max_hours)
    rows = read_manifest(manifest, audio=audio, allow_absolute=allow_absolute)
    recipe = resolve(load_recipe(recipe_name), download=not dry_run)
    job = Job(manifest=rows, root=audio or manifest.parent, recipe=recipe)
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


@click.command()
@options.manifest
@click.option("--to", "to", required=True, type=click.Choice(["hdf5", "parquet"]))
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write.",
)
@options.recipe
@options.generation
@options.common
def export(
    session: Session,
    workdir: Workdir,
    manifest: Path,
    to: str,
    output: Path,
    recipe_name: str,
    generation: int | None,
) -> None:
    """Write the features and labels of a MANIFEST to one file, for others.

    \b
    Example: emostack export emodb.csv --to parquet -o emodb.parquet
    """
    from pipeline.stores import open_store
    from stages.dataset import select
    from stages.export import export as write
    from stages.manifest import read_manifest

    rows = read_manifest(manifest, allow_absolute=True)
    store, recipe = open_store(workdir, recipe_name, generation)
    selection = select(rows, store)
    if selection.left_out:
        session.warn(f"{len(selection.left_out)} quarantined utterances are left out")
    done = write(selection, store, recipe, to=to, output=output)
    session.result(
        {
            "files": [str(file) for file in done.files],
            "n_utterances": done.n_utterances,
            "n_segments": done.n_segments,
            "feature_dim": done.feature_dim,
            "sha256": list(done.sha256),
        },
        f"{output}: {done.n_utterances} utterances, {done.n_segments} segments of "
        f"{done.feature_dim} features",
    )


def _dry_text(fields: dict[str, Any]) -> str:
    return (
        f"{fields['n_to_extract']} utterances would be extracted, {fields['n_skipped']} are there "
        f"already, {fields['n_quarantined']} would be newly quarantined"
    )


def _done_text(fields: dict[str, Any], workdir: Workdir) -> str:
    return (
        f"generation {fields['generation']} of {workdir.store_folder(fields['recipe_id'])}: "
        f"{fields['n_to_extract']} utterances worked on, {fields['n_segments']} segments in "
        f"{fields['seconds']:.1f} s ({fields['segments_per_second']:.0f} a second), "
        f"{fields['n_skipped']} were there, {fields['n_quarantined']} newly quarantined "
        f"({fields['n_quarantined_total']} in all)"
        + (f", {fields['n_left']} left for the next run" if fields["n_left"] else "")
    )

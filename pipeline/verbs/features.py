"""Verbs about features: extract, export, store."""

from pathlib import Path
from typing import Any

import click

from pipeline import options
from pipeline.session import Session
from pipeline.workdir import Workdir

QUARANTINED = 3


@click.command()
@options.manifest
@options.audio
@options.allow_absolute
@options.recipe
@options.workers
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--retry-quarantined", is_flag=True, help="Try again what failed before.")
@options.common
def extract(
    session: Session,
    workdir: Workdir,
    manifest: Path,
    audio: Path | None,
    allow_absolute: bool,
    recipe_name: str,
    dry_run: bool,
    **how: Any,  # noqa: ANN401 - the fields of ExtractOptions
) -> int:
    """Stage one: segment features of every utterance of a MANIFEST, into the recipe's store.

    What is there already is skipped. A file that cannot be used is quarantined and told; the others
    are done all the same (exit status 3).

    \b
    Example: emostack extract emodb.csv --audio /data/emodb
    """
    from pipeline.extraction import ExtractOptions, extract_features, plan_features
    from stages.manifest import read_manifest
    from stages.recipe import load_recipe, resolve

    rows = read_manifest(manifest, audio=audio, allow_absolute=allow_absolute)
    recipe = resolve(load_recipe(recipe_name), download=not dry_run)
    job = plan_features if dry_run else extract_features
    fields = job(session, workdir, rows, audio or manifest.parent, recipe, ExtractOptions(**how))
    session.result(fields, _dry_text(fields) if dry_run else _done_text(fields, workdir))
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
@options.common
def export(
    session: Session,
    workdir: Workdir,
    manifest: Path,
    to: str,
    output: Path,
    recipe_name: str,
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
    store, recipe = open_store(workdir, recipe_name)
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


@click.group()
def store() -> None:
    """Look after the stores below the workdir."""


@store.command("ls")
@click.option("--quarantined", is_flag=True, help="List the quarantined utterances, too.")
@options.common
def list_stores(session: Session, workdir: Workdir, quarantined: bool) -> None:
    """List the stores: recipe, generation, utterances, segments, size.

    \b
    Example: emostack store ls
    """
    from pipeline.stores import describe, store_folders

    found = [describe(folder) for folder in store_folders(workdir)]
    lines = [line for each in found for line in _store_lines(each, quarantined=quarantined)]
    session.result({"stores": found}, "\n".join(lines) or f"no store below {workdir.features}")


@store.command()
@click.option("--full", is_flag=True, help="Read every row and compare checksums, too.")
@options.common
def verify(session: Session, workdir: Workdir, full: bool) -> int:
    """Tell whether every store below the workdir is whole.

    \b
    Example: emostack store verify --full
    """
    from features_cache.verify import verify as verify_store
    from pipeline.stores import store_folders

    problems = [
        {
            "store": str(folder),
            "code": problem.code,
            "shard": problem.shard,
            "utterance_id": problem.utterance_id,
            "message": problem.message,
        }
        for folder in store_folders(workdir)
        for problem in verify_store(folder, full=full)
    ]
    lines = [
        f"{p['store']} {p['shard']} {p['utterance_id']} {p['code']}: {p['message']}"
        for p in problems
    ]
    session.result({"problems": problems}, "\n".join(lines) or "everything is whole")
    return 1 if problems else 0


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
    )


def _store_lines(store: dict[str, Any], *, quarantined: bool) -> list[str]:
    if store["problem"]:
        return [f"{store['recipe_id']}  {store['problem']}"]
    line = (
        f"{store['recipe_id']}  {store['recipe']:<24} generation {store['generation']}  "
        f"{store['n_utterances']} utterances  {store['n_segments']} segments  "
        f"{store['n_quarantined']} quarantined  {store['bytes'] / 2**20:.1f} MiB  {store['folder']}"
    )
    bad = store["quarantined"] if quarantined else []
    return [line, *(f"  {b['utterance_id']!r}: {b['reason']}: {b['message']}" for b in bad)]

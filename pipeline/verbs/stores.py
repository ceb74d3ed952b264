"""The verb store: looking after the stores below the workdir."""

from pathlib import Path
from typing import Any

import click

from pipeline import options
from pipeline.session import Session
from pipeline.workdir import Workdir


@click.group()
def store() -> None:
    """Look after the stores below the workdir."""


@store.command("ls")
@click.option("--quarantined", is_flag=True, help="List the quarantined utterances, too.")
@options.common
def list_stores(session: Session, workdir: Workdir, quarantined: bool) -> None:
    """List the stores: recipe, snapshot, utterances, segments, size.

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
            "utterance_ids": list(problem.utterance_ids),
            "message": problem.message,
        }
        for folder in store_folders(workdir)
        for problem in verify_store(folder, full=full)
    ]
    lines = [f"{p['store']} {p['shard']} {p['code']}: {p['message']}" for p in problems]
    session.result({"problems": problems}, "\n".join(lines) or "everything is whole")
    return 1 if problems else 0


@store.command()
@options.workers
@options.common
def repair(
    session: Session,
    workdir: Workdir,
    n_workers: int | None,
    scheduler: str | None,
    batch_size: int,
) -> int:
    """Verify every store fully, and extract again what is damaged, and only that.

    What is healthy in a damaged shard is kept; the damaged files go to the store's folder damaged.

    \b
    Example: emostack store repair
    """
    from pipeline.care import repair_store
    from pipeline.extraction import ExtractOptions
    from pipeline.stores import store_folders

    how = ExtractOptions(n_workers=n_workers, scheduler=scheduler, batch_size=batch_size)
    done = [repair_store(session, workdir, each, how) for each in store_folders(workdir)]
    lines = [
        f"{each['store']}: {each['n_problems']} problems, {each['n_lost']} utterances lost, "
        f"{each['n_extracted']} extracted again, {len(each['left'])} could not be"
        for each in done
    ]
    session.result({"stores": done}, "\n".join(lines) or f"no store below {workdir.features}")
    return 1 if any(each["left"] for each in done) else 0


@store.command()
@click.argument("utterance_id", metavar="UTTERANCE")
@options.common
def explain(session: Session, workdir: Workdir, utterance_id: str) -> int:
    """Tell why an UTTERANCE was or was not extracted, and from what.

    \b
    Example: emostack store explain 03a01Fa
    """
    from pipeline.explaining import explain as explain_in
    from pipeline.explaining import explanation
    from pipeline.stores import store_folders

    found = [
        facts
        for each in store_folders(workdir)
        for facts in explain_in(workdir, each, utterance_id)
    ]
    text = "\n\n".join(map(explanation, found))
    absent = (
        f"no store below {workdir.features} knows {utterance_id!r}: no manifest that was extracted "
        "named it"
    )
    session.result({"utterances": found}, text or absent)
    return 0 if found else 1


@store.command()
@click.option("--yes", "is_sure", is_flag=True, help="Free it; without this, only say what.")
@click.option(
    "--keep",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Newest snapshots to keep.",
)
@click.option(
    "--keep-trainings/--no-keep-trainings",
    default=True,
    show_default=True,
    help="Keep the snapshots that trainings below the workdir were made from, too.",
)
@options.common
def gc(session: Session, workdir: Workdir, is_sure: bool, keep: int, keep_trainings: bool) -> None:
    """Say what is kept for nobody any more, and free it with --yes.

    That is: features that no snapshot which is kept wants, of utterances that have left the manifest
    or have other bytes; shards that compacting has replaced; and old snapshots.

    \b
    Example: emostack store gc --yes
    """
    from pipeline.care import free_space
    from pipeline.stores import store_folders

    done = [
        free_space(workdir, each, keep=keep, keep_trainings=keep_trainings, is_sure=is_sure)
        for each in store_folders(workdir)
    ]
    lines = [line for each in done for line in _waste_lines(each, is_sure=is_sure)]
    freed = sum(each["freed_bytes"] for each in done)
    text = "\n".join(lines) or f"no store below {workdir.features}"
    session.result({"freed_bytes": freed, "stores": done}, text)


@store.command()
@options.common
def compact(session: Session, workdir: Workdir) -> None:
    """Copy many small shards into few; no reader is disturbed.

    \b
    Example: emostack store compact
    """
    from pipeline.care import compact_store
    from pipeline.stores import store_folders

    done = [compact_store(folder) for folder in store_folders(workdir)]
    lines = [f"{d['store']}: {d['n_before']} shards before, {d['n_after']} now" for d in done]
    session.result({"stores": done}, "\n".join(lines) or f"no store below {workdir.features}")


@store.command()
@click.argument("manifest", required=False, type=click.Path(dir_okay=False, path_type=Path))
@options.audio
@options.allow_absolute
@options.common
def rebuild(
    session: Session,
    workdir: Workdir,
    manifest: Path | None,
    audio: Path | None,
    allow_absolute: bool,
) -> None:
    """Make a lost catalogue anew from the shards, and lost snapshots; labels from a MANIFEST.

    \b
    Example: emostack store rebuild emodb.csv --audio /data/emodb
    """
    from pipeline.care import rebuild_store
    from stages.manifest import read_manifest

    labels = None
    if manifest is not None:
        labels = read_manifest(manifest, audio=audio, allow_absolute=allow_absolute)
    folders = sorted(path.parent for path in workdir.features.glob("*/shards"))
    done = [rebuild_store(folder, labels) for folder in folders]
    for problem in (problem for each in done for problem in each["problems"]):
        session.warn(problem)
    lines = [
        f"{d['store']}: snapshot {d['snapshot']} of {d['n_utterances']} utterances, "
        f"{d['n_labelled']} of them known by a manifest"
        for d in done
    ]
    session.result({"stores": done}, "\n".join(lines) or f"no shards below {workdir.features}")


@store.command()
@click.argument(
    "sources",
    metavar="WORKDIR...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
)
@options.common
def merge(session: Session, workdir: Workdir, sources: tuple[Path, ...]) -> None:
    """Take over what stores of other machines hold: their workdirs, or the stores' own folders.

    \b
    Example: emostack store merge part-1 part-2 --workdir runs
    """
    from pipeline.care import merge_stores

    done = merge_stores(workdir, sources)
    for conflict in (conflict for each in done for conflict in each["conflicts"]):
        session.warn(f"{conflict['utterance_id']!r}: {conflict['code']}: {conflict['message']}")
    lines = [
        f"{d['store']}: {d['n_added']} utterances and {d['n_shards']} shards came in, "
        f"{len(d['conflicts'])} conflicts; snapshot {d['snapshot']}"
        for d in done
    ]
    session.result({"stores": done}, "\n".join(lines))


@store.command()
@click.argument("utterance_ids", metavar="UTTERANCE...", nargs=-1)
@click.option(
    "--file",
    "listed",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file of ids, one per line, too.",
)
@click.option("--corpus", help="Only utterances of this corpus.")
@click.option("--dry-run", is_flag=True, help="Only say what would be forgotten.")
@options.common
def forget(
    session: Session,
    workdir: Workdir,
    utterance_ids: tuple[str, ...],
    listed: Path | None,
    corpus: str | None,
    dry_run: bool,
) -> int:
    """Forget UTTERANCEs whose consent was withdrawn: their features, and their rows in every snapshot.

    A recording goes under every name that it has. Take it out of the corpus as well, or the next
    extraction makes its features again. Exports and bundles that left are beyond reach.

    \b
    Example: emostack store forget 03a01Fa --corpus emodb
    """
    from pipeline.forgetting import forget_utterances

    try:
        lines = listed.read_text(encoding="utf-8-sig").splitlines() if listed else []
    except UnicodeDecodeError as error:
        message = f"{listed} is not UTF-8 ({error}); expected a text of ids, one per line"
        raise click.BadParameter(message) from error
    ids = list(dict.fromkeys([*utterance_ids, *(line.strip() for line in lines if line.strip())]))
    if not ids:
        message = "no utterance is named; expected ids, or a file of them with --file"
        raise click.UsageError(message)
    done = forget_utterances(workdir, ids, corpus, is_dry=dry_run)
    for name in done["unknown"]:
        session.warn(f"no store below {workdir.features} knows {name!r}")
    session.result(done, "\n".join(_forgotten_lines(done, is_dry=dry_run)))
    return 1 if done["unknown"] else 0


def _forgotten_lines(done: dict[str, Any], *, is_dry: bool) -> list[str]:
    verb = "would be forgotten" if is_dry else "forgotten"
    lines = [
        f"{each['store']}: {each['n_utterances']} utterances {verb}: {each['n_features']} features in "
        f"{each['n_shards']} shards, rows in {len(each['snapshots'])} snapshots, "
        f"{each['n_damaged']} damaged files"
        for each in done["stores"]
    ]
    if done["also"]:
        names = ", ".join(
            f"{each['utterance_id']!r} of {each['corpus']!r}" for each in done["also"]
        )
        lines.append(f"among them, since they are the same audio: {names}")
    lines += [
        f"beyond reach: {run['run']} has learnt from {run['n_utterances']} of them"
        + (f", and so has its bundle {run['bundle']}" if run["bundle"] else "")
        for run in done["runs"]
    ]
    lines += [f"beyond reach: the manifest {path} names some of them" for path in done["imports"]]
    lines += [
        f"beyond reach: an import that was killed left {path}; remove it"
        for path in done["scratch"]
    ]
    if done["stores"]:
        lines.append(
            "beyond reach: exports, copies of bundles, pages of nights and runs that name them, and stores "
            "that are merged into these; take them out of the corpus, or the next extraction makes their features again"
        )
    if done["n_damaged"]:
        lines.append(
            f"{done['n_damaged']} damaged files of other stores cannot be looked into; 'emostack store gc "
            "--yes' removes them"
        )
    return lines or ["nothing to forget"]


def _waste_lines(waste: dict[str, Any], *, is_sure: bool) -> list[str]:
    verb = "freed" if is_sure else "could be freed"
    n_bytes = waste["freed_bytes"] if is_sure else waste["bytes"]
    lines = [
        (
            f"{waste['store']}: {n_bytes / 2**20:.1f} MiB {verb}: features of "
            f"{waste['n_utterances']} utterances, {waste['n_shards']} shards, "
            f"{len(waste['snapshots'])} snapshots, {waste['n_damaged']} damaged files"
        )
    ]
    if waste["utterance_ids"] and not is_sure:
        names = ", ".join(map(repr, waste["utterance_ids"][:10]))
        lines.append(f"  of {names}{', ...' if waste['n_utterances'] > 10 else ''}")
    if waste["n_held"]:
        holders = ", ".join(map(str, waste["kept_snapshots"][:-1]))
        lines.append(
            f"  features of {waste['n_held']} more are wanted by older snapshots that are kept: {holders}"
        )
    if waste["n_untold"]:
        lines.append(
            f"  features of {waste['n_untold']} more stay until the next extraction: a run was cut short "
            "before it could say what it wanted"
        )
    has_any = any(waste[name] for name in ("snapshots", "n_shards", "n_damaged"))
    if has_any and not is_sure:
        lines.append("  run it with --yes to free it")
    return lines


def _store_lines(store: dict[str, Any], *, quarantined: bool) -> list[str]:
    if store["problem"]:
        return [f"{store['recipe_id']}  {store['problem']}"]
    line = (
        f"{store['recipe_id']}  {store['recipe']:<24} snapshot {store['snapshot']}  "
        f"{store['n_utterances']} utterances  {store['n_segments']} segments  "
        f"{store['n_quarantined']} quarantined  {store['bytes'] / 2**20:.1f} MiB  {store['folder']}"
    )
    views = [f"{name} {n}" for name, n in store["views"].items() if name != "clean"]
    bad = store["quarantined"] if quarantined else []
    seen = [f"  views: {', '.join(views)}"] if views else []
    return [line, *seen, *(f"  {b['utterance_id']!r}: {b['reason']}: {b['message']}" for b in bad)]

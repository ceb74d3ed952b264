"""Verbs that do the whole job: demo, reproduce."""

from pathlib import Path

import click

from pipeline import options
from pipeline.session import Session
from pipeline.workdir import Workdir


@click.command()
@options.workers
@options.common
def demo(
    session: Session,
    workdir: Workdir,
    n_workers: int | None,
    scheduler: str | None,
    batch_size: int,
) -> None:
    """Do the whole job on a small corpus that is made on the spot.

    The voices are synthetic: this shows that everything works, and says nothing about emotion.
    Without ImageNet weights, and without a way to get them, seeded random ones stand in, and every
    number says so.

    \b
    Example: emostack demo
    """
    from pipeline.experiments import run_demo
    from pipeline.extraction import ExtractOptions
    from pipeline.training import summary

    how = ExtractOptions(n_workers=n_workers, scheduler=scheduler, batch_size=batch_size)
    fields = run_demo(session, workdir, how)
    session.result(fields, summary(fields) + f"\nworkdir {workdir.root}")


@click.command()
@click.argument("corpus", type=click.Choice(["emodb"]))
@click.option(
    "--audio",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The corpus' folder.",
)
@options.recipe
@options.seeds
@options.workers
@options.common
def reproduce(
    session: Session,
    workdir: Workdir,
    corpus: str,
    audio: Path,
    recipe_name: str,
    seeds: int,
    n_workers: int | None,
    scheduler: str | None,
    batch_size: int,
) -> int:
    """Run the paper's experiment on a CORPUS: leave one speaker out, both normalisations.

    \b
    Example: emostack reproduce emodb --audio /data/emodb/wav
    """
    from pipeline.experiments import run_reproduction
    from pipeline.extraction import ExtractOptions
    from pipeline.training import summary
    from stages.recipe import load_recipe

    how = ExtractOptions(n_workers=n_workers, scheduler=scheduler, batch_size=batch_size)
    fields = run_reproduction(session, workdir, corpus, audio, load_recipe(recipe_name), seeds, how)
    session.result(fields, summary(fields))
    return 3 if fields["extract"]["n_quarantined"] else 0

"""Verbs that do the whole job: demo, reproduce, nightly."""

from pathlib import Path
from typing import Any

import click

from pipeline import options
from pipeline.config import use_config
from pipeline.errors import QUARANTINED
from pipeline.reproductions import REPRODUCTIONS
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
@click.argument("corpus", type=click.Choice(list(REPRODUCTIONS)))
@click.option(
    "--audio",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The corpus' folder.",
)
@options.recipe
@options.seeds
@options.baselines
@options.workers
@options.common
def reproduce(
    session: Session,
    workdir: Workdir,
    corpus: str,
    audio: Path,
    recipe_name: str,
    seeds: int,
    with_baselines: bool,
    n_workers: int | None,
    scheduler: str | None,
    batch_size: int,
) -> int:
    """Run the paper's experiment on a CORPUS, with both normalisations.

    emodb: leave one speaker out; iemocap: four classes, leave one session out. Whoever runs it has
    the corpus, and the right to use it.

    \b
    Example: emostack reproduce emodb --audio /data/emodb/wav
    """
    from pipeline.experiments import run_reproduction
    from pipeline.extraction import ExtractOptions
    from pipeline.training import summary
    from stages.recipe import load_recipe

    how = ExtractOptions(n_workers=n_workers, scheduler=scheduler, batch_size=batch_size)
    fields = run_reproduction(
        session,
        workdir,
        corpus,
        audio,
        load_recipe(recipe_name),
        seeds,
        how,
        with_baselines=with_baselines,
    )
    session.result(fields, f"{summary(fields)}\nthe paper reports UAR {fields['paper_uar']:.2f}")
    return QUARANTINED if fields["extract"]["n_quarantined"] else 0


@click.command()
@click.argument(
    "night_file",
    metavar="CONFIG.toml",
    type=click.Path(dir_okay=False, path_type=Path),
    is_eager=True,
    expose_value=False,
    callback=use_config,
)
@click.option("--reader", default="", help="The corpus' reader, by name; see 'emostack corpora'.")
@click.option("--corpus", type=click.Path(path_type=Path), help="The folder that it reads.")
@click.option(
    "--manifest",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Instead of a reader and its folder: a manifest that something else keeps up to date.",
)
@click.option(
    "--audio",
    type=click.Path(path_type=Path),  # a disk that is not mounted is for the page to tell
    help="Folder that the manifest's files are relative to. Default: the corpus' or manifest's.",
)
@options.allow_absolute
@click.option(
    "--map",
    "label_map",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="TOML file: a table [labels] of old = 'new', and a list leave_out; see docs/corpora.md.",
)
@options.recipe
@options.workers
@options.engine
@options.views
@options.limits
@click.option(
    "--check/--no-check", default=True, help="Look through new and changed recordings first."
)
@click.option(
    "--train/--no-train", "trains", default=True, help="Train again where something changed."
)
@options.training
@options.seeds
@click.option("--title", default="", help="Heading of the page. Default: the corpus' name.")
@click.option(
    "--prometheus",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where the textfile for Prometheus goes. Default: nights/emostack.prom in the workdir.",
)
@options.common
def nightly(session: Session, workdir: Workdir, **given: Any) -> int:  # noqa: ANN401 - see options
    """Do all of a night's work as CONFIG, a TOML file, says; the one line for cron.

    Manifest, check and extraction of what is new or changed, training where something changed, and
    a page that says what happened: nights/NIGHT/night.html, .md and .json below the workdir.

    \b
    Example: emostack nightly /etc/emostack.toml

    \b
      workdir = "/data/emostack"
      [nightly]
      reader = "emodb"
      corpus = "/data/emodb"
      until = "06:00"
      seeds = 3
    """
    from pipeline.night import run_night
    from pipeline.night_options import night_options

    return run_night(session, workdir, night_options(workdir, **given))

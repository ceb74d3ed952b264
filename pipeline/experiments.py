"""Whole jobs: the demo, and the paper's experiments."""

from pathlib import Path
from typing import Any

from features_cache.store import Store
from models.blstm_attention_dnn import ClassifierSettings
from models.weights import WeightsError
from pipeline.extraction import ExtractOptions, Job, extract_features
from pipeline.reproductions import REPRODUCTIONS, VIEWS
from pipeline.session import Session
from pipeline.training import SYNTHETIC_VOICES, run_training
from pipeline.workdir import Workdir
from stages.corpora.synthetic import write_corpus
from stages.corpora.table import reader
from stages.recipe import DEFAULT, RECIPES, Recipe, resolve, with_random_weights
from stages.train_options import TrainOptions


def run_demo(session: Session, workdir: Workdir, how: ExtractOptions) -> dict[str, Any]:
    """Make a corpus, extract, train, report; the one job that may run on random weights."""
    corpus = workdir.root / "corpora" / "synthetic"
    session.say(f"making synthetic voices in {corpus}")
    manifest = write_corpus(corpus)
    recipe = RECIPES[DEFAULT]
    try:
        recipe = resolve(recipe)
    except WeightsError as error:
        session.warn(f"{error}; going on with seeded random weights, which only the demo may")
        recipe = resolve(with_random_weights(recipe))
    extracted = _extracted(
        session, workdir, Job(manifest=manifest, root=corpus, recipe=recipe), how
    )
    store = Store(workdir.store_folder(recipe.recipe_id))
    fields = run_training(
        session,
        workdir,
        manifest,
        corpus,
        store,
        recipe,
        # A small corpus needs a small network, and a newcomer's patience has limits.
        TrainOptions(n_components=64, classifier=ClassifierSettings(lstm_units=64)),
        title="Demo on synthetic voices",
        warning=SYNTHETIC_VOICES,
        provenance={"corpus": "synthetic voices, made by the demo; not real speech"},
    )
    return {
        **fields,
        "workdir": str(workdir.root),
        "uar": fields["uar_pooled"],
        "weights": recipe.network.weights,
        "extract": extracted,
    }


def run_reproduction(
    session: Session,
    workdir: Workdir,
    corpus: str,
    audio: Path,
    recipe: Recipe,
    n_seeds: int,
    how: ExtractOptions,
    *,
    with_baselines: bool = False,
) -> dict[str, Any]:
    """Run the paper's experiment on a corpus, with both normalisations.

    Parameters
    ----------
    session, workdir : as everywhere
    corpus : name of a reader, one of `REPRODUCTIONS`
    audio : the corpus' folder
    recipe : need not be resolved yet
    n_seeds : trainings a fold
    how : how to run the extraction
    with_baselines : evaluate openSMILE's features and other baselines on the same folds

    Returns
    -------
    dict
        The contract's fields of ``emostack reproduce --json``, and ``extract`` with those of
        ``emostack extract --json``; ``paper_uar`` is what the paper reports.
    """
    experiment = REPRODUCTIONS[corpus]
    manifest, problems = reader(corpus).read(audio)
    for problem in problems:
        session.warn(problem)
    recipe = resolve(recipe)
    job = Job(manifest=manifest, root=audio, recipe=recipe, views=VIEWS)
    extracted = _extracted(session, workdir, job, how)
    fields = run_training(
        session,
        workdir,
        manifest,
        audio,
        Store(workdir.store_folder(recipe.recipe_id)),
        recipe,
        TrainOptions(folds=experiment.folds, seeds=tuple(range(n_seeds)), views=VIEWS),
        title=experiment.title,
        provenance={
            "corpus": reader(corpus).citation,
            "licence": reader(corpus).licence,
            "paper_uar": experiment.paper_uar,
        },
        with_baselines=with_baselines,
        n_workers=how.n_workers,
    )
    return {**fields, "paper_uar": experiment.paper_uar, "extract": extracted}


def _extracted(session: Session, workdir: Workdir, job: Job, how: ExtractOptions) -> dict[str, Any]:
    """Extract, and go no further where a signal said so."""
    features = extract_features(session, workdir, job, how)
    if features.was_interrupted:
        raise KeyboardInterrupt
    return features.fields

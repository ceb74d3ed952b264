"""Training on one corpus and testing on another.

Conventions
-----------
The two become one data set, the training corpus' rows first, and a task with a single fold: all rows
of the first train, all of the second are tested. The classes are those of the training corpus. One
that the test corpus lacks stays a possible answer, and a wrong one; one that only the test corpus has
could never be answered, and is refused.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from models.stacks import chained
from stages.corpora.labels import settle_labels
from stages.corpora.spellings import canonical_name
from stages.folds import Audio, Fold, check_filled, check_fold, speaker_names
from stages.manifest import COLUMNS
from stages.train_options import TrainError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from stages.corpora.labels import LabelMap
    from stages.dataset import Dataset

FOLDED_BY = "test manifest"
"""What a run is folded by whose test part is another corpus."""

MAX_NAMED = 10
"""How many emotions an error message names."""

_REMEDY = (
    "take them out of one of the two manifests; different people need different names, or manifests "
    "with different names in the column corpus"
)


def settle_test_labels(
    manifest: pd.DataFrame, label_map: LabelMap, known: Collection[str]
) -> tuple[pd.DataFrame, list[str]]:
    """Name the emotions of a test corpus as the training corpus does.

    Parameters
    ----------
    manifest : of the test corpus
    label_map : comes first; what it does not mention keeps its name where the training corpus has
        it too, and gets its canonical name else
    known : emotions of the training corpus

    Returns
    -------
    (DataFrame, list of str)
        See `stages.corpora.labels.settle_labels`.

    Raises
    ------
    stages.corpora.labels.LabelError
        The map mentions labels that no row has, or leaves no row.

    Examples
    --------
    >>> from stages.corpora.labels import LabelMap
    >>> rows = pd.DataFrame({"emotion": ["joy", "calm", "awe"]})
    >>> kept, _ = settle_test_labels(rows, LabelMap(leave_out=("awe",)), ["joy", "calm"])
    >>> kept["emotion"].tolist()
    ['joy', 'calm']
    """
    mentioned = {*label_map.labels, *label_map.leave_out}
    stay = {
        emotion: emotion
        for emotion in set(manifest["emotion"]) - mentioned
        if emotion in known or canonical_name(emotion) is None
    }
    return settle_labels(manifest, replace(label_map, labels={**stay, **label_map.labels}))


def joined(dataset: Dataset, test: Dataset) -> Dataset:
    """Put a test corpus behind the corpus to train on, which alone has views.

    Columns that not every manifest has are left behind.

    Raises
    ------
    TrainError
        The test corpus is empty, or its features are of another recipe or snapshot.
    """
    if not len(test.stacks):
        raise TrainError(
            "no utterance of the test manifest has features; expected some; look for what is "
            "quarantined with 'emostack store ls', or leave out less"
        )
    ours, theirs = ((own.recipe_id, own.snapshot) for own in (dataset, test))
    if ours != theirs:
        raise TrainError(
            f"the test features are of recipe {theirs[0]}, snapshot {theirs[1]}; expected "
            f"{ours[0]}, snapshot {ours[1]}, as those to train on; read both from one store"
        )
    manifests = [own.manifest[list(COLUMNS)] for own in (dataset, test)]
    return replace(
        dataset,
        manifest=pd.concat(manifests, ignore_index=True),
        stacks=chained([dataset.stacks, test.stacks]),
        segment_start=dataset.segment_start + test.segment_start,
        segment_end=dataset.segment_end + test.segment_end,
        keys=dataset.keys + test.keys,
        audio_sha256=dataset.audio_sha256 + test.audio_sha256,
    )


def cross_fold(manifest: pd.DataFrame, audio: Audio, n_test: int) -> Fold:
    """Make the fold whose test part is the last `n_test` rows, called after their corpus.

    Raises
    ------
    FoldError
        A row has no speaker, or a speaker or audio stands on both sides.
    """
    check_filled(manifest, "speaker")
    train, test = np.split(np.arange(len(manifest)), [len(manifest) - n_test])
    fold = Fold(name=corpus_names(manifest.iloc[test]) or "test", train=train, test=test)
    check_fold(fold, speaker_names(manifest), audio, remedy=_REMEDY)
    return fold


def check_test_labels(emotions: Sequence[str], labels: Sequence[str]) -> None:
    """Refuse emotions of a test corpus that the training corpus lacks.

    Raises
    ------
    TrainError
        Tells them with their counts.
    """
    strange = Counter(emotion for emotion in emotions if emotion not in labels)
    if strange:
        more = ", ..." if len(strange) > MAX_NAMED else ""
        counts = ", ".join(f"{name!r} {n}" for name, n in sorted(strange.items())[:MAX_NAMED])
        raise TrainError(
            f"{strange.total()} of {len(emotions)} test utterances have emotions that the training "
            f"corpus lacks: {counts}{more}; expected {', '.join(labels)}; name them so, or leave "
            f"them out, with --map"
        )


def corpus_names(manifest: pd.DataFrame) -> str:
    """Name the corpora of some rows; empty where they have no names."""
    return ", ".join(sorted({str(corpus) for corpus in manifest["corpus"]} - {""}))

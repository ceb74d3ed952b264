"""The paper's experiments: what differs between them, one line a corpus."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """One experiment of the paper.

    Attributes
    ----------
    folds : column of the manifest that folds are made by
    title : heading of the report
    paper_uar : what the paper reports, percent
    """

    folds: str
    title: str
    paper_uar: float


REPRODUCTIONS = {
    "emodb": Reproduction(folds="speaker", title="emodb, leave one speaker out", paper_uar=87.86),
    "iemocap": Reproduction(
        folds="session", title="iemocap, 4 classes, leave one session out", paper_uar=68.50
    ),
}
"""Name of the corpus' reader -> its experiment."""

VIEWS = ("speed-0.9", "speed-1.1", "noise-20db")
"""Views that training utterances are also seen through: the paper's enhancement."""

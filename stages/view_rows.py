"""A plan's rows, view by view: each utterance as it is first, then through each view.

Asked for are the views that this extraction has to bring up to the manifest. Others that the store
has of an utterance stay, and stay true: they follow new names and labels, what the store has lost of
them is made again, and where the bytes have changed they go.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features_cache.generation import GONE, QUARANTINED
from features_cache.keys import CLEAN
from features_cache.lookup import joined, positions
from stages.frontend.views.table import known_view


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewRows:
    """The manifest's rows, once a view.

    Attributes
    ----------
    rows : index 0, 1, ...; the manifest's own order within a view, `clean` first
    at : int64, row of the manifest that each is of
    is_asked : marks rows of views that were asked for
    texts : canonical text of each view, by name; of names that this version does not know, none
    """

    rows: pd.DataFrame
    at: NDArray[np.int64]
    is_asked: NDArray[np.bool_]
    texts: dict[str, str]

    def taken(self, values: pd.DataFrame) -> pd.DataFrame:
        """Give every row what the manifest's row has of it."""
        return values if len(self.at) == len(values) else _take(values, self.at)


def view_rows(
    rows: pd.DataFrame, known: pd.DataFrame, is_mine: NDArray[np.bool_], asked: dict[str, str]
) -> ViewRows:
    """Multiply the manifest's rows by the views that are asked for, and by those that are there.

    Parameters
    ----------
    rows : the manifest's, each as `clean`, with ``audio_sha256``
    known : rows of the generation
    is_mine : marks those that the manifest speaks for
    asked : canonical text of each view that is asked for, by name; `clean` first
    """
    n = len(rows)
    there, others = _there(rows, known, is_mine, asked)
    texts = asked | {
        name: found.text for name in others.unique() if (found := known_view(name)) is not None
    }
    if len(asked) == 1 and not len(there):
        return ViewRows(rows=rows, at=np.arange(n), is_asked=np.ones(n, bool), texts=texts)
    at = np.concatenate([np.tile(np.arange(n), len(asked)), there])
    names = pd.Series(list(asked), dtype="str").take(np.repeat(np.arange(len(asked)), n))
    return ViewRows(
        rows=_take(rows, at).assign(view=pd.concat([names, others], ignore_index=True)),
        at=at,
        is_asked=np.arange(len(at)) < n * len(asked),
        texts=texts,
    )


def told_once(rows: pd.DataFrame, is_news: pd.Series | None = None) -> pd.DataFrame:
    """Leave of quarantined rows those that say something: each bad file once, not once a view.

    A view that fails is told of where the utterance itself does not: its other views may fail too.

    Parameters
    ----------
    rows : those that are not quarantined are left out
    is_news : marks the quarantined rows that may be told; default: all
    """
    bad = rows[rows["status"] == QUARANTINED]
    is_clean = (bad["view"] == CLEAN).to_numpy(bool)
    news = np.ones(len(bad), bool) if is_news is None else is_news.to_numpy(bool)
    if is_clean.all():
        return bad[news]
    names = joined(bad["corpus"], bad["utterance_id"])
    is_told = positions(names, names[is_clean]) >= 0
    first = news & ~is_clean & ~is_told
    first[first] = ~names[first].duplicated().to_numpy(bool)
    return bad[(is_clean & news) | first]


def _there(
    rows: pd.DataFrame, known: pd.DataFrame, is_mine: NDArray[np.bool_], asked: dict[str, str]
) -> tuple[NDArray[np.int64], pd.Series]:
    """Find the views that the store has of the manifest's utterances and nobody has asked for.

    An utterance is known by its name. One that has another name now is known by its content, and one
    that a store was rebuilt with by its bare name.
    """
    is_other = (~known["view"].isin(list(asked)) & (known["status"] != GONE)).to_numpy(bool)
    is_bare = ((known["file"] == "") & (known["corpus"] == "")).to_numpy(bool) & ~is_mine
    which = np.flatnonzero(is_other & (is_mine | is_bare))
    if not len(which):
        return np.zeros(0, np.int64), pd.Series([], dtype="str")
    others, bare = known.take(which), is_bare[which]
    at = positions(
        joined(others["corpus"], others["utterance_id"]),
        joined(rows["corpus"], rows["utterance_id"]),
    )
    at[bare] = positions(others.loc[bare, "utterance_id"], rows["utterance_id"])
    moved = np.flatnonzero((at < 0) & ~bare & (others["audio_sha256"] != "").to_numpy(bool))
    if len(moved):
        at[moved] = _by_content(others.iloc[moved], rows, known)
    found = pd.DataFrame({"at": at, "view": others["view"].array})
    found = found[found["at"] >= 0].drop_duplicates()
    return found["at"].to_numpy(np.int64), found["view"].reset_index(drop=True)


def _by_content(others: pd.DataFrame, rows: pd.DataFrame, known: pd.DataFrame) -> NDArray[np.int64]:
    """Find rows of other names and of the same bytes, among those whose names are new."""
    names = joined(known["corpus"], known["utterance_id"])
    is_new = positions(joined(rows["corpus"], rows["utterance_id"]), names) < 0
    new = np.flatnonzero(is_new)
    found = positions(_content(others), _content(rows.iloc[new]))
    return np.where(found >= 0, new[found], -1) if len(new) else found


def _content(rows: pd.DataFrame) -> pd.Series:
    return joined(rows["audio_sha256"], rows["start"].astype("str"), rows["end"].astype("str"))


def _take(values: pd.DataFrame, at: NDArray[np.int64]) -> pd.DataFrame:
    return values.take(at).reset_index(drop=True)

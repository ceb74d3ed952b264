"""A store whose catalogue or snapshots are lost, made again from its shards.

What exists is read from the shards. What is wanted is what the newest readable snapshot says; without
one, everything that exists, by the names that the shards have for it. Labels come from a manifest.
"""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from features_cache.atomic import atomic_write
from features_cache.catalogue import SCHEMA, UNTOLD, Catalogue
from features_cache.examiner import Examiner
from features_cache.format_1 import GENERATIONS
from features_cache.key_columns import hex_of
from features_cache.lookup import joined, positions
from features_cache.numbered import in_parts
from features_cache.repair import mark_damaged, set_aside
from features_cache.shard import ShardError
from features_cache.shard_reading import ShardContent
from features_cache.snapshot import LIVE, OWN_COLUMNS, as_table, newest_whole
from features_cache.store import Store, StoreError, read_recipe, rows_of_shard, write_recipe
from features_cache.verify import StoreProblem, torn_tables

MANIFEST = {
    "file": "",
    "start": 0.0,
    "end": float("nan"),
    "speaker": "",
    "session": "",
    "gender": "",
    "emotion": "",
    "corpus": "",
}
"""What a manifest says of an utterance, and what stands for not knowing it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What rebuilding did.

    Attributes
    ----------
    store : the store, holding its new catalogue and its newest snapshot
    problems : shards that were left out, and utterances whose features are damaged
    moved : torn tables, an unreadable recipe and unfinished files, where they are now
    """

    store: Store
    problems: tuple[StoreProblem, ...]
    moved: tuple[Path, ...]


def rebuild(folder: Path, labels: pd.DataFrame | None = None) -> Rebuilt:
    """Publish a catalogue of everything that is whole in a store's shards, and a snapshot if need be.

    Of a key that stands twice, the youngest shard counts; reasons that the catalogue on disk knows
    stay. Without a readable snapshot there is one row per key, of the name and the view that its shard
    has for it.

    Parameters
    ----------
    folder : the store's folder; the caller holds its lock
    labels : a manifest; rows of its names take over all its columns. A name that is in several of
        its corpora is taken only where the corpus is known; of several keys of one name the
        youngest's row takes them

    Raises
    ------
    StoreError
        There is no shard to learn from.
    """
    found = _Found(folder)
    aside = [] if _recipe(folder) else _restore_recipe(folder, found)
    store = Store.for_writing(folder, snapshot=0)
    found.leave_out_other_recipes(store.recipe_json)
    torn = [problem.table for problem in torn_tables(store, full=True)]
    store.snapshot = newest_whole(store.snapshots_folder, store.read_snapshot)
    recipe_id = store.recipe_id or found.recipe_id()
    reasons = store.catalogue.only(~store.catalogue.is_place)
    catalogue, names = found.catalogue(reasons)
    is_new = bool((store.catalogue.find(catalogue.keys) < 0).any())
    # Under numbers above those of torn tables.
    store.publish_catalogue(catalogue, recipe_id, for_snapshot=UNTOLD if is_new else None)
    if store.snapshot.number == 0 or labels is not None:
        before = store.snapshot.rows() if store.snapshot.number else _bare_rows(catalogue, names)
        rows = before if labels is None else _labelled(before, labels)
        if not store.snapshot.number or not rows.equals(before):
            store.publish_snapshot(in_parts(as_table(rows)), recipe_id)
    store.supersede_torn()
    mark_damaged(store)
    store.show(again=True)
    damaged = [path for path in torn if path is not None]
    damaged += store.stale_partials()
    aside += [set_aside(folder, path) for path in damaged if path.exists()]
    return Rebuilt(store=store, problems=tuple(found.problems), moved=tuple(aside))


class _Found:
    """What is in a store's shards, whole features only."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._contents: dict[str, ShardContent] = {}
        self.problems: list[StoreProblem] = []
        with Examiner() as examiner:
            for path in sorted((folder / "shards").glob("*.h5")):
                try:
                    self._add(path.name, examiner.examine(path, full=True))
                except ShardError as error:
                    self._tell("torn_shard", path.name, str(error))

    def _add(self, name: str, content: ShardContent) -> None:
        self._contents[name] = content
        damaged = [content.entries[i] for i in sorted(content.damaged)]
        if damaged:
            ids = tuple(entry.utterance_id for entry in damaged)
            self._tell("damaged_utterance", name, "not what was written (checksum)", ids)

    def _tell(self, code: str, name: str, message: str, ids: tuple[str, ...] = ()) -> None:
        self.problems.append(
            StoreProblem(code=code, shard=name, message=message, utterance_ids=ids)
        )

    def leave_out_other_recipes(self, recipe_json: str) -> None:
        """Forget shards that are not of this recipe."""
        foreign = [n for n, c in self._contents.items() if c.header.recipe_json != recipe_json]
        for name in foreign:
            recipe_id = self._contents.pop(name).header.recipe_id
            self._tell("foreign_shard", name, f"made by recipe {recipe_id}")

    def recipe_json(self) -> str:
        """Return the recipe that most shards are of."""
        return self._most([content.header.recipe_json for content in self._contents.values()])

    def recipe_id(self) -> str:
        """Return the identity that most shards have for it."""
        return self._most([content.header.recipe_id for content in self._contents.values()])

    def catalogue(self, before: Catalogue) -> tuple[Catalogue, dict[str, tuple[str, str]]]:
        """Add all features that can be trusted to a catalogue, the youngest last.

        Returns
        -------
        (Catalogue, dict)
            And what the shards call each key: key -> utterance_id, view; the youngest last.
        """
        names: dict[str, tuple[str, str]] = {}
        rows = [rows_of_shard(name, content) for name, content in self._contents.items()]
        every = pa.concat_tables([SCHEMA.empty_table(), *rows])
        found = before.plus(every, dict.fromkeys(self._contents, ""))
        for content in self._contents.values():
            for entry in content.sound:
                names.pop(entry.key, None)
                names[entry.key] = (entry.utterance_id, entry.view)
        return found, names

    def _most(self, texts: list[str]) -> str:
        if not texts:
            message = (
                f"{self._folder} has no shard that can be read; expected at least one in its "
                "folder 'shards'; restore some, or extract anew"
            )
            raise StoreError(message)
        return Counter(texts).most_common(1)[0][0]


def _recipe(folder: Path) -> str:
    """Read the store's recipe file; empty if it is missing or torn."""
    try:
        found = json.loads((folder / "recipe.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return ""
    return read_recipe(folder)[1] if found else ""


def _restore_recipe(folder: Path, found: _Found) -> list[Path]:
    """Write the recipe that the shards have; return what was there before, set aside."""
    text = found.recipe_json()
    torn = folder / "recipe.json"
    moved = [set_aside(folder, torn)] if torn.exists() else []
    if (folder / GENERATIONS).is_dir():  # it has yet to be upgraded
        with atomic_write(torn) as partial:
            partial.write_text(text, encoding="utf-8")
    else:
        write_recipe(folder, text)
    return moved


def _bare_rows(catalogue: Catalogue, names: dict[str, tuple[str, str]]) -> pd.DataFrame:
    """One row per key, of what its shard calls it, the youngest last; nothing else is known."""
    there = dict.fromkeys(hex_of(catalogue.keys[catalogue.is_place]))
    rows = [(*called, key) for key, called in names.items() if key in there]
    frame = pd.DataFrame(rows, columns=["utterance_id", "view", "key"], dtype="str")
    return frame.assign(**MANIFEST, audio_sha256="", status=LIVE, message="")


def _labelled(rows: pd.DataFrame, labels: pd.DataFrame) -> pd.DataFrame:
    """Take over what a manifest says of the rows' names: by corpus and name, or a unique name."""
    if labels.empty:
        return rows
    labels = labels.drop_duplicates(["corpus", "utterance_id"]).reset_index(drop=True)
    names = labels["utterance_id"]
    unique = names[~names.duplicated(keep=False)]
    by_name = positions(rows["utterance_id"], unique)
    by_name[by_name >= 0] = unique.index.to_numpy()[by_name[by_name >= 0]]
    by_both = positions(
        joined(rows["corpus"], rows["utterance_id"]), joined(labels["corpus"], names)
    )
    at = np.where((rows["corpus"] == "") & (rows["file"] == ""), by_name, by_both)
    # Of several keys of one name only the youngest's row, the last, can be what the name stands for.
    is_elder = rows[["corpus", "utterance_id", "view"]].duplicated(keep="last").to_numpy()
    at[is_elder] = -1
    # What a key was made of is not a label: a row of other times would have other features.
    is_other = (rows["audio_sha256"] != "").to_numpy() & (at >= 0)
    for name in ("start", "end"):
        then, now = rows[name].to_numpy(), labels[name].to_numpy()[at]
        at[is_other & (then != now) & ~(np.isnan(then) & np.isnan(now))] = -1
    columns = [c for c in labels.columns if c not in {*OWN_COLUMNS, "utterance_id"}]
    told = labels[columns].iloc[at].reset_index(drop=True)
    for column in columns:
        old = rows[column] if column in rows else pd.Series("", index=rows.index, dtype="str")
        rows = rows.assign(**{column: told[column].where(pd.Series(at >= 0), old)})
    return rows

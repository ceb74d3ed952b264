"""A store whose generations are lost, made again from its shards.

Features and names come from the shards. Labels come from a manifest, and where that is silent from
the newest generation that can still be read.
"""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from features_cache.atomic import PARTIAL, atomic_write
from features_cache.examiner import Examiner
from features_cache.generation import generation_path, read_generation
from features_cache.repair import set_aside
from features_cache.rewrite import PLACE
from features_cache.rows_from_shards import rows_from_shards
from features_cache.shard import ShardError, ShardHeader
from features_cache.shard_reading import ShardContent
from features_cache.store import Store, StoreError
from features_cache.verify import StoreProblem, newest_whole, torn_generations

_ENTRY = ["key", "utterance_id", "view", *PLACE]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What rebuilding did.

    Attributes
    ----------
    store : the store, holding its new generation
    problems : shards that were left out, and utterances whose features are damaged
    moved : torn generations, an unreadable recipe and unfinished files, where they are now
    """

    store: Store
    problems: tuple[StoreProblem, ...]
    moved: tuple[Path, ...]


def rebuild(folder: Path, labels: pd.DataFrame | None = None) -> Rebuilt:
    """Publish a generation of everything that is whole in a store's shards.

    What the newest readable generation knows of a key stays so. Any other key becomes a live row
    under the name that its shard has for it; of several keys of one name the youngest shard's is
    live, the others are tombstones.

    Parameters
    ----------
    folder : the store's folder; the caller holds its lock
    labels : a manifest; rows of its names take over all its columns. A name that is in several of
        its corpora is taken only where the corpus is known

    Raises
    ------
    StoreError
        There is no shard to learn from.
    """
    found = _Found(folder)
    aside = [] if _recipe(folder) else _restore_recipe(folder, found)
    found.leave_out_other_recipes(_recipe(folder))
    generations = folder / "generations"
    generations.mkdir(exist_ok=True)
    before = read_generation(generations, newest_whole(generations))
    recipe_id = before.recipe_id or found.recipe_id()
    entries = found.entries()
    rows = rows_from_shards(entries, before.rows, labels)
    torn = [problem.generation for problem in torn_generations(generations, full=True)]
    store = Store(folder, generation=0)
    # It takes a number above the torn ones.
    store.publish(rows, recipe_id, audio=before.audio, spent=entries["shard"].unique())
    damaged = [generation_path(generations, number) for number in torn]
    for part in (folder, folder / "shards", generations):
        damaged += part.glob(f".*{PARTIAL}")
    aside += [set_aside(folder, path) for path in damaged]
    return Rebuilt(store=store, problems=tuple(found.problems), moved=tuple(aside))


class _Found:
    """What is in a store's shards, whole features only."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._headers: dict[str, ShardHeader] = {}
        self._entries: dict[str, pd.DataFrame] = {}
        self.problems: list[StoreProblem] = []
        with Examiner() as examiner:
            for path in sorted((folder / "shards").glob("*.h5")):
                try:
                    self._add(path.name, examiner.examine(path, full=True))
                except ShardError as error:
                    self._tell("torn_shard", path.name, str(error))

    def _add(self, name: str, content: ShardContent) -> None:
        self._headers[name] = content.header
        whole = [e for i, e in enumerate(content.entries) if i not in content.damaged]
        rows = [(e.key, e.utterance_id, e.view, name, e.row_start, e.row_end) for e in whole]
        self._entries[name] = pd.DataFrame(rows, columns=_ENTRY)
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
        for name in [n for n, h in self._headers.items() if h.recipe_json != recipe_json]:
            recipe_id = self._headers.pop(name).recipe_id
            self._entries.pop(name)
            self._tell("foreign_shard", name, f"made by recipe {recipe_id}")

    def recipe_json(self) -> str:
        """Return the recipe that most shards are of."""
        return self._most([header.recipe_json for header in self._headers.values()])

    def recipe_id(self) -> str:
        """Return the identity that most shards have for it."""
        return self._most([header.recipe_id for header in self._headers.values()])

    def entries(self) -> pd.DataFrame:
        """All features that can be trusted, the youngest last."""
        empty = pd.DataFrame(columns=_ENTRY).astype({"row_start": "int64", "row_end": "int64"})
        frames = [frame for frame in self._entries.values() if len(frame)]
        return pd.concat(frames, ignore_index=True) if frames else empty

    def _most(self, texts: list[str]) -> str:
        if not texts:
            message = (
                f"{self._folder} has no shard that can be read; expected at least one in its "
                "folder 'shards'; restore some, or extract anew"
            )
            raise StoreError(message)
        return Counter(texts).most_common(1)[0][0]


def _recipe(folder: Path) -> str:
    """Read the store's recipe; empty if it is missing or torn."""
    try:
        text = (folder / "recipe.json").read_text(encoding="utf-8")
        json.loads(text)
    except (FileNotFoundError, ValueError):
        return ""
    return text


def _restore_recipe(folder: Path, found: _Found) -> list[Path]:
    """Write the recipe that the shards have; return what was there before, set aside."""
    text = found.recipe_json()
    torn = folder / "recipe.json"
    moved = [set_aside(folder, torn)] if torn.exists() else []
    with atomic_write(torn) as partial:
        partial.write_text(text, encoding="utf-8")
    return moved

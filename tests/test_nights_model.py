"""Any sequence of nights, cut short or not, leaves what a small model of a store says.

The model is dictionaries and one rule a row. What is real: plans, task queue, generations, shards, gc
and compaction. What is made up: the files' states, and workers that turn a key into features.
"""

import dataclasses
import hashlib
import math
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from features_cache.audio_hashes import FileState
from features_cache.compact import compact
from features_cache.gc import collect
from features_cache.generation import GONE, LIVE, QUARANTINED
from features_cache.keys import content_key
from features_cache.lock import writer_lock
from features_cache.shard import PublishedShard, ShardHeader, ShardWriter
from features_cache.store import Place, Store
from stages.extract import Extraction, ExtractRun, extract
from stages.manifest import audio_paths, complete, in_part
from stages.plan import Item, Plan, make_plan
from stages.recipe import Recipe, resolve, with_random_weights
from stages.segment_features import Failed
from stages.shard_work import ShardResult, ShardTask

ROOT = Path("/audio")
RECIPE = resolve(with_random_weights(Recipe(dtype="float32")))
AWAY = ("!missing", "!permission")
BAD = ("silent", "memory")
"""Contents that give no features: the first for good, the second perhaps only tonight."""

Name = tuple[str, str]
Key = tuple[str, float]
"""Content of a file, and where in it the utterance starts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a manifest says of one utterance."""

    file: str
    start: float
    emotion: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What a store says of one utterance; `key` is None if its bytes were never seen."""

    status: str
    reason: str
    key: Key | None
    wish: Wish


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """How one extraction goes.

    `budget` is how many utterances are tried before it `ends`: ``stop`` (a deadline), ``signal``
    (the second Ctrl-C) or ``crash`` (kill -9).
    """

    corpus: str
    part: tuple[int, int]
    retry: bool
    budget: int
    ends: str


CALM = Night(corpus="c", part=(1, 1), retry=False, budget=99, ends="stop")


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a night has told, or ought to have."""

    tried: frozenset[Key]
    n_left: int
    newly: frozenset[str]
    gone: frozenset[str]


class Model:
    """What a store ought to hold."""

    def __init__(self) -> None:
        self.rows: dict[Name, Row] = {}
        self.made: set[Key] = set()
        self.loose: set[Key] = set()
        self.unsure: set[Key] = set()

    def night(
        self,
        night: Night,
        wishes: dict[str, Wish],
        others: set[str],
        disk: dict[str, str],
        tried: frozenset[Key],
        ended: str,
    ) -> Told:
        """Go through a night in which, of all that there was to do, `tried` was tried."""
        before, plan = dict(self.rows), {}
        for name, wish in wishes.items():
            plan[name] = self._wanted(before.get((night.corpus, name)), wish, disk, night.retry)
        pending = {row.key for row in plan.values() if row.status == "pending" and row.key}
        good = {key for key in tried if key[0] not in BAD}
        told = Told(
            tried=frozenset(pending),
            n_left=len(pending - tried),
            newly=frozenset(),
            gone=self._gone(night.corpus, wishes, others, plan),
        )
        self.made |= good
        self.loose |= good if ended == "crash" else set()
        if ended == "crash" or (ended == "signal" and not good):
            return told
        known = tried if ended != "signal" else good  # failures are told by a whole night
        self._drop(night.corpus, wishes, others)
        for name, row in plan.items():
            was = before.get((night.corpus, name))
            if ended == "signal" and row.status == QUARANTINED and _is_news(row, was):
                continue  # nobody has been told
            if row.status != "pending":
                self.rows[night.corpus, name] = row
            elif row.key in known:
                self.rows[night.corpus, name] = _outcome(row)
        return dataclasses.replace(told, newly=self._newly(night.corpus, wishes, before))

    def collect(self) -> None:
        """Forget features of which no row speaks; shards that a crash left may stay or go."""
        named = {row.key for row in self.rows.values() if row.key}
        self.made &= named | self.loose
        self.unsure |= self.loose - named

    def may_hold(self, places: set[str]) -> bool:
        """Tell whether these are the features that are known; gc may have left some of a crash's."""
        lost = {key for key in self.unsure if as_key(key) not in places}
        lost -= {row.key for row in self.rows.values() if row.key}
        self.made -= lost
        return places == {as_key(key) for key in self.made}

    def _wanted(self, was: Row | None, wish: Wish, disk: dict[str, str], retry: bool) -> Row:
        content = disk.get(wish.file, AWAY[0])
        if content in AWAY:
            key = (was.key[0], wish.start) if was and was.key else None
            return Row(status=QUARANTINED, reason=content[1:], key=key, wish=wish)
        key = (content, wish.start)
        if key in self.made:
            return Row(status=LIVE, reason="", key=key, wish=wish)
        is_given_up = was and was.key == key and was.status == QUARANTINED and not retry
        if is_given_up and was and was.reason == BAD[0]:
            return dataclasses.replace(was, wish=wish)
        return Row(status="pending", reason="", key=key, wish=wish)

    def _gone(
        self, corpus: str, wishes: dict[str, Wish], others: set[str], plan: dict[str, Row]
    ) -> frozenset[str]:
        """Who has left, and has no successor of another name."""
        heirs = {row.key for name, row in plan.items() if (corpus, name) not in self.rows}
        known = {name for of, name in self.rows if of == corpus and wishes}
        left = known - wishes.keys() - others
        return frozenset(n for n in left if self.rows[corpus, n].key not in heirs - {None})

    def _drop(self, corpus: str, wishes: dict[str, Wish], others: set[str]) -> None:
        known = {name for of, name in self.rows if of == corpus and wishes}
        for name in known - wishes.keys() - others:
            del self.rows[corpus, name]

    def _newly(
        self, corpus: str, wishes: dict[str, Wish], before: dict[Name, Row]
    ) -> frozenset[str]:
        found = set()
        for name in wishes:
            now, was = self.rows.get((corpus, name)), before.get((corpus, name))
            if now is not None and now.status == QUARANTINED and now is not was:
                is_same = was and (was.status, was.reason) == (now.status, now.reason)
                if not is_same or (was and was.key != now.key and now.reason in BAD):
                    found.add(name)
        return frozenset(found)


def _is_news(row: Row, was: Row | None) -> bool:
    return was is None or (was.status, was.reason) != (row.status, row.reason)


def _outcome(row: Row) -> Row:
    assert row.key is not None
    bad = row.key[0] in BAD
    return dataclasses.replace(
        row, status=QUARANTINED if bad else LIVE, reason=row.key[0] if bad else ""
    )


class Interrupted(BaseException):
    """As a second Ctrl-C."""


class FakeWorkers:
    """Turns keys into features until the budget is used up."""

    n_workers = 1

    def __init__(self, store: Store, night: Night, contents: dict[str, str]) -> None:
        self._store, self._night, self._contents = store, night, contents
        self._left = night.budget
        self.tried: set[Key] = set()

    def must_stop(self) -> bool:
        return self._left <= 0

    def run(
        self,
        work: Callable[[ShardTask], ShardResult],
        next_task: Callable[[], ShardTask | None],
    ) -> Iterator[ShardResult]:
        del work
        while (task := next_task()) is not None:
            yield self.make(task.items, task.shard)
            if self.must_stop() and self._night.ends == "signal":
                raise Interrupted

    def make(self, items: tuple[Item, ...], name: str = "") -> ShardResult:
        """Do some items, as a worker does."""
        tried, left = items[: self._left], items[self._left :]
        self._left -= len(tried)
        failures, good = [], []
        for item in tried:
            content = self._contents[Path(item.path).name]
            assert (content, item.start) not in self.tried, "tried twice in one night"
            self.tried.add((content, item.start))
            if content in BAD:
                failures.append(Failed(item=item, code=content, message="made up"))
            else:
                good.append(item)
        shard = self._write(good, name) if good else None
        return ShardResult(shard=shard, failures=tuple(failures), left=left)

    def _write(self, items: list[Item], name: str) -> PublishedShard:
        header = ShardHeader(
            recipe_id=RECIPE.recipe_id,
            recipe_json=RECIPE.to_json(),
            versions_json="{}",
            engine="keras-test",
            dtype="float32",
            feature_dim=2,
        )
        with ShardWriter(self._store.shards_folder, header, name) as shard:
            for item in items:
                rows = features(item.key)
                shard.append(rows, np.arange(len(rows)) * 1.0, np.arange(len(rows)) + 1.0)
                shard.end_utterance(key=item.key, utterance_id=item.utterance_id, view=item.view)
            return shard.close()


def features(key: str) -> NDArray[np.float32]:
    """Made up, but of the key alone."""
    digest = hashlib.sha256(key.encode()).digest()
    return np.frombuffer(digest[: 8 * (1 + digest[0] % 3)], "<u4").reshape(-1, 2).astype("f4")


class World:
    """A corpus' files, its manifests, and a store, with the model beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        Store.create(folder, RECIPE.to_json())
        self.disk: dict[str, str] = {}
        self.wishes: dict[str, dict[str, Wish]] = {"c": {}, "d": {}}
        self.model = Model()

    def write(self, file: str, content: str) -> None:
        self.disk[file] = content

    def name(self, corpus: str, name: str, wish: Wish) -> None:
        self.wishes[corpus][name] = wish

    def drop(self, corpus: str, name: str) -> None:
        self.wishes[corpus].pop(name, None)

    def collect(self) -> None:
        collect(Store(self.folder), RECIPE.recipe_id)
        self.model.collect()
        self.check()

    def compact(self) -> None:
        compact(Store(self.folder), RECIPE.recipe_id)
        self.check()

    def night(self, night: Night) -> None:
        """Go through one night, in the store and in the model, and compare."""
        manifest = as_manifest(night.corpus, self.wishes[night.corpus])
        is_mine = in_part(manifest, *night.part)
        rows, elsewhere = manifest[is_mine].reset_index(drop=True), manifest[~is_mine]
        wishes = {n: self.wishes[night.corpus][n] for n in rows["utterance_id"]}
        before = dict(self.model.rows)
        with writer_lock(self.folder) as lock:
            store = Store(self.folder)
            number = store.generation.number
            plan = make_plan(
                rows,
                audio_paths(rows, ROOT),
                self.states(rows["file"]),
                store.generation.rows,
                store.known_places(),
                retry_quarantined=night.retry,
                elsewhere=elsewhere,
            )
            workers = FakeWorkers(store, night, self.disk)
            run = ExtractRun(lock=lock, stop=workers.must_stop)
            done = carry_out(plan, store, workers, run, night)
        told = self.model.night(
            night,
            wishes,
            set(elsewhere["utterance_id"]),
            self.disk,
            frozenset(workers.tried),
            "done" if done else night.ends,
        )
        assert set(plan.pending["key"]) == {as_key(key) for key in told.tried}
        assert frozenset(plan.gone) == told.gone
        if done is not None:
            assert done.n_left == told.n_left
            assert set(done.newly_quarantined["utterance_id"]) == told.newly
            is_news = self.model.rows != before
            may_differ = is_news or told.n_left > 0 or not before  # tombstones come and go
            assert done.generation.number == number + is_news or may_differ
        self.check()

    def states(self, files: pd.Series) -> pd.DataFrame:
        contents = [self.disk.get(file, AWAY[0]) for file in files]
        found = [
            FileState(code=content[1:])
            if content in AWAY
            else FileState(sha256=content, size=1000, mtime_ns=1)
            for content in contents
        ]
        table = pd.DataFrame(found, columns=list(FileState._fields))
        return table.astype(dict.fromkeys(("sha256", "code", "message"), "str"))

    def check(self) -> None:
        """Compare what a reader gets with what the model says."""
        store = Store(self.folder)
        rows = store.generation.rows
        alive = rows[rows["status"] != GONE]
        assert not alive.duplicated(["corpus", "utterance_id", "view"]).any()
        seen = {(row.corpus, row.utterance_id): row for row in alive.itertuples()}
        assert seen.keys() == self.model.rows.keys()
        for name, row in self.model.rows.items():
            here = seen[name]
            wish = Wish(file=here.file, start=here.start, emotion=here.emotion)
            assert (here.status, here.reason, wish) == (row.status, row.reason, row.wish), name
            assert here.key == (as_key(row.key) if row.key else ""), name
            if row.status == LIVE:
                read = store.read(
                    Place(shard=here.shard, row_start=here.row_start, row_end=here.row_end)
                )
                np.testing.assert_array_equal(read, features(here.key))
        assert self.model.may_hold(set(store.known_places()["key"]))
        store.close()


def carry_out(
    plan: Plan, store: Store, workers: FakeWorkers, run: ExtractRun, night: Night
) -> Extraction | None:
    """Extract, or die on the way: shards are there then, and no generation names them."""
    if night.ends == "crash":
        workers.make(tuple(plan.items()))
        return None
    try:
        return extract(plan, store, RECIPE, workers, run)
    except Interrupted:
        return None
    finally:
        store.close()


def as_manifest(corpus: str, wishes: dict[str, Wish]) -> pd.DataFrame:
    rows = [
        {"utterance_id": name, "speaker": "", "corpus": corpus, **dataclasses.asdict(wish)}
        for name, wish in wishes.items()
    ]
    columns = ["utterance_id", "file", "start", "speaker", "emotion", "corpus"]
    return complete(pd.DataFrame(rows, columns=columns))


def as_key(key: Key) -> str:
    return content_key(key[0], key[1], math.nan)


corpora, names, files = st.sampled_from("ccd"), st.sampled_from("abc"), st.sampled_from("xyz")
some_wishes = st.builds(
    Wish, file=files, start=st.sampled_from([0.0, 0.0, 1.0]), emotion=st.sampled_from(["", "joy"])
)
nights = st.builds(
    Night,
    corpus=corpora,
    part=st.sampled_from([(1, 1), (1, 1), (1, 2), (2, 2)]),
    retry=st.sampled_from([False, False, True]),
    budget=st.sampled_from([99, 99, 99, 0, 1, 2]),
    ends=st.sampled_from(["stop", "stop", "signal", "crash"]),
)
steps = st.one_of(
    st.tuples(st.just("write"), files, st.sampled_from(["A", "B", "C", *BAD, *AWAY])),
    st.tuples(st.just("name"), corpora, names, some_wishes),
    st.tuples(st.just("drop"), corpora, names),
    st.tuples(st.just("night"), nights),
    st.tuples(st.just("night"), nights),
    st.sampled_from([("collect",), ("compact",)]),
)


@pytest.fixture(autouse=True, scope="module")
def _nobody_waits_for_the_disk() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _: None)
        yield


def story_of(*steps: tuple[object, ...]) -> Callable[[object], object]:
    """Make an example of a corpus with one utterance ``a``, file ``x``."""
    first = [("c", "a", Wish(file="x", start=0.0, emotion=""))]
    return example(contents=["A", "B", "silent"], first=first, story=[("night", CALM), *steps])


@settings(max_examples=20)
@story_of(  # another range of a file, while that is away
    ("write", "x", "!missing"),
    ("name", "c", "a", Wish(file="x", start=1.0, emotion="")),
    ("night", CALM),
    ("write", "x", "A"),
)
@story_of(  # one of two names of the same audio leaves
    ("name", "c", "b", Wish(file="x", start=0.0, emotion="")),
    ("night", CALM),
    ("drop", "c", "b"),
)
@story_of(  # a bad file gets other bytes, and the night ends before it
    ("write", "x", "silent"),
    ("night", CALM),
    ("write", "x", "memory"),
    ("night", dataclasses.replace(CALM, budget=0)),
)
@story_of(  # somebody leaves whose file was never there, as another's was not
    ("name", "c", "b", Wish(file="y", start=0.0, emotion="")),
    ("write", "y", "!missing"),
    ("night", CALM),
    ("drop", "c", "b"),
    ("night", CALM),
    ("name", "d", "c", Wish(file="y", start=0.0, emotion="")),
    ("night", dataclasses.replace(CALM, corpus="d")),
)
@given(
    contents=st.lists(st.sampled_from(["A", "A", "B", "silent"]), min_size=3, max_size=3),
    first=st.lists(st.tuples(corpora, names, some_wishes), min_size=2, max_size=6),
    story=st.lists(steps, min_size=2, max_size=16),
)
def test_any_sequence_of_nights_leaves_what_the_model_says(
    contents: list[str],
    first: list[tuple[str, str, Wish]],
    story: list[tuple[object, ...]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        world.disk = dict(zip("xyz", contents, strict=True))
        for corpus, name, wish in first:
            world.name(corpus, name, wish)
        for verb, *what in story:
            getattr(world, str(verb))(*what)
        world.night(CALM)
        world.night(CALM)  # and nothing more happens, but what may have passed is tried again

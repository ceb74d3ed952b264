"""Any sequence of nights, cut short or not, and of care leaves what a small model of a store says.

The model is two dictionaries, what exists and what is wanted, and one rule per row. What is real: plans,
task queue, catalogue, snapshots, shards and everything that looks after them. What is made up: the
files' states, and workers that turn a key into features.
"""

import dataclasses
import hashlib
import math
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from features_cache.audio_hashes import FileState
from features_cache.compact import compact
from features_cache.forget import forget, remembered
from features_cache.gc import collect
from features_cache.keys import CLEAN, content_key
from features_cache.lock import writer_lock
from features_cache.merge import merge
from features_cache.shard import PublishedShard, ShardHeader, ShardWriter, versions_json
from features_cache.snapshot import LIVE, PENDING
from features_cache.store import Store
from features_cache.verify import verify
from stages.extract import Extraction, ExtractRun, extract
from stages.frontend.views.table import view, views
from stages.manifest import audio_paths, complete, in_part
from stages.plan import Plan, make_plan
from stages.recipe import Recipe, resolve, with_random_weights
from stages.segment_features import Failed
from stages.shard_work import ShardResult, ShardTask
from stages.utterance import Utterance
from tests.small_store import places

ROOT = Path("/audio")
RECIPE = resolve(with_random_weights(Recipe(dtype="float32")))
AWAY = ("!missing", "!permission")
BAD = ("silent", "memory")
"""Contents that give no features: the first for good, the second perhaps only tonight."""

Name = tuple[str, str, str]
"""Corpus, utterance and view."""

Key = tuple[str, float, str]
"""Content of a file, where in it the utterance starts, and the view."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a manifest says of one utterance."""

    file: str
    start: float
    emotion: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What a snapshot says of one utterance in one view; `key` is None if its bytes were never seen."""

    status: str
    key: Key | None
    wish: Wish


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """How one extraction goes.

    `budget` is how many utterances are tried before it `ends`: ``stop`` (a deadline), ``signal``
    (the second Ctrl-C), ``crash`` (kill -9) or ``between``: killed after the catalogue was published.
    """

    corpus: str
    part: tuple[int, int]
    retry: bool
    views: tuple[str, ...]
    budget: int
    ends: str


CALM = Night(corpus="c", part=(1, 1), retry=False, views=(), budget=99, ends="stop")
SEEN = dataclasses.replace(CALM, views=("masks",))


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a night ought to have told."""

    pending: frozenset[Key]
    newly: frozenset[str]
    gone: frozenset[str]


@dataclass(slots=True)
class Model:
    """What a store ought to hold.

    `exists` says of a key which decoder made its features, and why there are none; of what a crash has
    left, `loose`, only the next night takes notice. `is_untold` while no night has said whether it wants
    what a killed one has left.
    """

    wanted: dict[Name, Row] = field(default_factory=dict)
    exists: dict[Key, tuple[str, str]] = field(default_factory=dict)
    loose: dict[Key, tuple[str, str]] = field(default_factory=dict)
    is_untold: bool = False

    def adopt(self, withdrawn: set[str]) -> dict[Key, tuple[str, str]]:
        """What exists once somebody has looked at what crashes have left."""
        return {**self.exists, **self.left(withdrawn)}

    def left(self, withdrawn: set[str]) -> dict[Key, tuple[str, str]]:
        """What crashes have left that is not there already."""
        places_ = {
            k for k, (decoder, why) in self.exists.items() if not why and decoder not in withdrawn
        }
        return {k: v for k, v in self.loose.items() if k not in places_}

    def night(self, night: Night, world: "World", wishes: dict[str, Wish], others: set[str],
              tried: frozenset[Key], ended: str) -> Told:  # fmt: skip
        """Go through a night in which, of all that there was to do, `tried` was tried."""
        before = dict(self.wanted)
        known = self.adopt(world.withdrawn)
        counts = {k: v for k, v in known.items() if v[0] not in world.withdrawn}
        if night.retry:
            counts = {k: v for k, v in counts.items() if not v[1]}
        rows, outgrown = self._rows(night, world, wishes, others)
        planned = self._settled(rows, world, counts, {})
        pending = {row.key for row in planned.values() if row.status == PENDING and row.key}
        told = Told(
            pending=frozenset(pending),
            newly=frozenset(),
            gone=self._gone(night.corpus, wishes, others, rows),
        )
        made = {key: (world.decoder, "") for key in tried if key[0] not in BAD}
        reasons = {key: (world.decoder, key[0]) for key in tried if key[0] == BAD[0]}
        passing = {key: key[0] for key in tried if key[0] == BAD[1]}
        if ended == "signal":  # nobody is told, and nothing is believed
            reasons, passing = {}, {}
        if ended == "crash" or (ended == "signal" and not made):
            self.loose |= made
            return told
        existed, left = self.exists, self.left(world.withdrawn)
        self.exists, self.loose = {**known, **reasons, **made}, {}
        done = self._settled(rows, world, {**counts, **reasons, **made}, passing)
        news = {
            name
            for name, row in done.items()
            if row.status not in (LIVE, PENDING) and _is_news(row, before.get(name), world)
        }
        self._drop(night.corpus, wishes, others)
        for name, row in done.items():
            was = before.get(name)
            is_unreached = row.status == PENDING or (ended == "signal" and name in news)
            if not is_unreached:
                self.wanted[name] = row
            elif was is not None and was.status != PENDING:
                self.wanted[name] = was
            else:
                self.wanted[name] = dataclasses.replace(row, status=PENDING)
            if is_unreached and name[2] == CLEAN:
                gone = {n: r for n, r in outgrown.items() if n[:2] == name[:2]}
                self.wanted |= gone if was is not None and was.status != PENDING else {}
        is_new = self.wanted != before
        is_half = ended == "between" and is_new
        self.is_untold = is_half and (self.is_untold or self.exists != existed or bool(left))
        if is_half:
            self.wanted = before
            return told
        return dataclasses.replace(told, newly=self._newly(news, done))

    def _rows(
        self, night: Night, world: "World", wishes: dict[str, Wish], others: set[str]
    ) -> tuple[dict[Name, Row], dict[Name, Row]]:
        """Say what is wanted, and which views' utterances have other bytes now."""
        rows: dict[Name, Row] = {}
        for each in (CLEAN, *night.views):
            for name, wish in wishes.items():
                was = self.wanted.get((night.corpus, name, CLEAN))
                content: str | None = world.disk.get(wish.file, AWAY[0])
                if content in AWAY:
                    content = was.key[0] if was and was.key else None
                key = (content, wish.start, each) if content is not None else None
                rows[night.corpus, name, each] = Row(status="", key=key, wish=wish)
        outgrown: dict[Name, Row] = {}
        for name, row in self._unasked(night, wishes, others).items():
            corpus, utterance, each = name
            owner = utterance if utterance in wishes else self._heir(night.corpus, row, rows)
            if owner is None:
                continue
            clean = rows[corpus, owner, CLEAN]
            same = row.key[:2] == clean.key[:2] if row.key and clean.key else row.key == clean.key
            if same and (row.key or row.wish.start == clean.wish.start):
                rows.setdefault((corpus, owner, each), dataclasses.replace(clean, key=row.key))
            elif owner == utterance:
                outgrown[name] = row
        return rows, outgrown

    def _unasked(self, night: Night, wishes: dict[str, Wish], others: set[str]) -> dict[Name, Row]:
        asked = (CLEAN, *night.views)
        return {
            name: row
            for name, row in sorted(self.wanted.items(), key=lambda pair: pair[0][1:])
            if name[0] == night.corpus and name[1] not in others and name[2] not in asked and wishes
        }

    def _heir(self, corpus: str, row: Row, rows: dict[Name, Row]) -> str | None:
        """Who has a new name and the content of a row whose name has left."""
        for (_, name, each), own in rows.items():
            is_new = each == CLEAN and (corpus, name, CLEAN) not in self.wanted
            if is_new and own.key and row.key and own.key[:2] == row.key[:2]:
                return name
        return None

    def _settled(
        self,
        rows: dict[Name, Row],
        world: "World",
        counts: dict[Key, tuple[str, str]],
        passing: dict[Key, str],
    ) -> dict[Name, Row]:
        found: dict[Name, Row] = {}
        for name, row in rows.items():
            content = world.disk.get(row.wish.file, AWAY[0])
            status = PENDING
            if row.key in counts:
                status = counts[row.key][1] or LIVE
            elif row.key in passing:
                status = passing[row.key]
            clean = found.get((*name[:2], CLEAN))
            if status == PENDING and clean and clean.status not in (LIVE, PENDING):
                status = clean.status
            if content in AWAY:
                status = content[1:]
            found[name] = dataclasses.replace(row, status=status)
        return found

    def _newly(self, news: set[Name], done: dict[Name, Row]) -> frozenset[str]:
        """Whom a night tells of: a view only where the utterance itself is not bad."""
        return frozenset(
            name[1]
            for name in news
            if name[2] == CLEAN or done[*name[:2], CLEAN].status in (LIVE, PENDING)
        )

    def _gone(
        self, corpus: str, wishes: dict[str, Wish], others: set[str], rows: dict[Name, Row]
    ) -> frozenset[str]:
        """Who has left, and has no successor of another name."""
        heirs = {
            row.key
            for name, row in rows.items()
            if name[2] == CLEAN and name not in self.wanted and row.key
        }
        left = self._left(corpus, wishes, others)
        return frozenset(n for n in left if self.wanted[corpus, n, CLEAN].key not in heirs)

    def _left(self, corpus: str, wishes: dict[str, Wish], others: set[str]) -> set[str]:
        known = {
            name for of, name, each in self.wanted if of == corpus and each == CLEAN and wishes
        }
        return known - wishes.keys() - others

    def _drop(self, corpus: str, wishes: dict[str, Wish], others: set[str]) -> None:
        """Forget rows for which the manifest speaks: those that stay are put in again."""
        mine = {n for n in self.wanted if n[0] == corpus and n[1] not in others and wishes}
        for name in mine:
            del self.wanted[name]

    def merge(self, other: "Model", withdrawn: set[str]) -> None:
        """Take over what another store holds."""
        rank = {LIVE: 0, PENDING: 2}
        for name, row in other.wanted.items():
            mine = self.wanted.get(name)
            if mine is None or rank.get(row.status, 1) < rank.get(mine.status, 1):
                self.wanted[name] = row
        mine_ = self.adopt(withdrawn)
        self.is_untold |= other.is_untold or bool(self.left(withdrawn) or other.left(withdrawn))
        self.loose = {}
        for key, found in other.adopt(withdrawn).items():
            if key not in mine_ or (mine_[key][1] and not found[1]):
                mine_[key] = found
        self.exists = mine_


def _is_news(row: Row, was: Row | None, world: "World") -> bool:
    is_here = world.disk.get(row.wish.file, AWAY[0]) not in AWAY
    return was is None or was.status != row.status or (is_here and was.key != row.key)


class Interrupted(BaseException):
    """As a second Ctrl-C."""


class Killed(BaseException):
    """As a kill -9 between two steps."""


class FakeWorkers:
    """Turns keys into features until the budget is used up."""

    n_workers = 1

    def __init__(self, store: Store, night: Night, world: "World") -> None:
        self._store, self._night, self._world = store, night, world
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
            yield self.make(task.utterances, task.shard)
            if self.must_stop() and self._night.ends == "signal":
                raise Interrupted

    def make(self, utterances: tuple[Utterance, ...], name: str = "") -> ShardResult:
        """Do some utterances, as a worker does."""
        tried, left = utterances[: self._left], utterances[self._left :]
        self._left -= len(tried)
        failures, good = [], []
        for each in tried:
            content = self._world.disk[each.path.name]
            key = (content, each.start, each.view)
            assert key not in self.tried, "tried twice in one night"
            self.tried.add(key)
            if content in BAD:
                failures.append(Failed(utterance=each, code=content, message="made up"))
            else:
                good.append(each)
        shard = self._write(good, name) if good else None
        return ShardResult(shard=shard, failures=tuple(failures), left=left)

    def _write(self, utterances: list[Utterance], name: str) -> PublishedShard:
        header = ShardHeader(
            recipe_id=RECIPE.recipe_id,
            recipe_json=RECIPE.to_json(),
            versions_json=versions_json({"decoder": self._world.decoder}),
            engine="keras-test",
            dtype="float32",
            feature_dim=2,
        )
        with ShardWriter(self._store.shards_folder, header, name) as shard:
            for each in utterances:
                rows = features(each.key, self._world.decoder)
                shard.append(rows, np.arange(len(rows)) * 1.0, np.arange(len(rows)) + 1.0)
                shard.end_utterance(key=each.key, utterance_id=each.utterance_id, view=each.view)
            return shard.close()


def features(key: str, decoder: str) -> NDArray[np.float32]:
    """Made up, but of the key and the decoder alone."""
    digest = hashlib.sha256(f"{key}{decoder}".encode()).digest()
    return np.frombuffer(digest[: 8 * (1 + digest[0] % 3)], "<u4").reshape(-1, 2).astype("f4")


class World:
    """A corpus' files, its manifests, and two stores, with a model beside each."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch
        self.folders = {"main": folder / "main", "other": folder / "other"}
        self.models = {name: Model() for name in self.folders}
        for each in self.folders.values():
            Store.create(each, RECIPE.to_json())
        self.disk: dict[str, str] = {}
        self.wishes: dict[str, dict[str, Wish]] = {"c": {}, "d": {}}
        self.decoder, self.withdrawn = "", set[str]()
        self.mend()
        self.withdrawn.clear()

    def write(self, file: str, content: str) -> None:
        self.disk[file] = content

    def name(self, corpus: str, name: str, wish: Wish) -> None:
        self.wishes[corpus][name] = wish

    def drop(self, corpus: str, name: str) -> None:
        self.wishes[corpus].pop(name, None)

    def mend(self) -> None:
        """Withdraw the decoder's revision, and use another one from now on."""
        self.withdrawn.add(self.decoder)
        self.decoder = f"decoder {len(self.withdrawn)}"
        self._patch.setattr("stages.extract.DECODER", self.decoder)

    def compact(self) -> None:
        compact(self.opened("main"))
        self.check("main")

    def collect(self, is_held: bool) -> None:
        """Collect garbage, holding all snapshots or only the newest."""
        store, model = self.opened("main"), self.models["main"]
        held = set(store.snapshots) if is_held else set()
        wanted = {row.key for row in model.wanted.values()}
        kept = {as_key(key) for key in wanted if key}
        for number in held:
            kept |= {*store.read_snapshot(number).rows(["key"])["key"]}
        assert store.is_untold == model.is_untold
        collect(store, held)
        model.exists = {
            key: v for key, v in model.exists.items() if model.is_untold or as_key(key) in kept
        }
        self.check("main")

    def merge(self) -> None:
        store = self.opened("main")
        other = Store(self.folders["other"])
        for each in (store, other):
            each.adopt(self.withdrawn)
        merge(store, [other], RECIPE.recipe_id)
        self.models["main"].merge(self.models["other"], self.withdrawn)
        self.check("main")

    def forget(self, name: str) -> None:
        store, model = self.opened("main"), self.models["main"]
        store.adopt(self.withdrawn)
        memory = remembered(store, {name})
        if memory.is_empty:
            return
        forget(store, memory)
        model.is_untold |= bool(model.left(self.withdrawn))
        model.exists, model.loose = model.adopt(self.withdrawn), {}
        gone = {key.hex() for key in map(_whole, memory.keys)}
        hit = {n for n, row in model.wanted.items() if n[1] == name}
        assert {as_key(row.key) for n, row in model.wanted.items() if n in hit and row.key} <= gone
        model.exists = {key: v for key, v in model.exists.items() if as_key(key) not in gone}
        for n, row in list(model.wanted.items()):
            if n in hit or (row.key and as_key(row.key) in gone):
                del model.wanted[n]
        for number in store.snapshots:
            rows = store.read_snapshot(number).rows()
            assert not (rows["utterance_id"] == name).any()
            assert not rows["key"].isin(gone).any()
        self.check("main")

    def opened(self, where: str) -> Store:
        return Store.for_writing(self.folders[where])

    def night(self, night: Night, where: str = "main") -> None:
        """Go through one night, in a store and in its model, and compare."""
        manifest = as_manifest(night.corpus, self.wishes[night.corpus])
        is_mine = in_part(manifest, *night.part)
        rows, elsewhere = manifest[is_mine].reset_index(drop=True), manifest[~is_mine]
        wishes = {n: self.wishes[night.corpus][n] for n in rows["utterance_id"]}
        model = self.models[where]
        before = dict(model.wanted)
        with writer_lock(self.folders[where]) as lock:
            store = self.opened(where)
            number = store.snapshot.number
            store.adopt(self.withdrawn)
            plan = make_plan(
                rows,
                audio_paths(rows, ROOT),
                self.states(rows["file"]),
                store.snapshot,
                store.on_disk(),
                views=views(night.views),
                retry_quarantined=night.retry,
                elsewhere=elsewhere,
                withdrawn=self.withdrawn,
            )
            workers = FakeWorkers(store, night, self)
            run = ExtractRun(lock=lock, stop=workers.must_stop)
            done, ended = carry_out(plan, store, workers, run, night)
        tried = frozenset(workers.tried)
        told = model.night(night, self, wishes, set(elsewhere["utterance_id"]), tried, ended)
        assert set(plan.pending["key"]) == {as_key(key) for key in told.pending}
        assert frozenset(plan.gone) == told.gone
        if done is not None:
            left = {key for key in told.pending - tried if (*key[:2], CLEAN) not in tried}
            assert len(left) <= done.n_left <= len(told.pending - tried)
            assert set(done.newly_quarantined["utterance_id"]) == told.newly
            assert done.snapshot == number + (model.wanted != before)
        self.check(where)

    def states(self, files: pd.Series) -> pd.DataFrame:
        contents = [self.disk.get(file, AWAY[0]) for file in files]
        found = [
            FileState(code=content[1:])
            if content in AWAY
            else FileState(sha256=digest(content), size=1000, mtime_ns=1)
            for content in contents
        ]
        table = pd.DataFrame(found, columns=list(FileState._fields))
        return table.astype(dict.fromkeys(("sha256", "code", "message"), "str"))

    def check(self, where: str) -> None:
        """Compare what readers get with what the model says."""
        store, model = Store(self.folders[where]), self.models[where]
        rows = store.snapshot.rows()
        seen = {(row.corpus, row.utterance_id, row.view): row for row in rows.itertuples()}
        assert len(seen) == len(rows)
        assert seen.keys() == model.wanted.keys()
        for name, row in model.wanted.items():
            here = seen[name]
            wish = Wish(file=here.file, start=here.start, emotion=here.emotion)
            assert (here.status, wish) == (row.status, row.wish), name
            assert here.key == (as_key(row.key) if row.key else ""), name
        texts = {as_key(key): found for key, found in model.exists.items()}
        assert places(store).keys() == {key for key, (_, why) in texts.items() if not why}
        reasons = store.catalogue.only(~store.catalogue.is_place)
        assert set(reasons.texts("reason")) <= {*BAD}
        assert len(reasons.keys) == sum(1 for _, why in texts.values() if why)
        for number in store.snapshots:  # whoever holds an older one still reads what it wanted
            older = store.read_snapshot(number).rows(["key", "status"])
            for key in older.loc[older["status"] == LIVE, "key"]:
                read = store.read(store.places([key])[0])
                np.testing.assert_array_equal(read, features(key, texts[key][0]))
        store.close()


def _whole(key: bytes) -> bytes:
    return key.ljust(32, b"\0")


def digest(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def as_key(key: Key) -> str:
    return content_key(digest(key[0]), key[1], math.nan, view(key[2]).text)


def carry_out(
    plan: Plan, store: Store, workers: FakeWorkers, run: ExtractRun, night: Night
) -> tuple[Extraction | None, str]:
    """Extract, or die on the way: shards are there then, and no catalogue names them."""
    if night.ends == "crash":
        workers.make(tuple(plan.utterances()))
        return None, "crash"
    with pytest.MonkeyPatch.context() as patch:
        if night.ends == "between":
            patch.setattr(store, "publish_snapshot", _be_killed)
            patch.setattr(store, "show", _be_killed)
        try:
            return extract(plan, store, RECIPE, workers, run), "done"
        except Interrupted:
            return None, "signal"
        except Killed:
            return None, "between"
        finally:
            store.close()


def _be_killed(*_: object, **__: object) -> None:
    raise Killed


def as_manifest(corpus: str, wishes: dict[str, Wish]) -> pd.DataFrame:
    rows = [
        {"utterance_id": name, "speaker": "", "corpus": corpus, **dataclasses.asdict(wish)}
        for name, wish in wishes.items()
    ]
    columns = ["utterance_id", "file", "start", "speaker", "emotion", "corpus"]
    return complete(pd.DataFrame(rows, columns=columns))


corpora, names, files = st.sampled_from("ccd"), st.sampled_from("abc"), st.sampled_from("xyz")
some_wishes = st.builds(
    Wish, file=files, start=st.sampled_from([0.0, 0.0, 1.0]), emotion=st.sampled_from(["", "joy"])
)
nights = st.builds(
    Night,
    corpus=corpora,
    part=st.sampled_from([(1, 1), (1, 1), (1, 2), (2, 2)]),
    retry=st.sampled_from([False, False, True]),
    views=st.sampled_from([(), ("masks",), ("masks", "speed-0.9")]),
    budget=st.sampled_from([99, 99, 99, 0, 1, 2]),
    ends=st.sampled_from(["stop", "stop", "signal", "crash", "between"]),
)
steps = st.one_of(
    st.tuples(st.just("write"), files, st.sampled_from(["A", "B", "C", *BAD, *AWAY])),
    st.tuples(st.just("name"), corpora, names, some_wishes),
    st.tuples(st.just("drop"), corpora, names),
    st.tuples(st.just("night"), nights),
    st.tuples(st.just("night"), nights),
    st.tuples(st.just("night"), nights, st.just("other")),
    st.tuples(st.just("collect"), st.booleans()),
    st.tuples(st.just("forget"), names),
    st.sampled_from([("compact",), ("merge",), ("mend",)]),
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
@story_of(  # a view that is not asked for goes with its bytes, and comes back with them
    ("night", SEEN),
    ("write", "x", "B"),
    ("night", dataclasses.replace(CALM, budget=0)),
    ("night", CALM),
    ("write", "x", "A"),
    ("collect", True),
    ("night", SEEN),
)
@story_of(  # a decoder is mended, and the night is killed after its catalogue
    ("mend",),
    ("night", dataclasses.replace(CALM, ends="between")),
    ("collect", True),
    ("night", SEEN),
    ("forget", "a"),
)
@story_of(  # two machines have done parts of the same, one of them with another decoder
    ("night", SEEN, "other"),
    ("mend",),
    ("night", dataclasses.replace(SEEN, part=(1, 2))),
    ("merge",),
    ("compact",),
    ("collect", False),
)
@story_of(  # a recording goes under all its names, with all their views
    ("name", "d", "c", Wish(file="x", start=0.0, emotion="")),
    ("night", dataclasses.replace(CALM, corpus="d")),
    ("night", SEEN),
    ("forget", "c"),
)
@given(
    contents=st.lists(st.sampled_from(["A", "A", "B", "silent"]), min_size=3, max_size=3),
    first=st.lists(st.tuples(corpora, names, some_wishes), min_size=2, max_size=6),
    story=st.lists(steps, min_size=2, max_size=16),
)
def test_any_sequence_of_nights_and_care_leaves_what_the_model_says(
    contents: list[str],
    first: list[tuple[str, str, Wish]],
    story: list[tuple[object, ...]],
) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        world = World(Path(folder), patch)
        world.disk = dict(zip("xyz", contents, strict=True))
        for corpus, name, wish in first:
            world.name(corpus, name, wish)
        for verb, *what in story:
            getattr(world, str(verb))(*what)
        for corpus in "cd":
            world.night(dataclasses.replace(SEEN, corpus=corpus))
            world.night(
                dataclasses.replace(SEEN, corpus=corpus)
            )  # only what may have passed is tried
        assert [p.code for p in verify(world.folders["main"], full=True)] == []
        fresh = World(Path(folder) / "fresh", patch)
        fresh.disk, fresh.wishes = world.disk, world.wishes
        fresh.decoder = world.decoder
        for corpus in "cd":
            fresh.night(dataclasses.replace(SEEN, corpus=corpus))
        assert asked(world) == asked(fresh)


def asked(world: World) -> dict[Name, bytes]:
    """Bytes of every asked view of every readable file."""
    store = Store(world.folders["main"])
    rows = store.live(["corpus", "utterance_id", "view", "key"])
    keys = dict(
        zip(zip(*(rows[n] for n in rows.columns[:3]), strict=True), rows["key"], strict=True)
    )
    return {
        (corpus, name, each): store.read(store.places([keys[corpus, name, each]])[0]).tobytes()
        for corpus, wishes in world.wishes.items()
        for name, wish in wishes.items()
        for each in (CLEAN, "masks")
        if world.disk.get(wish.file, AWAY[0]) not in (*AWAY, *BAD)
    }

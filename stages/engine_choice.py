"""Which engine runs the network: as asked, else that of the store, else the quicker one here."""

from collections.abc import Callable
from pathlib import Path

from features_cache.shard import ShardError, read_header
from features_cache.store import Store
from models.engines import KERAS, OPENVINO, EngineError, engine_of, has_openvino

AUTO = "auto"

FEW = 16
"""Newest shards that are asked who made them; those that were imported do not say."""


def openvino_is_quicker() -> bool:
    """Whether OpenVINO is on this machine and can run the graph, and Keras has no GPU."""
    if not has_openvino():
        return False
    from models.backend import backend_name, gpu_names

    return backend_name() == "tensorflow" and not gpu_names()


def choose_engine(
    asked: str, store: Store, is_quicker: Callable[[], bool] = openvino_is_quicker
) -> str:
    """Choose an engine for a store.

    Asked to choose by itself, it never changes the engine within a store. A new store gets OpenVINO
    where it is installed and Keras has no GPU, which would be quicker.

    Parameters
    ----------
    asked : ``auto``, or one of `models.engines.ENGINES`
    store : whose shards say what made them
    is_quicker : whether OpenVINO is the quicker one where the work is done

    Returns
    -------
    str
        One of `models.engines.ENGINES`.

    Raises
    ------
    models.engines.EngineError
        The engine is not here.
    """
    made_by = store_engine(store) if asked == AUTO else None
    if made_by is None and asked == AUTO:
        return OPENVINO if is_quicker() else KERAS
    if made_by == OPENVINO and not has_openvino():
        message = (
            f"the newest features of {store.folder} were made by OpenVINO, which is not installed; "
            "expected one engine throughout a store; run pip install 'openvino>=2025.2', or go on "
            "with --engine keras"
        )
        raise EngineError(message)
    chosen = made_by or asked
    if chosen == OPENVINO:
        from models.openvino_cnn import refuse_without_openvino

        refuse_without_openvino()
    return chosen


def store_engine(store: Store) -> str | None:
    """Say which engine made a store's newest features; None where no shard says so."""
    names = {*store.catalogue.shards, *store.unknown_shards()}
    there = [path for path in store.shards_folder.glob("*.h5") if path.name in names]
    for path in sorted(there, key=_when_made, reverse=True)[:FEW]:
        try:
            engine = engine_of(read_header(path).engine)
        except (ShardError, KeyError):  # `verify` tells of it; it must not stop a night
            continue
        if engine is not None:
            return engine
    return None


def _when_made(path: Path) -> tuple[str, int]:
    """Order shards by the second in their names, and those of one second as the files are."""
    return path.name.partition("-")[0], path.stat().st_mtime_ns

"""Export for Hugging Face `datasets`: a folder that `load_dataset` opens, one row an utterance.

The columns' types stand twice: in each file's metadata, and in the data card's front matter, which
the hub shows and `load_dataset` checks. Lists are called by their older name there (sequence), which
every version of `datasets` reads.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from features_cache.consolidated import TimedStack
from stages.sharing import headers
from stages.sharing.content import Content
from stages.sharing.format import Format
from stages.sharing.rights import terms_of
from stages.sharing.yaml_text import Value, to_yaml

FOLDER = "data"
SHARD_BYTES = 500_000_000
"""Features of one file; it holds at most one utterance more. The hub asks for files of this size."""

GROUP_BYTES = 32 * 1024 * 1024
GROUP_ROWS = 65_536
"""Bounds of one row group, held in memory at once: bytes of features, and rows of them."""

NO_LABEL = -1
"""What `datasets` takes for a missing class label."""

ENCODING = {
    "compression": "zstd",
    "use_dictionary": ["id", "corpus", "speaker", "session", "gender", "file"],
    "use_byte_stream_split": ["features.list.element.list.element"],
}
"""Numbers of features hardly repeat, but their bytes do, taken apart by place: a third smaller."""

_TEXTS = ("utterance_id", "corpus", "speaker", "session", "gender", "file")
_LICENCES = re.compile(
    r"cc0-1\.0|cc-by(-nc)?(-sa|-nd)?-(2\.0|2\.5|3\.0|4\.0)|apache-2\.0|mit|gpl-3\.0|odc-by|odbl|pddl"
)
"""Those of the hub's licence ids that corpora use."""


def write(content: Content, folder: Path) -> None:
    """Write files of at most about `SHARD_BYTES` of features into `FOLDER`."""
    (folder / FOLDER).mkdir()
    schema = _schema(content)
    shards = _shards(content)
    for i, numbers in enumerate(shards):
        path = folder / FOLDER / f"train-{i:05}-of-{len(shards):05}.parquet"
        with pq.ParquetWriter(path, schema, **ENCODING) as writer:
            for group in _groups(content, numbers):
                writer.write_table(_table(content, group, schema))


def _shards(content: Content) -> list[NDArray[np.int64]]:
    """Deal the utterances into files by what comes before each; their numbers, in order."""
    sizes = content.n_rows * (4 * content.feature_dim)
    shard = (np.cumsum(sizes) - sizes) // SHARD_BYTES
    return np.split(np.arange(len(sizes)), np.flatnonzero(np.diff(shard)) + 1)


def _groups(content: Content, numbers: Iterable[int]) -> Iterator[dict[int, TimedStack]]:
    """Read utterances; those of one row group at a time, by their numbers."""
    group_rows = min(GROUP_ROWS, GROUP_BYTES // (4 * content.feature_dim) + 1)
    group: dict[int, TimedStack] = {}
    n_rows = 0
    for number in numbers:
        group[number] = content.stack(number)
        n_rows += len(group[number][0])
        if n_rows >= group_rows:
            yield group
            group, n_rows = {}, 0
    if group:
        yield group


def _table(content: Content, group: Mapping[int, TimedStack], schema: pa.Schema) -> pa.Table:
    rows = content.manifest.iloc[list(group)]
    label_of = {name: i for i, name in enumerate(_labels(content))}
    features, starts, ends = zip(*group.values(), strict=True)
    offsets = np.cumsum([0, *map(len, features)], dtype=np.int32)
    values = np.concatenate([stack.astype(np.float32, copy=False).ravel() for stack in features])
    rows_of_features = pa.FixedSizeListArray.from_arrays(pa.array(values), content.feature_dim)
    columns = [
        *(pa.array([word or None for word in rows[name]], pa.string()) for name in _TEXTS),
        *(pa.array(rows[name], pa.float64(), from_pandas=True) for name in ("start", "end")),
        pa.array([label_of.get(name, NO_LABEL) for name in rows["emotion"]], pa.int64()),
        *(pa.ListArray.from_arrays(offsets, np.concatenate(times)) for times in (starts, ends)),
        pa.ListArray.from_arrays(offsets, rows_of_features),
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _labels(content: Content) -> list[str]:
    return [name for name in content.labels if name]


def _columns(content: Content) -> dict[str, tuple[pa.DataType, dict[str, Any]]]:
    """Type of each column: for Arrow, and as `datasets` writes it in YAML."""
    names: dict[str, Value] = {str(i): name for i, name in enumerate(_labels(content))}
    times = pa.list_(pa.float64())
    row = {"sequence": "float32", "length": content.feature_dim}
    return {
        **{name: (pa.string(), {"dtype": "string"}) for name in ("id", *_TEXTS[1:])},
        **{name: (pa.float64(), {"dtype": "float64"}) for name in ("start", "end")},
        "emotion": (pa.int64(), {"dtype": {"class_label": {"names": names}}}),
        **{name: (times, {"sequence": "float64"}) for name in ("segment_start", "segment_end")},
        "features": (pa.list_(pa.list_(pa.float32(), content.feature_dim)), {"sequence": row}),
    }


def _schema(content: Content) -> pa.Schema:
    columns = _columns(content)
    types = {name: _as_json(said) for name, (_, said) in columns.items()}
    metadata = {"huggingface": json.dumps({"info": {"features": types}}), **content.origin()}
    return pa.schema([(name, kind) for name, (kind, _) in columns.items()], metadata=metadata)


def _as_json(said: Any) -> dict[str, Any]:  # noqa: ANN401 - a text or a mapping, as YAML has it
    """Turn the type that the front matter states into the one that files state."""
    match said:
        case str():
            return {"dtype": said, "_type": "Value"}
        case {"dtype": {"class_label": {"names": names}}}:
            return {"names": list(names.values()), "_type": "ClassLabel"}
        case {"sequence": inner}:
            length = {key: said[key] for key in ("length",) if key in said}
            return {"feature": _as_json(inner), **length, "_type": "Sequence"}
        case _:
            return {"dtype": said["dtype"], "_type": "Value"}


def front_matter(content: Content) -> str:
    """Write what the hub and `load_dataset` read of a data card."""
    terms = terms_of(content.manifest["corpus"])
    licence = headers.licence(terms)
    is_known = bool(_LICENCES.fullmatch(licence.lower()))
    columns = _columns(content)
    card: dict[str, Value] = {
        "pretty_name": f"Features of {headers.names(terms)}",
        "license": licence.lower() if is_known else "other",
        "task_categories": ["audio-classification"],
        "tags": ["speech-emotion-recognition", "audio-features"],
        "size_categories": [_size(content.n_utterances)],
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": "train", "path": f"{FOLDER}/train-*"}],
            }
        ],
        "dataset_info": {
            "features": [{"name": name, **said} for name, (_, said) in columns.items()],
            "splits": [
                {
                    "name": "train",
                    "num_bytes": _bytes(content),
                    "num_examples": content.n_utterances,
                }
            ],
        },
    }
    languages: Mapping[str, Value] = {"language": headers.languages(terms)}
    named: Mapping[str, Value] = {"license_name": licence}
    return to_yaml(
        {
            **(languages if headers.languages(terms) else {}),
            **card,
            **(named if licence and not is_known else {}),
        }
    )


def _bytes(content: Content) -> int:
    """Count the bytes of all values, which `datasets` shows and never checks."""
    texts = sum(int(content.manifest[name].str.encode("utf-8").str.len().sum()) for name in _TEXTS)
    a_row, an_utterance = 4 * content.feature_dim + 8 + 8, 8 + 8 + 8
    return texts + an_utterance * content.n_utterances + a_row * int(content.n_rows.sum())


def _size(n: int) -> str:
    """Say how many utterances there are, in the hub's words."""
    steps = ["1K", "10K", "100K", "1M", "10M", "100M", "1B"]
    above = len(str(n)) - 3
    if above < 1:
        return "n<1K"
    return f"{steps[above - 1]}<n<{steps[above]}" if above < len(steps) else "n>1B"


FORMAT = Format(
    name="hf",
    files=(
        "data holds Parquet files, one row an utterance. Its emotion is a class label, -1 where "
        "there is none; other words that are not known are null. Its features are a list of rows, "
        "with their starts and ends in seconds of the utterance."
    ),
    snippet="""\
from pathlib import Path
from datasets import load_dataset

data = load_dataset(str(Path.cwd()), split="train").with_format("numpy")
features = data[0]["features"]
""",
    write=write,
    numbers="float32",
    front_matter=front_matter,
)

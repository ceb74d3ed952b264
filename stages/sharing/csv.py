"""Export to CSV (RFC 4180): one row a segment (or an utterance, where they are pooled)."""

import math
from pathlib import Path

from stages.sharing.content import Content
from stages.sharing.format import Format
from stages.sharing.number_text import comma_separated

FILE = "features.csv"
NUMBERS = ("segment", "segment_start", "segment_end")
"""Columns between the manifest's and the features."""


def write(content: Content, folder: Path) -> None:
    """Write `FILE`: UTF-8, commas, line feeds; texts stand in quotes, numbers do not.

    A missing end is an empty cell. Numbers have the shortest digits that read back the same.
    """
    rows = content.manifest.itertuples(index=False, name=None)
    with (folder / FILE).open("w", encoding="utf-8", newline="") as file:
        file.write(",".join([*content.manifest, *NUMBERS, *content.feature_names]) + "\n")
        for row, (features, start, end) in zip(rows, content.stacks(), strict=True):
            head = ",".join(map(_cell, row))
            times = zip(start.tolist(), end.tolist(), strict=True)
            texts = comma_separated(features)
            for segment, ((begins, ends), text) in enumerate(zip(times, texts, strict=True)):
                file.write(f"{head},{segment},{begins},{ends},{text}\n")


def _cell(value: str | float) -> str:
    if isinstance(value, str):
        # All of them, so that no reader takes a speaker named 08 for a number, or NA for nothing.
        return '"' + value.replace('"', '""') + '"'
    return "" if math.isnan(value) else str(value)  # NaN: an end that nobody has given


FORMAT = Format(
    name="csv",
    files="features.csv is a table; its last columns, from the 13th on, are the features. Names are "
    "texts, whatever they look like: a reader that is not told so takes NA for nothing and 08 for 8.",
    snippet="""\
import pandas as pd

texts = dict.fromkeys("utterance_id file speaker session gender emotion corpus".split(), str)
table = pd.read_csv("features.csv", dtype=texts, keep_default_na=False, na_values={"end": ""})
first = table[table["utterance_id"] == table["utterance_id"][0]]
features = first.iloc[:, 12:].to_numpy("float32")
""",
    write=write,
    numbers="text",
)

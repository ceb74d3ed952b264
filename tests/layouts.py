"""Files of a corpus in the layouts that the generic readers read."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

MADE = "no column 'utterance_id': made from file"
NOBODY = "no column 'speaker': left empty"
DB_YAML = """\
name: mydb
description: 'Line one: with colon

  line two # hash'
usage: research
languages: [deu]
schemes:
  emotion:
    dtype: str
    labels: [anger, neutral]
  speaker: {dtype: int, labels: speaker}
splits:
  train: {type: train}
tables:
  emotion:
    type: filewise
    columns:
      emotion: {scheme_id: emotion, rater_id: gold}
      emotion.confidence: {}
  files:
    type: filewise
    columns:
      duration: {scheme_id: duration}
      speaker: {scheme_id: speaker}
  segments:
    type: segmented
    split_id: train
    columns:
      mood: {scheme_id: emotion}
misc_tables:
  speaker:
    levels: {speaker: int}
    columns:
      gender: {scheme_id: gender}
"""


def touch(folder: Path, *files: str) -> None:
    for file in files:
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def write(folder: Path, file: str, text: str | bytes) -> Path:
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def table(folder: Path, file: str, rows: Sequence[Sequence[object]]) -> Path:
    path = write(folder, file, "")
    delimiter = "\t" if file.endswith(".tsv") else ","
    with path.open("w", newline="", encoding="utf-8") as lines:
        csv.writer(lines, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows(rows)
    return path


def cells(manifest: pd.DataFrame, *columns: str) -> list[list[object]]:
    values: list[list[object]] = manifest[list(columns)].to_numpy().tolist()
    return values


def audformat(folder: Path, header: str = DB_YAML) -> None:
    write(folder, "db.yaml", header)
    rows = [
        ["file", "emotion", "emotion.confidence"],
        ['a,"1".wav', "anger", "0.9"], ["b.wav", "", ""],
    ]  # fmt: skip
    table(folder, "db.emotion.csv", rows)
    rows = [
        ["file", "duration", "speaker"],
        ['a,"1".wav', "0 days 00:00:01.5", 3],
        ["b.wav", "", ""],
    ]
    table(folder, "db.files.csv", rows)
    rows = [
        ["file", "start", "end", "mood"],
        ["b.wav", "0 days 00:00:00.000000", "0 days 00:00:00.655000", "anger"],
        ["b.wav", "0 days 00:00:00.655000", "", "neutral"],
    ]  # fmt: skip
    table(folder, "db.segments.csv", rows)
    table(folder, "db.speaker.csv", [["speaker", "gender"], [3, "male"]])
    touch(folder, 'a,"1".wav', "b.wav")


def emobox(folder: Path, file: str, *rows: dict[str, object]) -> None:
    write(folder, file, "".join(json.dumps(row) + "\n" for row in rows))


def line(key: str, label: str, *, old: bool = False, **more: object) -> dict[str, object]:
    wav, emo = ("audio", "label") if old else ("wav", "emo")
    path = f"downloads/x/{key}.wav"
    named = {"key": f"x-{key}", "dataset": "x", wav: path, "type": "raw", "sample_rate": 16000}
    return {**named, "num_frame": 30045.0, "length": 1.8778, emo: label, "channel": 1, **more}

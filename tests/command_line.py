"""The command line called in this process, and nights on corpora of a few seconds."""

import json
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import soundfile

from pipeline.cli import main
from stages.dataset import load_dataset, select
from tests.hostile_audio import voice_like

__all__ = ["Answer", "Emostack", "FakeTraining", "command_line", "pages", "write_voices"]

COMMAND = [sys.executable, "-c", "from pipeline.cli import main; main()"]
"""The same in a process of its own."""


@dataclass
class Answer:
    """What a call of the command line gave."""

    status: int
    out: str
    err: str

    @property
    def fields(self) -> dict[str, Any]:
        """The one JSON object on stdout."""
        fields: dict[str, Any] = json.loads(self.out)
        return fields


Emostack = Callable[..., Answer]


def command_line(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Emostack:
    """Make a function that calls the command line with its words."""

    def call(*words: object) -> Answer:
        before = signal.getsignal(signal.SIGTERM)
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["emostack", *map(str, words)])
            capfd.readouterr()
            with pytest.raises(SystemExit) as stop:
                main()
        signal.signal(signal.SIGTERM, before)
        out, err = capfd.readouterr()
        return Answer(int(stop.value.code or 0), out, err)

    return call


class FakeTraining:
    """In place of a training, which takes half a minute: writes what the next night looks at."""

    def __init__(self) -> None:
        self.snapshots: list[int] = []

    def __call__(
        self,
        _session: object,
        workdir: Any,  # noqa: ANN401
        manifest: Any,  # noqa: ANN401
        _root: object,
        store: Any,  # noqa: ANN401
        recipe: Any,  # noqa: ANN401
        _options: object,
        *,
        title: str,
        provenance: dict[str, Any],
    ) -> dict[str, Any]:
        load_dataset(select(manifest, store), store, recipe.recipe_id)
        number = store.snapshot.number
        self.snapshots.append(number)
        run = workdir.new_run(title)
        uar = 50.0 + len(self.snapshots)
        document = {
            "title": title,
            "headline": "speaker",
            "evaluations": [{"name": "speaker", "metrics": {"uar_pooled": uar}}],
            "provenance": {"recipe_id": recipe.recipe_id, "snapshot": number, **provenance},
        }
        (run / "run.json").write_text(json.dumps(document), encoding="utf-8")
        return {
            "uar_pooled": uar,
            "uar_inductive": 40.0,
            "uar_interval": [40.0, 60.0],
            "report": str(run / "report.html"),
            "warning": "",
        }


def write_voices(folder: Path, names: list[str]) -> None:
    """Write a second or so of sound under each name, a different one for each."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        seed = int.from_bytes(name.encode()[-6:])
        soundfile.write(folder / f"{name}.wav", voice_like(0.5 + seed % 7 / 10, seed=seed), 16000)


def pages(workdir: Path) -> list[dict[str, Any]]:
    """All nights of a workdir, the oldest first."""
    found = [json.loads(p.read_text()) for p in sorted(workdir.glob("nights/*/night.json"))]
    return sorted(found, key=lambda night: (night["began"], night["night"]))

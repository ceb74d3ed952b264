"""The first command a newcomer types."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_the_demo_does_the_whole_job_without_weights_and_says_so(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from pipeline.cli import main; main()", "demo", "--json"]
    before = _untracked()
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={
            **os.environ,
            "KERAS_HOME": str(tmp_path / "keras"),
            "EMOSTACK_WORKDIR": str(tmp_path),
            "HTTPS_PROXY": "http://127.0.0.1:9",
            "https_proxy": "http://127.0.0.1:9",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    fields = json.loads(done.stdout)
    assert fields["weights"] == "random:0"
    assert fields["n_utterances"] == 192
    assert fields["uar"] > 50  # chance is 25
    assert "random" in fields["warning"]
    assert "synthetic" in fields["warning"]
    page = Path(fields["report"]).read_text(encoding="utf-8")
    assert "seeded random" in page
    assert "synthetic" in page
    assert Path(fields["workdir"]) == tmp_path
    assert "Traceback" not in done.stderr
    assert _untracked() == before


def _untracked() -> str:
    """What git does not know: a run writes nothing into the source tree."""
    status = subprocess.run(
        ["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return status.stdout

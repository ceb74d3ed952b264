"""Recordings that kill whoever reads them: the run goes on, and they are named."""

import json
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile

from features_cache.store import Store
from tests.hostile_audio import voice_like
from tests.small_job import Job, running, times_on_disk, wholeness, write_short_corpus


def read_from(pid: int) -> set[str]:
    """Names of the files that a process has open."""
    with suppress(OSError):
        return {str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir() if link.exists()}
    return set()


def kill_readers(process: subprocess.Popen[str], deadly: Path, killed: list[int]) -> None:
    """Kill -9 every worker that opens a file, as a machine without memory does."""
    while process.poll() is None:
        with suppress(psutil.Error):
            for child in psutil.Process(process.pid).children(recursive=True):
                if child.pid not in killed and str(deadly) in read_from(child.pid):
                    child.kill()
                    killed.append(child.pid)
        time.sleep(0.005)


@pytest.mark.slow
def test_a_recording_that_kills_its_worker_twice_is_given_up_and_the_rest_is_done(
    tmp_path: Path,
) -> None:
    job = Job(tmp_path / "job")
    job.manifest = write_short_corpus(job.audio, 24)
    deadly = job.audio / "u5.wav"
    soundfile.write(deadly, np.tile(voice_like(60.0), 30), 16000)  # half an hour: seconds of work
    killed: list[int] = []
    with running(*job.words(2)) as process:
        killer = threading.Thread(target=kill_readers, args=(process, deadly, killed))
        killer.start()
        out, err = process.communicate(timeout=240)
        killer.join()
    assert process.returncode == 3, err
    assert len(killed) == 2
    fields = json.loads(out)
    assert (fields["n_quarantined"], fields["n_left"]) == (1, 0)
    status = Store(job.store_folder).snapshot.rows().set_index("utterance_id")["status"]
    assert status["u5"] == "crashed"
    assert (status.drop("u5") == "live").all()
    assert set(times_on_disk(job.store_folder).values()) == {1}
    assert wholeness(job.store_folder) == []
    assert job.extract()["n_to_extract"] == 0
    assert job.extract(retry_quarantined=True)["n_retried"] == 1
    assert len(job.stacks()) == 24

"""One way of doing the work in a process of its own: it makes ready once, then runs whenever it is told.

So ways can take turns, none pays for another's imports, and each has a peak of memory that is its own.
What is asked and answered is a line of JSON each.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil

Action = Callable[[int], Mapping[str, float]]
"""Does the work once, on one of so many parts of it; gives what it came to, such as ``n_segments``."""

WARM_UP = 8
"""An eighth of the work is done before anything is timed."""

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""Environment of a process that is to compute on one core."""

LAUNCHER = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:])
_, status, usage = os.wait4(process.pid, 0)
print(usage.ru_maxrss, file=sys.stderr)
sys.exit(os.waitstatus_to_exitcode(status))
"""
"""Runs a command from a small process: to Linux, a child's peak is at least that of who forked it."""

Numbers = dict[str, float]


class Child:
    """A process that has made ready for a task.

    Parameters
    ----------
    script : whose ``__main__`` calls `serve`
    task : what it is to make ready for
    environment : variables to set for it

    Attributes
    ----------
    start_s : seconds until it was ready: imports, loading, compiling, a first run
    peak_mib : its peak memory, that of its own processes included; once it has been closed
    """

    peak_mib: float

    def __init__(
        self, script: Path, task: Mapping[str, Any], environment: Mapping[str, str] | None = None
    ) -> None:
        began = time.perf_counter()
        self._name = f"{script.name} {json.dumps(task)}"
        self._process = subprocess.Popen(
            [sys.executable, str(script), json.dumps(task)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        self.result()
        self.start_s = time.perf_counter() - began

    def begin(self) -> None:
        """Tell it to run once."""
        assert self._process.stdin is not None
        self._process.stdin.write("run\n")
        self._process.stdin.flush()

    def result(self) -> Numbers:
        """Wait for what it says next.

        Returns
        -------
        dict
            Of a run: ``seconds``, ``cpu_s`` and what the action gave.

        Raises
        ------
        RuntimeError
            It has ended instead.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            status = self._ended()
            message = f"{self._name} ended with status {status}; expected a result; see above"
            raise RuntimeError(message)
        answer: Numbers = json.loads(line)
        return answer

    def run(self) -> Numbers:
        """Run once, and wait for the result."""
        self.begin()
        return self.result()

    def close(self) -> None:
        """End it, in good order."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self.peak_mib = self.result()["peak_mib"]
        self._ended()

    def kill(self) -> None:
        """End it whatever it is doing; its own processes see that and end, too."""
        self._process.kill()
        self._ended()

    def _ended(self) -> int:
        with self._process as process:  # which closes its pipes
            return process.wait()


@contextmanager
def children() -> Iterator[Callable[..., Child]]:
    """Give what starts a `Child`; all are ended with the block, and killed where the block fails."""
    started: list[Child] = []

    def start(*args: Any, **more: Any) -> Child:  # noqa: ANN401 - a child's own
        started.append(Child(*args, **more))
        return started[-1]

    try:
        yield start
        for child in started:
            child.close()
    except BaseException:
        for child in started:
            child.kill()
        raise


def serve(make_ready: Callable[[dict[str, Any]], Action]) -> None:
    """Be the child: make ready, warm up, then run and be timed for every line that comes.

    Parameters
    ----------
    make_ready : a task's fields to what is to be timed
    """
    # What libraries print must not get among the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(answer: Numbers) -> None:
        print(json.dumps(answer), file=answers, flush=True)

    action = make_ready(json.loads(sys.argv[1]))
    action(WARM_UP)
    say({})
    for _ in sys.stdin:
        say(timed(action))
    say({"peak_mib": sum(peak_mib_of(pid) for pid in (os.getpid(), *_children()))})


def timed(action: Action) -> Numbers:
    """Run an action once; what it gave, with its seconds by the clock and by the processors."""
    began, cpu_began = time.perf_counter(), _cpu_s()
    came_to = action(1)
    seconds, cpu_s = time.perf_counter() - began, _cpu_s() - cpu_began
    return {**came_to, "seconds": seconds, "cpu_s": cpu_s}


def ratio(values: list[float], others: list[float], digits: int = 2) -> str:
    """Median and range of round by round ratios, such as ``0.91 (0.90 to 0.93)``."""
    ratios = np.asarray(values) / np.asarray(others)
    low, middle, high = (f"{of(ratios):.{digits}f}" for of in (np.min, np.median, np.max))
    return middle if len(ratios) == 1 else f"{middle} ({low} to {high})"


def print_table(heads: list[str], rows: list[list[str]]) -> None:
    """Print Markdown, its columns aligned."""
    lines = [heads, ["---"] * len(heads), *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(heads))]
    for line in lines:
        cells = (text.ljust(width) for text, width in zip(line, widths, strict=True))
        print("| " + " | ".join(cells) + " |")
    print()


def _cpu_s() -> float:
    """Processor seconds of this process and of those that it has started."""
    used = time.process_time()
    for pid in _children():
        times = psutil.Process(pid).cpu_times()
        used += times.user + times.system
    return used


def _children() -> list[int]:
    return [child.pid for child in psutil.Process().children(recursive=True)]


def cost_of(command: Sequence[str]) -> tuple[float, float, str]:
    """Run a command: seconds, peak RSS in MiB, and what it printed."""
    began = time.perf_counter()
    words = [sys.executable, "-S", "-c", LAUNCHER, *command]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}: {done.stderr}")
    return seconds, int(done.stderr.split()[-1]) / 1024, done.stdout


def peak_mib_of(pid: int) -> float:
    """Read the high-water mark of a process: `ru_maxrss` would count what it was forked from."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    match = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(match[1]) / 1024 if match else 0.0

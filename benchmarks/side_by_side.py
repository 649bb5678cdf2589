"""Run two ways in turn and compare them in a table.

Machines are noisy, and their speed drifts: quote only ratios within pairs of successive runs. Times
are for whole processes, unless a process prints `seconds X`. Linux only.
"""

import argparse
import contextlib
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from threadpoolctl import threadpool_limits

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # for all benchmarks: each imports this file first

from dataset.make_lists import write_lists

Cost = tuple[float, float]  # seconds, peak memory in MB (0: not measured)
COLUMNS = ("what", "the tutorial's way", "ours", "ratio (from to)", "peak memory, both")


def run(arguments: Sequence[object]) -> Cost:
    """Run Python and measure it. Raises `RuntimeError` with the output if it fails."""
    with tempfile.TemporaryFile() as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *map(str, arguments)], cwd=ROOT, stdout=output, stderr=output
        )
        _, status, usage = os.wait4(process.pid, 0)  # `resource` only knows all children together
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read().decode()
    if process.returncode:
        raise RuntimeError(text)
    printed = [line for line in text.splitlines() if line.startswith("seconds ")]
    return float(printed[-1].split()[1]) if printed else seconds, usage.ru_maxrss / 1e3


@contextlib.contextmanager
def limit_cores(count: int) -> Iterator[None]:
    """Limit processes started inside `with` to `count` cores (0: all)."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[: count or None])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def compare(
    what: str, taught: Callable[[], Cost], ours: Callable[[], Cost], runs: int
) -> tuple[str, ...]:
    """Run `taught()` and `ours()` in turn and return a row; the first pair does not count."""
    pairs = [(taught(), ours()) for _ in range(runs + 1)][1:]
    ratios = [a[0] / b[0] for a, b in pairs]
    seconds = [statistics.median(run[0] for run in way) for way in zip(*pairs)]
    peaks = [max(run[1] for run in way) for way in zip(*pairs)]
    row = (
        what,
        *(f"{s:.2f} s" if s > 0.1 else f"{1000 * s:.2f} ms" for s in seconds),
        f"**{statistics.median(ratios):.2f}** ({min(ratios):.2f} to {max(ratios):.2f})",
        " / ".join(f"{peak:.0f} MB" for peak in peaks) if all(peaks) else "",
    )
    print(" | ".join(row), file=sys.stderr, flush=True)
    return row


def compare_calls(
    what: str,
    theirs: Callable[[], object],
    ours: Callable[[], object],
    runs: int,
    threads: int | None = None,
) -> tuple[str, ...]:
    """Call two functions in turn in this process and return a row, without memory."""

    def measure(function: Callable[[], object]) -> Cost:
        began = time.perf_counter()
        function()
        return time.perf_counter() - began, 0

    with threadpool_limits(threads):
        return compare(what, lambda: measure(theirs), lambda: measure(ours), runs)[:4]


def make_parser(text: str, runs: int) -> argparse.ArgumentParser:
    """Return a parser for the flags of a benchmark: `--runs`."""
    parser = argparse.ArgumentParser(description=text.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=runs, help=f"pairs that count [{runs}]")
    return parser


def table(rows: Sequence[Sequence[str]], columns: Sequence[str] = COLUMNS) -> str:
    """Return rows of text as a Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def machine() -> str:
    """Describe this machine."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = (line.split(": ")[1] for line in lines if line.startswith("model name"))
    cpu = next(models, platform.machine())  # processors other than x86 have no model name
    return f"{cpu}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"


def call_in_process(function: Callable[..., object], *arguments: Any) -> None:
    """Call a function in a new process, so that its memory does not affect later measurements."""
    process = multiprocessing.get_context("spawn").Process(target=function, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError(f"{function.__name__}{arguments} failed: see above")


def synthesize(
    folder: Path, count: int, rate: int = 22050, channels: int = 1, kind: str = "wav"
) -> None:
    """Write a data set of `count` different tracks of 30 s: a tone, an overtone and noise."""
    rng = np.random.default_rng(0)
    (folder / "noise").mkdir(parents=True)
    t = np.arange(30 * rate)[:, None] / rate  # (samples, 1)
    noise = rng.standard_normal((30 * rate, channels))
    names = [f"noise/noise.{i:05d}.{kind}" for i in range(count)]
    for index, name in enumerate(names):
        hz = rng.uniform(100, 900)
        y = 0.2 * np.sin(2 * np.pi * hz * t) + 0.1 * np.sin(6 * np.pi * hz * t)
        y = y + 0.05 * np.roll(noise, 1000 * index, axis=0)  # (samples, channels)
        soundfile.write(folder / name, y, rate)
    lists = {"train": names[:-2], "valid": names[-2:-1], "test": names[-1:]}
    write_lists(folder, lists, force=True)

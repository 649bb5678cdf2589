"""What the benchmarks share: two ways run in turn, as processes of their own, and a table.

Machines are noisy and drift: only the ratio within a pair of neighbouring runs is worth quoting.
Times are of whole processes unless the process itself prints `seconds X`. Linux only.
"""

import contextlib
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

ROOT = Path(__file__).resolve().parent.parent
COLUMNS = ("what", "the tutorial's way", "ours", "ratio (from to)", "peak memory, both")


def run(arguments):
    """Run Python with these arguments: (seconds, peak memory in MB).

    Raises `RuntimeError` with what it printed where it fails.
    """
    with tempfile.TemporaryFile() as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *map(str, arguments)], cwd=ROOT, stdout=output, stderr=output
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read().decode()
    if process.returncode:
        raise RuntimeError(text)
    told = [line for line in text.splitlines() if line.startswith("seconds ")]
    megabytes = usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
    return (float(told[-1].split()[1]) if told else seconds), megabytes


@contextlib.contextmanager
def cores(count):
    """Have the processes started meanwhile use `count` cores; 0 means all."""
    if not count:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def compare(what, taught, ours, runs):
    """A row of the table: `taught()` and `ours()` in turn, after one pair that does not count.

    Each gives (seconds, peak memory in MB).
    """
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


def table(rows, columns=COLUMNS):
    """Rows of text as a Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def machine():
    """What the figures were measured on."""
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").is_file():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.split(": ")[1] for line in lines if line.startswith("model name")), cpu)
    return f"{cpu}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"


def apart(function, *arguments):
    """Call a function in a process of its own, whose memory is not counted with what follows."""
    process = multiprocessing.get_context("spawn").Process(target=function, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError(f"{function.__name__}{arguments} failed: see above")


def synthesize(folder, count, rate=22050, channels=1, kind="wav"):
    """A data set of `count` tracks of 30 s: a tone, its overtones and noise, no two alike."""
    rng = np.random.default_rng(0)
    (folder / "noise").mkdir(parents=True)
    t = np.arange(30 * rate)[:, None] / rate
    noise = rng.standard_normal((30 * rate, channels))
    names = [f"noise/noise.{i:05d}.{kind}" for i in range(count)]
    for index, name in enumerate(names):
        hz = rng.uniform(100, 900)
        y = 0.2 * np.sin(2 * np.pi * hz * t) + 0.1 * np.sin(6 * np.pi * hz * t)
        y = y + 0.05 * np.roll(noise, 1000 * index, axis=0)
        soundfile.write(folder / name, y, rate)
    parts = {"train": names, "valid": names[-2:-1], "test": names[-1:]}
    parts["train"] = names[:-2] or names
    write_lists(folder, parts)


def write_lists(folder, parts):
    """Write the lists of a data set: {"train": ["genre/track.wav", ...], ...}."""
    for split, names in parts.items():
        text = "".join(f"{name}\n" for name in names)
        (folder / f"{split}_list.txt").write_text(text, encoding="utf-8")

"""Runs every benchmark and writes RESULTS.md beside this file.

python benchmarks/run.py
"""

import sys
from pathlib import Path

import bench_extraction
import bench_loading
import bench_training
from side_by_side import ROOT, machine

sys.path.insert(0, str(ROOT))
from manifest import write_text

HEAD = f"""# Benchmarks

Made by `make bench` on {machine()}. Each pair of runs is one of the tutorial's way, kept as plain
as its slides, and one of ours, right after each other; the figures are medians over the pairs, the
ratio is the median of the pairs' ratios. Data are synthesized. Times differ from machine to machine
and from minute to minute: quote the ratios.
"""


def main():
    """Write RESULTS.md once all of them are through."""
    parts = [bench.main([]) for bench in (bench_extraction, bench_loading, bench_training)]
    write_text(Path(__file__).with_name("RESULTS.md"), "\n".join([HEAD, *parts]))


if __name__ == "__main__":
    main()

"""A query of `retrieve.py` against a plain one: in process, a million random embeddings of 128.

    python benchmarks/bench_retrieval.py

The plain way holds all embeddings in memory and sorts all cosines; ours maps them from disk, in the
system's cache after the first query, and keeps the ten nearest of each block.
"""

import argparse
import functools
import sys
import tempfile
from pathlib import Path

import numpy as np
from bench_extraction import seconds
from side_by_side import ROOT, compare, table

sys.path.insert(0, str(ROOT))

from training.index import nearest

SIZE, VALUES, COUNT = 1_000_000, 128, 10


def synthesize(path):
    """Random embeddings (SIZE, VALUES) of length 1, float32, into a file; returns one of them."""
    rng = np.random.default_rng(0)
    made = np.lib.format.open_memmap(path, "w+", np.float32, (SIZE, VALUES))
    for start in range(0, SIZE, 100_000):
        block = rng.standard_normal((100_000, VALUES), dtype=np.float32)
        made[start : start + 100_000] = block / np.linalg.norm(block, axis=1, keepdims=True)
    return np.array(made[SIZE // 2])


def sort_all(embeddings, query):
    """The plain way: rows of the nearest, best first."""
    return np.argsort(embeddings @ query)[::-1][:COUNT]


def main(argv=None):
    """The report as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=10, help="pairs that count [10]")
    runs = parser.parse_args(argv).runs
    with tempfile.TemporaryDirectory() as folder:
        query = synthesize(Path(folder, "embeddings.npy"))
        mapped = np.load(Path(folder, "embeddings.npy"), mmap_mode="r")
        held = np.array(mapped)
        if nearest(query, mapped, COUNT)[0].tolist() != sort_all(held, query).tolist():
            raise RuntimeError("the two ways find different tracks")
        plain = functools.partial(seconds, sort_all, held, query)
        ours = functools.partial(seconds, nearest, query, mapped, COUNT)
        row = compare(f"{SIZE:,} embeddings of {VALUES}", plain, ours, runs)
    columns = ("what", "the plain way", "ours", "ratio (from to)")
    return (
        f"## Retrieval\n\nThe {COUNT} nearest, exactly, in process; {runs} pairs.\n\n"
        f"{table([row[:4]], columns)}\n"
    )


if __name__ == "__main__":
    print(main(), end="")

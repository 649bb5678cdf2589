"""Compare a search by `retrieve.py` with a plain one, in a million random embeddings.

    python benchmarks/bench_retrieval.py

The plain way holds all embeddings in memory and sorts all cosines. Ours maps them from disk (they
are in the system's cache after the first search) and keeps the ten nearest of each block.
"""

import tempfile
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from side_by_side import compare_calls, make_parser, table

from training.index import nearest

SIZE, VALUES, COUNT = 1_000_000, 128, 10


def synthesize(path: Path) -> NDArray[np.float32]:
    """Write random embeddings (SIZE, VALUES) of length 1 to a file; return one: (VALUES,)."""
    rng = np.random.default_rng(0)
    made = np.lib.format.open_memmap(path, "w+", np.float32, (SIZE, VALUES))
    for start in range(0, SIZE, 100_000):  # in blocks, since all need 512 MB
        block = rng.standard_normal((100_000, VALUES), dtype=np.float32)
        made[start : start + 100_000] = block / np.linalg.norm(block, axis=1, keepdims=True)
    return np.array(made[SIZE // 2])


def sort_all(embeddings: NDArray[np.float32], query: NDArray[np.float32]) -> NDArray[np.intp]:
    """Return the rows of the nearest embeddings, best first, the plain way."""
    return np.argsort(embeddings @ query)[::-1][:COUNT]


def main() -> str:
    """Return the report as Markdown."""
    runs = make_parser(__doc__, runs=10).parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        query = synthesize(Path(folder, "embeddings.npy"))
        mapped = np.load(Path(folder, "embeddings.npy"), mmap_mode="r")
        held = np.array(mapped)
        if nearest(query, mapped, COUNT)[0].tolist() != sort_all(held, query).tolist():
            raise RuntimeError("the two ways find different tracks")
        plain, ours = partial(sort_all, held, query), partial(nearest, query, mapped, COUNT)
        row = compare_calls(f"{SIZE:,} embeddings of {VALUES}", plain, ours, runs)
    columns = ("what", "the plain way", "ours", "ratio (from to)")
    return (
        f"## Retrieval\n\nThe {COUNT} nearest, exactly, in process; {runs} pairs.\n\n"
        f"{table([row], columns)}\n"
    )


if __name__ == "__main__":
    print(main(), end="")

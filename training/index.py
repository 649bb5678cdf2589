"""Search for similar tracks: the index to search, and the embeddings nearest to a query."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from support.errors import UserError
from support.files import hash_file, newest, place_name
from training.checkpoint import model_code
from training.index_files import (
    LINES,
    EmbeddingModel,
    Index,
    find_difference,
    index_command,
    read_index,
)
from training.trained_run import TrainedRun

BLOCK_ROWS = 1 << 16  # embeddings compared at once: a large index need not fit in memory


def index_folder(weights: Path, collection: str | Path) -> Path:
    """Where a run keeps its index of a folder."""
    return weights.parent / "index" / place_name(collection)


def embedding_model(run: TrainedRun) -> EmbeddingModel:
    """Identify the model of a run. Raises `UserError` if it has no `embed`."""
    chunk = np.zeros((1, run.hparams.chunk_length, run.hparams.num_bins), dtype=np.float32)
    return EmbeddingModel(hash_file(run.weights), model_code(), run.embed(chunk).shape[1])


def choose_index(run: TrainedRun, collection: str | None) -> Index:
    """The `Index` of a folder, or the run's newest if `collection` is None.

    Raises `UserError`, with the command to run, if there is none or another model made it.
    """
    found = newest(run.weights.parent.glob(f"index/*/{LINES}"))
    folder = index_folder(run.weights, collection) if collection else found and found.parent
    index = folder and read_index(folder)
    if not index:
        which = f"of {collection}" if collection else "yet"
        command = index_command(run.weights.parent, collection or "FOLDER")
        raise UserError(f"{run.weights.parent} has no index {which}: run `{command}`")
    if difference := find_difference(index, embedding_model(run)):
        command = index_command(run.weights.parent, index.collection)
        raise UserError(f"the index {folder} was made with {difference}: run `{command}` again")
    return index


def nearest(
    query: NDArray, embeddings: NDArray, count: int, excluded: Iterable[int] = ()
) -> tuple[NDArray, NDArray]:
    """Find the `count` embeddings most similar to a query, by comparing with all of them.

    `query` (values,) and the rows of `embeddings` (tracks, values) have length 1. Returns rows and
    cosines (found,), the most similar first and equal ones by row, without those `excluded`.

    >>> rows, cosines = nearest(np.array([0, 1]), np.array([[1, 0], [0.6, 0.8], [0, 1]]), 1, [2])
    >>> rows.tolist(), cosines.round(2).tolist()
    ([1], [0.8])
    """
    excluded = list(excluded)
    rows, cosines = np.zeros(0, dtype=int), np.zeros(0, dtype=np.float32)
    for start in range(0, len(embeddings), BLOCK_ROWS):
        found = embeddings[start : start + BLOCK_ROWS] @ query  # (block, values) -> (block,)
        found[[row - start for row in excluded if start <= row < start + BLOCK_ROWS]] = -np.inf
        best = np.argpartition(-found, min(count, len(found)) - 1)[:count]
        rows, cosines = np.append(rows, start + best), np.append(cosines, found[best])
        order = np.lexsort((rows, -cosines))[:count]
        rows, cosines = rows[order], cosines[order]
    real = np.isfinite(cosines)
    return rows[real], cosines[real]


def rows_of_file(path: str | Path, index: Index) -> list[int]:
    """Rows of an index that have this file's path or its content."""
    target, content, name = Path(path).resolve(), hash_file(path), None
    if target.is_relative_to(index.collection):
        name = target.relative_to(index.collection).as_posix()
    entries = enumerate(index.tracks)
    return [row for row, entry in entries if entry["name"] == name or entry["hash"] == content]

"""Search for similar tracks: embeddings of a folder on disk, and the nearest to a query.

An index is in the folder of the run that made it. It records hashes of the weights and of model.py,
since embeddings by different models cannot be compared.
"""

import contextlib
import hashlib
import json
import os
import posixpath
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from support.errors import UserError
from support.files import hash_file, newest, source_state, write_atomic, write_text
from support.flags import command_line
from training.checkpoint import model_code
from training.trained_run import TrainedRun

BLOCK_ROWS = 1 << 16  # embeddings compared at once: a large index need not fit in memory
ENTRY_TYPES = {"name": str, "size": int, "mtime_ns": int, "hash": str}

Entry = dict[str, Any]  # a track in an index, with the keys of ENTRY_TYPES
Embedded = dict[str, tuple[Entry, NDArray]]  # name -> entry and embedding (values,)


class Index(NamedTuple):
    """Entries and embeddings (tracks, values) of a folder's tracks; embeddings have length 1.

    `checkpoint` and `code` are hashes of the run's weights and of model.py.
    """

    collection: str
    checkpoint: str
    tracks: list[Entry]
    embeddings: NDArray
    code: str = ""  # indexes of an older version lack it


class EmbeddingModel(NamedTuple):
    """Identifies a model: hashes of the weights and of model.py, and the embedding's length."""

    checkpoint: str
    code: str
    values: int


def index_folder(weights: Path, collection: str | Path) -> Path:
    """Where a run keeps its index of a folder."""
    path = Path(collection).resolve()
    code = hashlib.sha256(os.fsencode(path)).hexdigest()[:8]  # folders can share a name
    return weights.parent / "index" / f"{path.name}-{code}"


def read_index(folder: Path) -> Index | None:
    """The `Index` in a folder, with embeddings mapped from disk; None if it has none.

    Raises `UserError` if it is damaged.
    """
    try:
        return load_index(folder)
    except UserError:  # another command can replace the embeddings between our two reads
        return load_index(folder)


def load_index(folder: Path) -> Index | None:
    """Read an index as `read_index` does, but only once."""
    path = folder / "index.json"
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        file = folder / posixpath.basename(values.pop("embeddings"))
        index = Index(**values, embeddings=np.load(file, mmap_mode="r", allow_pickle=False))
        typed = all(
            isinstance(entry[key], kind)
            for entry in index.tracks
            for key, kind in ENTRY_TYPES.items()
        )
        if not typed or index.embeddings.shape[:-1] != (len(index.tracks),):
            raise ValueError("entries and embeddings do not match")
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path} is damaged ({error}): delete {folder} and index again") from error
    return index


def write_index(folder: Path, collection: str, model: EmbeddingModel, known: Embedded) -> None:
    """Write the index of `known` tracks."""
    entries, vectors = zip(*(known[name] for name in sorted(known)))
    embeddings = np.stack(vectors)  # (tracks, values)
    # embeddings first, with a new name, then index.json with that name: readers always find both
    path = folder / f"embeddings-{hashlib.sha256(embeddings.data).hexdigest()[:16]}.npy"
    write_atomic(path, lambda file: np.save(file, embeddings))
    values = {
        "collection": collection,
        "checkpoint": model.checkpoint,
        "tracks": entries,
        "embeddings": path.name,
        "code": model.code,
    }
    write_text(folder / "index.json", json.dumps(values, indent=0, ensure_ascii=False))
    delete_embeddings(folder, keep=path)


def delete_index(folder: Path) -> None:
    """Delete an index whose tracks are all gone, and print that."""
    path = folder / "index.json"
    if path.exists():
        print(f"the index {folder} is deleted: none of its tracks is left")
        path.unlink()
    delete_embeddings(folder)


def delete_embeddings(folder: Path, keep: Path | None = None) -> None:
    """Delete all files of embeddings in an index's folder except `keep`."""
    for path in folder.glob("embeddings-*.npy"):
        if path != keep:
            with contextlib.suppress(OSError):  # on Windows, while a search has it open
                path.unlink()


def embedding_model(run: TrainedRun) -> EmbeddingModel:
    """Identify the model of a run. Raises `UserError` if it has no `embed`."""
    chunk = np.zeros((1, run.hparams.chunk_length, run.hparams.num_bins), dtype=np.float32)
    return EmbeddingModel(hash_file(run.weights), model_code(), run.embed(chunk).shape[1])


def find_difference(index: Index, model: EmbeddingModel) -> str:
    """Which other model made an index, in words; empty if this one did."""
    if index.checkpoint != model.checkpoint:
        return "another checkpoint"
    same = (index.code, index.embeddings.shape[1]) == (model.code, model.values)
    return "" if same else "another version of model.py"


def unchanged_tracks(folder: Path, model: EmbeddingModel, paths: dict[str, Path]) -> Embedded:
    """The tracks in an index whose files, in `paths` by name, have not changed since.

    Returns nothing, and prints why, if the index is damaged or another model made it.
    """
    try:
        index = read_index(folder)
    except UserError as error:
        print(f"*** {error}: all tracks are embedded again")
        return {}
    if index is None:
        return {}
    if difference := find_difference(index, model):
        print(f"the index was made with {difference}: all tracks are embedded again")
        return {}
    vectors = np.array(index.embeddings)  # into memory: the next write deletes the file
    return {
        entry["name"]: (entry, vector)
        for entry, vector in zip(index.tracks, vectors)
        if entry["name"] in paths and source_state(paths[entry["name"]]).items() <= entry.items()
    }


def choose_index(run: TrainedRun, collection: str | None) -> Index:
    """The `Index` of a folder, or the run's newest if `collection` is None.

    Raises `UserError`, with the command to run, if there is none or another model made it.
    """
    found = newest(run.weights.parent.glob("index/*/index.json"))
    folder = index_folder(run.weights, collection) if collection else found and found.parent
    index = folder and read_index(folder)
    words = ("python", "retrieve.py", "--run", run.weights.parent, "--index")
    if not index:
        which = f"of {collection}" if collection else "yet"
        command = command_line(*words, collection or "FOLDER")
        raise UserError(f"{run.weights.parent} has no index {which}: run `{command}`")
    if difference := find_difference(index, embedding_model(run)):
        command = command_line(*words, index.collection)
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

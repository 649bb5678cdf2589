"""Embeddings of the chunks of extracted tracks, computed once and kept in the feature folder.

`embeddings/<key>.jsonl` there has one line per track, with the hash of its features, its embeddings
and a checksum. The key is a hash of everything else that embeddings depend on. A line is appended
when its track is finished, so a killed command loses at most one. Damaged lines are computed again.
"""

import base64
import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from audio.chunks import cut_chunks
from hparams import HParams
from support.errors import UserError
from support.files import json_line, lock, parse_lines
from tracks.catalog import Track, read_chunks
from training.build import last_layer, try_model
from training.checkpoint import model_code
from training.trained_run import TrainedRun

Embeddings = dict[str, NDArray[np.float32]]  # (chunks, values), by the hash of a track's features


def track_embeddings(
    tracks: Sequence[Track], run: TrainedRun, hparams: HParams
) -> list[NDArray[np.float32]]:
    """The embeddings of each track's chunks that count: float32 (chunks, values) for each track.

    `hparams` are the settings of the tracks' features. Raises `UserError` if a feature file is
    damaged, or if the model has no `embed` or gives values that are not finite.
    """
    path = hparams.feature_folder() / "embeddings" / f"{embedding_key(run, hparams)}.jsonl"
    embeddings = read_embeddings(path)
    if find_missing(tracks, embeddings):
        busy = f"{path}: another command is computing these embeddings; waiting until it ends"
        with lock(path.with_suffix(".lock"), busy, wait=True, delete=True):
            embeddings = read_embeddings(path)
            if missing := find_missing(tracks, embeddings):  # unless another command added them
                embeddings |= add_embeddings(path, missing, run, hparams)
    return [embeddings[track.entry["hash"]] for track in tracks]


def embedding_key(run: TrainedRun, hparams: HParams) -> str:
    """Hash what the embeddings of a run depend on, apart from the features of a track."""
    names, weights = last_layer(run.hparams), run.model.state_dict()
    own = run.hparams
    settings = [own.model, own.precision, own.embedding, run.device.type, hparams.fingerprint()]
    digest = hashlib.sha256(json.dumps([settings, run.mean, run.std, model_code()]).encode())
    for name in sorted(weights.keys() - names):
        digest.update(name.encode())
        # bytes of any type of number
        digest.update(weights[name].cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:32]


def find_missing(tracks: Sequence[Track], embeddings: Embeddings) -> dict[str, Track]:
    """The tracks without embeddings, by the hash of their features."""
    hashed = {track.entry["hash"]: track for track in tracks}
    return {key: track for key, track in hashed.items() if key not in embeddings}


def read_embeddings(path: Path) -> Embeddings:
    """Read a file of embeddings, leaving out damaged lines; empty if there is no file."""
    embeddings = Embeddings()
    if not path.exists():
        return embeddings
    with open(path, "rb") as file:
        for line in file:
            if entry := parse_lines([line.removesuffix(b"\n")])[0]:
                values = np.frombuffer(base64.b64decode(entry["values"]), "<f4")
                embeddings[entry["hash"]] = values.reshape(entry["chunks"], -1)
    return embeddings


def add_embeddings(
    path: Path, tracks: dict[str, Track], run: TrainedRun, hparams: HParams
) -> Embeddings:
    """Compute the embeddings of tracks and append them to a file."""
    began, added = time.monotonic(), Embeddings()
    shape = 1, run.hparams.chunk_length, run.hparams.num_bins
    try_model(run.model, torch.zeros(shape, device=run.device))  # chooses the faster layout
    with open(path, "ab") as file:
        if file.tell():
            file.write(b"\n")  # ends the line of a command that was killed
        for key, track in tqdm(tracks.items(), desc="Embed", unit=" tracks", disable=None):
            added[key] = embed_rows(track, run, hparams)
            text = base64.b64encode(added[key].astype("<f4").data).decode()
            file.write(json_line({"hash": key, "chunks": track.chunks, "values": text}))
            file.flush()
    print(f"{len(added)} tracks embedded in {time.monotonic() - began:.1f} s: {path}")
    return added


def embed_rows(track: Track, run: TrainedRun, hparams: HParams) -> NDArray[np.float32]:
    """Embed the chunks of a track that count: (chunks, values)."""
    # (chunks, chunk_length, bins) -> (rows, bins): cut again, into the batches of predicting
    rows = read_chunks(track, hparams).reshape(-1, hparams.num_bins)
    values = np.concatenate([run.embed(chunks) for chunks, _ in cut_chunks([rows], hparams)])
    if not np.isfinite(values).all():
        raise UserError(f"{track.name}: its embedding by {run.weights} is not finite: train again")
    return values

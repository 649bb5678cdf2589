"""How well a run classifies test tracks whose audio is degraded: MP3, noise, a room and so on."""

import hashlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from audio.chunks import kept_samples, waveform_chunks
from audio.degradations import DEGRADATIONS
from audio.reading import load_track
from support.errors import UserError
from support.parallel import run_jobs
from tracks.catalog import Catalog
from tracks.lists import source_path
from training.tasks import Report
from training.trained_run import TrainedRun


def check_audio(catalog: Catalog) -> None:
    """Raise `UserError` if the audio of test tracks is gone."""
    paths = [source_path(catalog.hparams, track.name) for track in catalog.splits["test"]]
    if gone := [path for path in paths if not path.is_file()]:
        raise UserError(
            f"--robustness: {len(gone)} test tracks have no audio, such as {gone[0]}: put it back, "
            "or leave the flag out"
        )


def measure_robustness(
    folder: Path, device: torch.device, catalog: Catalog, report: Report
) -> Report:
    """Return the scores of a run by degradation of the test tracks, or why one has none."""
    run, tracks = TrainedRun(folder / "best.pt", str(device)), catalog.splits["test"]
    labels = np.array([track.label for track in tracks])  # (tracks,), or (tracks, tags)
    not_learned = report.get("left_out", {}).get("train", ())
    found: Report = {}
    for name in DEGRADATIONS:
        jobs = [(name, track.name) for track in tracks]
        try:
            rows = run_jobs(
                lambda job: predict_degraded(*job, run, catalog),
                jobs,
                run.hparams.num_workers,
                name,
            )
            shares = np.stack(list(rows))  # (tracks, classes)
        except UserError as error:
            found[name] = str(error)
            continue
        scores = run.task.score(
            shares, labels, np.arange(len(tracks)), run.hparams.classes, not_learned
        )
        found[name] = {key: scores[key] for key in run.task.valid_scores if key != "chunk_accuracy"}
    return found


def predict_degraded(degradation: str, track: str, run: TrainedRun, catalog: Catalog) -> NDArray:
    """Return the probabilities (classes,) of a degraded track."""
    path, length = source_path(catalog.hparams, track), kept_samples(run.hparams)
    digest = hashlib.sha256(f"{run.hparams.seed}\n{track}".encode()).digest()
    seed = int.from_bytes(digest[:8])  # the same for a track in any order

    def degrade(y: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
        return DEGRADATIONS[degradation](y, rate, seed)

    y = load_track(path, run.hparams, length, degrade).y
    return run.predict(waveform_chunks([y], path, run.hparams)).mean(0, dtype=np.float64)

"""Classical baselines: one vector of feature statistics per track, and a standard classifier.

    python classic.py --dataset_path dataset/demo --feature mfcc
    python classic.py --dataset_path dataset/demo --feature mfcc --model svm
    python classic.py --dataset_path dataset/demo --model dictionary
    python classic.py --dataset_path dataset/demo --init_from musicnn-msd

The first three are the tutorial's (a) summarized MFCC with standard classifiers, and (b) log-mel
with a dictionary that is learned without labels. Both work with any feature except the waveform.
The last one classifies the embeddings of another run's network. Without `--model` all classifiers
are tried. All choices are made on the valid split; the chosen classifier is tested once, at the
end, and kept in the run's `best.pt`.
"""

import support.start  # noqa: F401 - Ctrl-C ends it quietly while modules load

import dataclasses
import difflib
import platform
import time
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import sklearn
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.base import clone
from sklearn.cluster import MiniBatchKMeans
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import ParameterGrid
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler, normalize
from sklearn.svm import SVC

from hparams import CLASSICAL, HParams
from support.errors import UserError, run_script
from support.parallel import run_jobs
from tracks.catalog import LABELS, Catalog, Track, read_catalog, read_chunks
from tracks.catalog import summarize as summarize_split
from training.calibration import Chunks, assess, fit_decision
from training.checkpoint import save_checkpoint, write_settings
from training.classical import Arrays, find_logits, summarize, to_arrays
from training.device import machine_name
from training.embeddings import track_embeddings
from training.metrics import list_genre_predictions, score_genres
from training.runs import open_run
from training.start import check_unseen, read_source
from training.tasks import TASKS
from training.trained_run import TrainedRun
from training.transfer import parse_settings

FITTED_ON = ("train", "valid")  # the splits that every classifier needs
ALL = "classic"  # the model's name while all classifiers are tried
ATOMS = 256  # in a dictionary
SAMPLE = 50_000  # frames, at most, that a dictionary is learned from
STRENGTHS = {"C": [0.001, 0.01, 0.1, 1, 10]}

# A classifier and its parameter grid, the smoothest choice first, since the first wins a tie
CLASSIFIERS = {
    "logistic_regression": (LogisticRegression(max_iter=2000), STRENGTHS),
    "svm": (SVC(break_ties=True), {"C": [0.1, 1, 10, 100], "gamma": [0.001, 0.01, "scale"]}),
    "knn": (KNeighborsClassifier(weights="distance"), {"n_neighbors": [15, 11, 7, 5, 3, 1]}),
    "random_forest": (RandomForestClassifier(500), {"min_samples_leaf": [8, 4, 2, 1]}),
    "dictionary": (LogisticRegression(max_iter=2000), STRENGTHS),
}


@dataclasses.dataclass(frozen=True)
class Data:
    """The tracks of each split, and the run whose network embeds them, if any."""

    hparams: HParams
    splits: dict[str, list[Track]]
    backbone: TrainedRun | None = None
    # where the weights of that run come from
    origin: dict[str, str] = dataclasses.field(default_factory=dict)

    @cached_property
    def vectors(self) -> dict[str, tuple[NDArray, NDArray]]:
        """Vectors without a dictionary, and labels, read once for all classifiers."""
        return {split: summarize_tracks(self.splits[split], {}, self) for split in FITTED_ON}


class Fitted(NamedTuple):
    """A classifier fitted to the train split, with parameters chosen on the valid split."""

    name: str
    parameters: dict[str, Any]
    arrays: Arrays
    valid_accuracy: float


def read_frames(track: Track, hparams: HParams) -> NDArray[np.float32]:
    """Return a track's frames (frames, bins) without padding, from its chunks that count."""
    chunks = read_chunks(track, hparams)
    # (chunks, chunk_length, bins) -> (rows, bins), of which the last ones can be padding
    return chunks.reshape(-1, hparams.num_bins)[: track.entry["frames"]]


def learn_dictionary(tracks: Sequence[Track], hparams: HParams) -> Arrays:
    """Learn a dictionary from frames of tracks, without labels.

    Frames are standardized, whitened by PCA and scaled to length 1; the atoms are the centres of
    spherical k-means (Dieleman and Schrauwen, 2013).
    """
    frames = sample_frames(tracks, hparams)
    if not np.ptp(frames, axis=0).any():
        raise UserError("the train split is constant, perhaps silent: a dictionary needs music")
    scaler, pca, _ = whiten = make_pipeline(StandardScaler(), PCA(0.99, whiten=True), Normalizer())
    units = whiten.fit_transform(frames)
    atoms = min(ATOMS, len(units))
    kmeans = MiniBatchKMeans(atoms, random_state=hparams.seed, batch_size=4096, n_init=1)
    # both steps as one: (frames - centre) @ whitening
    spread = scaler.scale_[:, None] * np.sqrt(pca.explained_variance_)  # (bins, components)
    return {
        "centre": scaler.mean_ + scaler.scale_ * pca.mean_,
        "whitening": pca.components_.T / spread,
        "atoms": normalize(kmeans.fit(units).cluster_centers_),
    }


def sample_frames(tracks: Sequence[Track], hparams: HParams) -> NDArray[np.float64]:
    """Draw about `SAMPLE` random frames, equally many from each track: (frames, bins)."""
    share = -(-SAMPLE // len(tracks))

    def draw(job: tuple[int, Track]) -> NDArray:
        index, track = job
        rng = np.random.default_rng((hparams.seed, index))  # whatever order threads run in
        return rng.permutation(read_frames(track, hparams))[:share]

    drawn = run_jobs(draw, list(enumerate(tracks)), hparams.num_workers, "Sample")
    return np.concatenate(list(drawn)).astype(np.float64)


def summarize_tracks(
    tracks: Sequence[Track], dictionary: Arrays, data: Data
) -> tuple[NDArray, NDArray]:
    """Return one vector per track and the labels: x (tracks, values), y (tracks,)."""
    y = np.array([track.label for track in tracks])
    if data.backbone:
        embeddings = track_embeddings(tracks, data.backbone, data.hparams)
        return np.stack([summarize([rows], {}) for rows in embeddings]), y

    def read(track: Track) -> NDArray:
        return summarize([read_frames(track, data.hparams)], dictionary)

    return np.stack(list(run_jobs(read, tracks, data.hparams.num_workers, "Read"))), y


def read_vectors(split: str, arrays: Arrays, data: Data) -> tuple[NDArray, NDArray]:
    """Return the vectors and labels of a split for a classifier with these arrays."""
    if "atoms" in arrays or split not in FITTED_ON:
        return summarize_tracks(data.splits[split], arrays, data)
    return data.vectors[split]


def probabilities(name: str, arrays: Arrays, x: NDArray, classes: int) -> NDArray[np.float64]:
    """Return probabilities (tracks, classes) of vectors; 0 for a class not in the train split.

    The largest is always the classifier's prediction. For an SVM they are the softmax of its
    decision function.
    """
    return softmax(find_logits(name, arrays, x, classes), axis=1)


class Scaler(StandardScaler):
    """A `StandardScaler` that does not blow up values which differ by rounding alone."""

    def fit(self, x: NDArray, y: Any = None, sample_weight: Any = None) -> "Scaler":
        """Fit to vectors (tracks, values); nearly constant values keep their scale."""
        super().fit(x, y, sample_weight)
        least = 1e-5 * np.maximum(np.abs(self.mean_), np.median(self.scale_))
        self.scale_[self.scale_ < least] = 1
        return self


def candidates(
    name: str, tracks: int, hparams: HParams
) -> Iterator[tuple[dict[str, Any], Pipeline]]:
    """Yield each choice of a classifier's parameters for this many tracks, and its pipeline."""
    classifier, grid = CLASSIFIERS[name]
    for parameters in ParameterGrid(grid):
        if parameters.get("n_neighbors", 1) > tracks:
            continue
        chosen = clone(classifier).set_params(**parameters)
        if hasattr(chosen, "random_state"):
            chosen.set_params(random_state=hparams.seed)
        yield parameters, make_pipeline(Scaler(), chosen)


def fit(name: str, data: Data) -> Fitted:
    """Fit a classifier to the train split; choose parameters by accuracy on the valid split."""
    train, hparams = data.splits["train"], data.hparams
    dictionary = learn_dictionary(train, hparams) if name == "dictionary" else {}
    (x, y), (valid_x, valid_y) = (read_vectors(split, dictionary, data) for split in FITTED_ON)
    tried = []
    for parameters, pipeline in candidates(name, len(train), hparams):
        arrays = to_arrays(name, pipeline.fit(x, y)) | dictionary
        predicted = probabilities(name, arrays, valid_x, len(hparams.genres)).argmax(1)
        tried.append(Fitted(name, parameters, arrays, float((predicted == valid_y).mean())))
    return best_of(tried)


def best_of(fitted: Sequence[Fitted]) -> Fitted:
    """Return the best on the valid split, the first in a tie."""
    return max(fitted, key=lambda each: each.valid_accuracy)


def fit_all(names: Sequence[str], data: Data) -> list[Fitted]:
    """Fit classifiers and print a table with one line for each."""
    print(f"{'classifier':20}  valid accuracy  seconds  chosen")
    fitted = []
    for name in names:
        began = time.monotonic()
        fitted.append(fit(name, data))
        percent, seconds = 100 * fitted[-1].valid_accuracy, time.monotonic() - began
        chosen = format_parameters(fitted[-1].parameters)
        print(f"{name:20}  {percent:12.2f} %  {seconds:7.1f}  {chosen}", flush=True)
    return fitted


def format_parameters(parameters: dict[str, Any]) -> str:
    """Return parameters as text: `C=10, gamma=scale`."""
    return ", ".join(f"{name}={value}" for name, value in parameters.items())


def judge(best: Fitted, split: str, data: Data) -> Chunks:
    """The logits of a classifier for the tracks of a split, each of which is one chunk here."""
    x, y = read_vectors(split, best.arrays, data)
    logits = find_logits(best.name, best.arrays, x, len(data.hparams.genres))
    return Chunks(torch.from_numpy(logits), y, np.arange(len(y)))


def make_report(best: Fitted, fitted: Sequence[Fitted], data: Data) -> dict[str, Any]:
    """Test the best classifier, with a temperature fitted on valid; return the report."""
    task, genres = TASKS[data.hparams.task], data.hparams.genres
    judged = {split: judge(best, split, data) for split in ("valid", "test")}
    decision = fit_decision(judged["valid"], task)
    tested = judged["test"].listed(decision["temperature"], task)
    report = score_genres(*tested, genres)
    del report["chunk_accuracy"]  # a track is one vector: there are no chunks
    names = [track.name for track in data.splits["test"]]
    return report | {
        "classifier": f"{best.name}, {format_parameters(best.parameters)}",
        "valid": {"track_accuracy": best.valid_accuracy},
        "tried": {
            each.name: {"track_accuracy": each.valid_accuracy, "parameters": each.parameters}
            for each in fitted
        },
        "versions": {"python": platform.python_version(), "scikit-learn": sklearn.__version__},
        "tracks": list_genre_predictions(*tested, names, genres),
        "decision": decision,
        "calibration": {split: assess(each, decision, task) for split, each in judged.items()},
    }


def save_classifier(
    folder: Path, best: Fitted, decision: dict[str, float], hparams: HParams, data: Data
) -> None:
    """Write `best.pt`: the classifier as arrays, and the network that embeds for it, if any."""
    parts: dict[str, Any] = {"mean": 0.0, "std": 1.0}
    if network := data.backbone:
        hparams = dataclasses.replace(hparams, precision=network.hparams.precision)
        # what is taken of a chunk is a setting of the probe, not of its network
        own = dataclasses.replace(network.hparams, embedding=HParams().embedding)
        backbone = {"hparams": own.to_dict(), "model": network.model.state_dict()}
        parts = {"mean": network.mean, "std": network.std, "backbone": backbone}
        parts["origin"] = data.origin
    save_checkpoint(
        folder / "best.pt",
        model={name: torch.from_numpy(values) for name, values in best.arrays.items()},
        hparams=hparams.to_dict(),
        epoch=0,
        decision=decision,
        splits={split: summarize_split(tracks) for split, tracks in data.splits.items()},
        **parts,
    )


def check_settings(hparams: HParams) -> HParams:
    """Return settings whose model is one of this script.

    Raises `UserError` for settings that this script cannot use.
    """
    if hparams.resume:
        raise UserError(f"--resume {hparams.resume}: only train_test.py resumes; leave it out")
    if not LABELS[hparams.task].are_folders:
        remedy = "classic.py classifies genres only; use train_test.py"
        raise UserError(f"--task {hparams.task}: {remedy}")
    if hparams.feature == "waveform" and not hparams.init_from:
        remedy = "pass mfcc or log_mel, and extract it first"
        raise UserError(f"--feature waveform: statistics of samples are no use; {remedy}")
    if hparams.model in (HParams().model, ALL):  # the default is a network's name
        return dataclasses.replace(hparams, model=ALL)
    if hparams.model not in CLASSIFIERS:
        close = difflib.get_close_matches(hparams.model, CLASSIFIERS, n=1)
        hint = f"did you mean {close[0]}?" if close else "pass one, or leave it out to try all"
        known = ", ".join(CLASSIFIERS)
        raise UserError(f"--model {hparams.model}: classic.py has only {known}: {hint}")
    if hparams.model == "dictionary" and hparams.init_from:
        raise UserError(
            "--model dictionary: encodes frames, but --init_from gives embeddings; leave one out"
        )
    return hparams


def parse(argv: Sequence[str] | None = None) -> HParams:
    """Parse the command line; features are those of `--init_from`, if given."""
    return check_settings(parse_settings(argv, CLASSICAL, model=False))


def read_data(catalog: Catalog) -> Data:
    """Read the tracks of each split, and the run that `--init_from` names."""
    catalog.check_for_training()
    for split, tracks in catalog.splits.items():
        print(f"{split.capitalize()}: {len(tracks)} tracks")
    if not catalog.hparams.init_from:
        return Data(catalog.hparams, catalog.splits)
    source = read_source(catalog.hparams.init_from)
    check_unseen(source, catalog)
    network = TrainedRun(source.path)
    network.hparams = dataclasses.replace(network.hparams, embedding=catalog.hparams.embedding)
    return Data(catalog.hparams, catalog.splits, network, source.origin)


def main(argv: Sequence[str] | None = None) -> None:
    """Fit on train, choose on valid, test once and report."""
    catalog = read_catalog(parse(argv))
    data, hparams = read_data(catalog), catalog.hparams
    names = [name for name in CLASSIFIERS if name != "dictionary" or not hparams.init_from]
    began = time.monotonic()
    if data.backbone:  # before the table, which its messages would interrupt
        track_embeddings(data.splits["train"] + data.splits["valid"], data.backbone, hparams)
    with open_run(hparams) as folder:
        fitted = fit_all(names if hparams.model == ALL else [hparams.model], data)
        minutes = (time.monotonic() - began) / 60
        best = best_of(fitted)
        report = make_report(best, fitted, data)
        report |= {"minutes": minutes, "skipped": catalog.skipped, "machine": machine_name()}
        report |= {"origin": data.origin} if data.origin else {}
        hparams = dataclasses.replace(hparams, model=best.name)
        save_classifier(folder, best, report["decision"], hparams, data)

        from training.report import write_report  # matplotlib takes a second to load

        print("\n" + write_report(folder, report))
        # last, so that `train_test.py --resume` never finds an interrupted run of this script
        write_settings(folder, hparams)
    print(f"Run folder: {folder}")


if __name__ == "__main__":
    run_script(main)

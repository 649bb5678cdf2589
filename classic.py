"""Classical baselines: one vector of feature statistics per track, and a standard classifier.

    python classic.py --dataset_path dataset/demo --feature mfcc
    python classic.py --dataset_path dataset/demo --feature mfcc --model svm
    python classic.py --dataset_path dataset/demo --model dictionary

These are the tutorial's (a) summarized MFCC with standard classifiers, and (b) log-mel with a
dictionary that is learned without labels. Both work with any feature except the waveform. Without
`--model` all classifiers are tried. All choices are made on the valid split; the chosen classifier
is tested once, at the end.
"""

import support.start  # noqa: F401 - Ctrl-C ends it quietly while modules load

import dataclasses
import difflib
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import sklearn
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
from tracks.catalog import LABELS, Track, read_catalog, read_chunks
from training.checkpoint import write_settings
from training.device import machine_name
from training.metrics import list_genre_predictions, score_genres
from training.runs import open_run

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
Summary = Callable[[NDArray], NDArray]  # frames (frames, bins) to one vector (values,)


class Fitted(NamedTuple):
    """A classifier fitted to the train split, with parameters chosen on the valid split."""

    name: str
    parameters: dict[str, Any]
    summarize: Summary
    pipeline: Pipeline
    valid_accuracy: float


def read_frames(track: Track, hparams: HParams) -> NDArray[np.float32]:
    """Return a track's frames (frames, bins) without padding, from its chunks that count."""
    chunks = read_chunks(track, hparams)
    # (chunks, chunk_length, bins) -> (rows, bins), of which the last ones can be padding
    return chunks.reshape(-1, hparams.num_bins)[: track.entry["frames"]]


def statistics(frames: NDArray) -> NDArray[np.float64]:
    """Return mean and standard deviation over time: (frames, bins) to (2 * bins,).

    This is the classic summary of MFCCs (Tzanetakis and Cook, 2002).
    """
    return np.concatenate([frames.mean(0, dtype=np.float64), frames.std(0, dtype=np.float64)])


def learn_dictionary(tracks: Sequence[Track], hparams: HParams) -> Summary:
    """Learn a dictionary from frames of tracks, without labels; return the summary that uses it.

    Frames are standardized, whitened by PCA and scaled to length 1; the atoms are the centres of
    spherical k-means (Dieleman and Schrauwen, 2013). The summary is the mean, standard deviation
    and maximum of each atom's activation over time: (frames, bins) to (3 * atoms,).
    """
    frames = sample_frames(tracks, hparams)
    if not np.ptp(frames, axis=0).any():
        raise UserError("the train split is constant, perhaps silent: a dictionary needs music")
    whiten = make_pipeline(StandardScaler(), PCA(0.99, whiten=True), Normalizer())
    units = whiten.fit_transform(frames)
    atoms = min(ATOMS, len(units))
    kmeans = MiniBatchKMeans(atoms, random_state=hparams.seed, batch_size=4096, n_init=1)
    dictionary = normalize(kmeans.fit(units).cluster_centers_)

    def summarize(frames: NDArray) -> NDArray:
        code = np.maximum(0, whiten.transform(frames) @ dictionary.T)  # (frames, atoms)
        return np.concatenate([code.mean(0), code.std(0), code.max(0)])

    return summarize


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
    tracks: Sequence[Track], summarize: Summary, hparams: HParams
) -> tuple[NDArray, NDArray]:
    """Return one vector per track and the labels: x (tracks, values), y (tracks,)."""
    vectors = run_jobs(
        lambda track: summarize(read_frames(track, hparams)), tracks, hparams.num_workers, "Read"
    )
    return np.stack(list(vectors)), np.array([track.label for track in tracks])


def probabilities(pipeline: Pipeline, x: NDArray, classes: int) -> NDArray[np.float64]:
    """Return probabilities (tracks, classes) of vectors; 0 for a class not in the train split.

    The largest is always the classifier's prediction. For an SVM they are the softmax of its
    decision function: use their order only.
    """
    if hasattr(pipeline, "predict_proba"):
        known = pipeline.predict_proba(x)
    else:
        margins = pipeline.decision_function(x)
        if margins.ndim == 1:  # two classes: (tracks,), positive for the second
            margins = np.stack([-margins, margins], axis=1)
        known = softmax(margins, axis=1)
    every = np.zeros((len(x), classes))
    every[:, pipeline.classes_] = known
    return every


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
        yield parameters, make_pipeline(StandardScaler(), chosen)


def fit(name: str, splits: dict[str, list[Track]], hparams: HParams) -> Fitted:
    """Fit a classifier to the train split; choose parameters by accuracy on the valid split."""
    train, valid = splits["train"], splits["valid"]
    summarize = learn_dictionary(train, hparams) if name == "dictionary" else statistics
    x, y = summarize_tracks(train, summarize, hparams)
    valid_x, valid_y = summarize_tracks(valid, summarize, hparams)
    tried = []
    for parameters, pipeline in candidates(name, len(train), hparams):
        pipeline.fit(x, y)
        predicted = probabilities(pipeline, valid_x, len(hparams.genres)).argmax(1)
        right = float((predicted == valid_y).mean())
        tried.append(Fitted(name, parameters, summarize, pipeline, right))
    return best_of(tried)


def best_of(fitted: Sequence[Fitted]) -> Fitted:
    """Return the best on the valid split, the first in a tie."""
    return max(fitted, key=lambda each: each.valid_accuracy)


def fit_all(names: Sequence[str], splits: dict[str, list[Track]], hparams: HParams) -> list[Fitted]:
    """Fit classifiers and print a table with one line for each."""
    print(f"{'classifier':20}  valid accuracy  seconds  chosen")
    fitted = []
    for name in names:
        began = time.monotonic()
        fitted.append(fit(name, splits, hparams))
        percent, seconds = 100 * fitted[-1].valid_accuracy, time.monotonic() - began
        chosen = format_parameters(fitted[-1].parameters)
        print(f"{name:20}  {percent:12.2f} %  {seconds:7.1f}  {chosen}", flush=True)
    return fitted


def format_parameters(parameters: dict[str, Any]) -> str:
    """Return parameters as text: `C=10, gamma=scale`."""
    return ", ".join(f"{name}={value}" for name, value in parameters.items())


def make_report(
    best: Fitted, fitted: Sequence[Fitted], tracks: Sequence[Track], hparams: HParams
) -> dict[str, Any]:
    """Test the best classifier on the tracks of the test split; return the report."""
    x, y = summarize_tracks(tracks, best.summarize, hparams)
    shares = probabilities(best.pipeline, x, len(hparams.genres))
    indices = np.arange(len(tracks))
    report = score_genres(shares, y, indices, hparams.genres)
    del report["chunk_accuracy"]  # a track is one vector: there are no chunks
    names = [track.name for track in tracks]
    return report | {
        "classifier": f"{best.name}, {format_parameters(best.parameters)}",
        "valid": {"track_accuracy": best.valid_accuracy},
        "tried": {
            each.name: {"track_accuracy": each.valid_accuracy, "parameters": each.parameters}
            for each in fitted
        },
        "versions": {"python": platform.python_version(), "scikit-learn": sklearn.__version__},
        "tracks": list_genre_predictions(shares, y, indices, names, hparams.genres),
    }


def check_settings(hparams: HParams) -> HParams:
    """Return settings whose model is one of this script.

    Raises `UserError` for settings that this script cannot use.
    """
    if hparams.resume:
        raise UserError(f"--resume {hparams.resume}: only train_test.py resumes; leave it out")
    if not LABELS[hparams.task].are_folders:
        remedy = "classic.py classifies genres only; use train_test.py"
        raise UserError(f"--task {hparams.task}: {remedy}")
    if hparams.feature == "waveform":
        remedy = "pass mfcc or log_mel, and extract it first"
        raise UserError(f"--feature waveform: statistics of samples are no use; {remedy}")
    if hparams.model in (HParams().model, ALL):  # the default is a network's name
        return dataclasses.replace(hparams, model=ALL)
    if hparams.model not in CLASSIFIERS:
        close = difflib.get_close_matches(hparams.model, CLASSIFIERS, n=1)
        hint = f"did you mean {close[0]}?" if close else "pass one, or leave it out to try all"
        known = ", ".join(CLASSIFIERS)
        raise UserError(f"--model {hparams.model}: classic.py has only {known}: {hint}")
    return hparams


def parse(argv: Sequence[str] | None = None) -> HParams:
    """Parse the command line."""
    return HParams().parse_argument(argv, CLASSICAL)


def main(argv: Sequence[str] | None = None) -> None:
    """Fit on train, choose on valid, test once and report."""
    catalog = read_catalog(check_settings(parse(argv)))
    catalog.check_for_training()
    hparams, splits = catalog.hparams, catalog.splits
    for split, tracks in splits.items():
        print(f"{split.capitalize()}: {len(tracks)} tracks")
    with open_run(hparams) as folder:
        names = list(CLASSIFIERS) if hparams.model == ALL else [hparams.model]
        began = time.monotonic()
        fitted = fit_all(names, splits, hparams)
        minutes = (time.monotonic() - began) / 60
        best = best_of(fitted)
        report = make_report(best, fitted, splits["test"], hparams)
        report |= {"minutes": minutes, "skipped": catalog.skipped, "machine": machine_name()}

        from training.report import write_report  # matplotlib takes a second to load

        print("\n" + write_report(folder, report))
        # last, so that `train_test.py --resume` never finds an interrupted run of this script
        write_settings(folder, dataclasses.replace(hparams, model=best.name))
    print(f"Run folder: {folder}")


if __name__ == "__main__":
    run_script(main)

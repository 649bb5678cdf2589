"""Classical baselines: each track's features summarized in one vector, and a classifier of those.

    python classic.py --dataset_path dataset/demo --feature mfcc
    python classic.py --dataset_path dataset/demo --feature mfcc --model svm
    python classic.py --dataset_path dataset/demo --model dictionary

The tutorial's (a) and (b): MFCC, summarization and standard classifiers; log-mel and a dictionary
learned without labels. Any feature but the waveform does for either. Without `--model` all of them
are tried. Whatever is chosen is chosen by the valid split; the test split is scored once, at the
end, by that choice.
"""

import dataclasses
import difflib
import platform
import time
from typing import NamedTuple

import numpy as np
import sklearn
from scipy.special import softmax
from sklearn.base import clone
from sklearn.cluster import MiniBatchKMeans
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import ParameterGrid
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler, normalize
from sklearn.svm import SVC

from hparams import HParams
from support.errors import UserError, run_script
from support.parallel import run_jobs
from tracks.catalog import count_skipped, list_splits, read_chunks
from tracks.lists import choose_genres
from training.checkpoint import make_run_folder, write_settings
from training.metrics import list_predictions, score

EVERY = "classic"  # the model's name while all classifiers are tried


ATOMS = 256  # of a dictionary


SAMPLE = 50_000  # frames, at most, that a dictionary is learned from


STRENGTHS = {"C": [0.001, 0.01, 0.1, 1, 10]}


# A classifier and what is tried of its parameters, the smoothest first: it wins a tie.
CLASSIFIERS = {
    "logistic_regression": (LogisticRegression(max_iter=2000), STRENGTHS),
    "svm": (SVC(break_ties=True), {"C": [0.1, 1, 10, 100], "gamma": [0.001, 0.01, "scale"]}),
    "knn": (KNeighborsClassifier(weights="distance"), {"n_neighbors": [15, 11, 7, 5, 3, 1]}),
    "random_forest": (RandomForestClassifier(500), {"min_samples_leaf": [8, 4, 2, 1]}),
    "dictionary": (LogisticRegression(max_iter=2000), STRENGTHS),
}


class Fitted(NamedTuple):
    """A classifier fitted to the train split, with the parameters chosen by the valid split."""

    name: str
    parameters: dict
    summarize: object
    pipeline: object
    valid_accuracy: float


def read_frames(track, hparams):
    """A track's real frames (frames, bins), of the chunks that count: no padding."""
    chunks = read_chunks(track, hparams)
    return chunks.reshape(-1, hparams.num_bins)[: track.entry["frames"]]


def statistics(frames):
    """Mean and standard deviation over time: (frames, bins) to (2 * bins,), float64.

    The classic summary of MFCCs (Tzanetakis and Cook, 2002).
    """
    return np.concatenate([frames.mean(0, dtype=np.float64), frames.std(0, dtype=np.float64)])


def learn_dictionary(tracks, hparams):
    """Learn a dictionary from frames of `Track`s; returns the summary of a track's frames by it.

    Frames are standardized, whitened by PCA and scaled to length 1; the atoms are the centres of
    spherical k-means, as Dieleman and Schrauwen (2013) do it. Nothing here sees a label. The
    summary is mean, standard deviation and maximum over time of how much a frame is like each atom:
    (frames, bins) to (3 * atoms,).
    """
    frames = sample_frames(tracks, hparams)
    if not np.ptp(frames, axis=0).any():
        raise UserError("the train split is constant, silent perhaps: a dictionary needs music")
    whiten = make_pipeline(StandardScaler(), PCA(0.99, whiten=True), Normalizer())
    units = whiten.fit_transform(frames)
    atoms = min(ATOMS, len(units))
    kmeans = MiniBatchKMeans(atoms, random_state=hparams.seed, batch_size=4096, n_init=1)
    dictionary = normalize(kmeans.fit(units).cluster_centers_)

    def summarize(frames):
        code = np.maximum(0, whiten.transform(frames) @ dictionary.T)
        return np.concatenate([code.mean(0), code.std(0), code.max(0)])

    return summarize


def sample_frames(tracks, hparams):
    """Random frames of `Track`s, as many of each as `SAMPLE` leaves: (frames, bins), float64."""
    share = -(-SAMPLE // len(tracks))

    def draw(job):
        index, track = job
        rng = np.random.default_rng((hparams.seed, index))  # whichever thread comes first
        return rng.permutation(read_frames(track, hparams))[:share]

    drawn = run_jobs(draw, list(enumerate(tracks)), hparams.num_workers, "Sample")
    return np.concatenate(list(drawn)).astype(np.float64)


def summarize_tracks(tracks, summarize, hparams):
    """One vector a track, and labels: x (tracks, values), y (tracks,)."""
    vectors = run_jobs(
        lambda track: summarize(read_frames(track, hparams)), tracks, hparams.num_workers, "Read"
    )
    return np.stack(list(vectors)), np.array([track.label for track in tracks])


def probabilities(pipeline, x, classes):
    """Probabilities (tracks, classes) of vectors; 0 for a class that the train split lacks.

    An SVM's are the softmax of its decision function: their order means something, their size
    little. The largest is always what the classifier predicts.
    """
    if hasattr(pipeline, "predict_proba"):
        known = pipeline.predict_proba(x)
    else:
        margins = pipeline.decision_function(x)
        if margins.ndim == 1:  # of two classes: positive for the second
            margins = np.stack([-margins, margins], axis=1)
        known = softmax(margins, axis=1)
    every = np.zeros((len(x), classes))
    every[:, pipeline.classes_] = known
    return every


def accuracy(pipeline, x, y, classes):
    """Share of tracks whose most probable class is their label."""
    return float((probabilities(pipeline, x, classes).argmax(1) == y).mean())


def candidates(name, tracks, hparams):
    """Yield each choice of a classifier's parameters, for so many tracks, and its pipeline."""
    classifier, grid = CLASSIFIERS[name]
    for parameters in ParameterGrid(grid):
        if parameters.get("n_neighbors", 1) > tracks:
            continue
        chosen = clone(classifier).set_params(**parameters)
        if hasattr(chosen, "random_state"):
            chosen.set_params(random_state=hparams.seed)
        yield parameters, make_pipeline(StandardScaler(), chosen)


def fit(name, splits, hparams):
    """Fit a classifier to the train split, its parameters chosen by accuracy on the valid split."""
    train, valid = splits["train"], splits["valid"]
    summarize = learn_dictionary(train, hparams) if name == "dictionary" else statistics
    x, y = summarize_tracks(train, summarize, hparams)
    valid_data = summarize_tracks(valid, summarize, hparams)
    tried = []
    for parameters, pipeline in candidates(name, len(train), hparams):
        pipeline.fit(x, y)
        valid_accuracy = accuracy(pipeline, *valid_data, len(hparams.genres))
        tried.append(Fitted(name, parameters, summarize, pipeline, valid_accuracy))
    return best_of(tried)


def best_of(fitted):
    """The best on the valid split, the first of those of a tie."""
    return max(fitted, key=lambda each: each.valid_accuracy)


def fit_all(names, splits, hparams):
    """Fit classifiers, one line of a table each; returns them as a list of `Fitted`."""
    print(f"{'classifier':20}  valid accuracy  seconds  chosen")
    fitted = []
    for name in names:
        began = time.monotonic()
        fitted.append(fit(name, splits, hparams))
        percent, seconds = 100 * fitted[-1].valid_accuracy, time.monotonic() - began
        chosen = describe(fitted[-1].parameters)
        print(f"{name:20}  {percent:12.2f} %  {seconds:7.1f}  {chosen}", flush=True)
    return fitted


def describe(parameters):
    """Parameters as text: `C=10, gamma=scale`."""
    return ", ".join(f"{name}={value}" for name, value in parameters.items())


def test(best, fitted, tracks, hparams):
    """Test the best classifier on the `Track`s of the test split; returns the report."""
    x, y = summarize_tracks(tracks, best.summarize, hparams)
    shares = probabilities(best.pipeline, x, len(hparams.genres))
    owners = np.arange(len(tracks))
    report = score(shares, y, owners, hparams.genres)
    del report["chunk_accuracy"]  # a track is one vector: it has no chunks
    names = [track.name for track in tracks]
    return report | {
        "classifier": f"{best.name}, {describe(best.parameters)}",
        "valid": {"track_accuracy": best.valid_accuracy},
        "tried": {
            each.name: {"track_accuracy": each.valid_accuracy, "parameters": each.parameters}
            for each in fitted
        },
        "versions": {"python": platform.python_version(), "scikit-learn": sklearn.__version__},
        "tracks": list_predictions(shares, y, owners, names, hparams.genres),
    }


def check_settings(hparams):
    """`hparams` with its genres and a model of this script; raises `UserError` for others."""
    if hparams.resume:
        raise UserError(f"--resume {hparams.resume}: only train_test.py resumes; leave it out")
    if hparams.task == "tagging":
        raise UserError("--task tagging: classic.py knows genres alone; train_test.py learns tags")
    if hparams.feature == "waveform":
        raise UserError(
            "--feature waveform: samples say nothing one by one; pass mfcc or log_mel, and extract "
            "it first"
        )
    if hparams.model in (HParams().model, EVERY):  # the default means none of this script's
        hparams = dataclasses.replace(hparams, model=EVERY)
    elif hparams.model not in CLASSIFIERS:
        close = difflib.get_close_matches(hparams.model, CLASSIFIERS, n=1)
        hint = f"did you mean {close[0]}?" if close else "pass one of these, or none to try all"
        known = ", ".join(CLASSIFIERS)
        raise UserError(f"--model {hparams.model}: classic.py has only {known}: {hint}")
    return choose_genres(hparams)


def main(argv=None):
    """Fit on train, choose on valid, test once and report."""
    unread = ("training", "copies", "augmentation", "comparison")
    hparams = check_settings(HParams().parse_argument(argv, unread))
    splits = list_splits(hparams)
    skipped = count_skipped([len(tracks) for tracks in splits.values()], hparams)
    for split, tracks in splits.items():
        print(f"{split.capitalize()}: {len(tracks)} tracks")
    folder = make_run_folder(hparams)
    names = list(CLASSIFIERS) if hparams.model == EVERY else [hparams.model]
    began = time.monotonic()
    fitted = fit_all(names, splits, hparams)
    minutes = (time.monotonic() - began) / 60
    best = best_of(fitted)
    report = test(best, fitted, splits["test"], hparams)
    report |= {"minutes": minutes, "skipped": skipped}

    from training.report import (
        write_report,  # matplotlib takes a second to load: not before it is needed
    )

    print("\n" + write_report(folder, report))
    # last: an interrupted run is none that `train_test.py --resume` could take for its own
    write_settings(folder, dataclasses.replace(hparams, model=best.name))
    print(f"Run folder: {folder}")


if __name__ == "__main__":
    run_script(main)

"""Classifiers of whole tracks as plain arrays: classic.py fits them, and runs predict with them.

A track is one vector: the mean and the standard deviation over time of its frames, of their codes
in a dictionary (with the maximum), or of its chunks' embeddings. A fitted classifier of
scikit-learn becomes arrays, and this file computes logits from them: nothing is pickled, loading
runs no code, and predicting does not need scikit-learn.

Shapes: x (tracks, values), standardized; logits (tracks, classes known to the classifier).
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]


class Kind(NamedTuple):
    """How a classifier of scikit-learn becomes arrays, and how these give logits."""

    arrays: Callable[[Any], Arrays]  # (fitted classifier)
    logits: Callable[[Arrays, NDArray], NDArray]  # (arrays, x)


def statistics(batches: Iterable[NDArray], peak: bool = False) -> NDArray[np.float64]:
    """Return mean and standard deviation over time, with `peak` also the maximum.

    The rows (n, values) come in batches, so a long track need not fit into memory. Returns
    (2 * values,) or (3 * values,). It is the classic summary of MFCCs (Tzanetakis and Cook, 2002).
    """
    count, total, squares, highest = 0, 0.0, 0.0, -np.inf
    for batch in batches:
        rows = batch.astype(np.float64)
        if not count:
            first = rows[0]
        # differences from the first row: a constant has the deviation 0, not a rounding error
        count, total = count + len(rows), total + (rows - first).sum(0)
        squares = squares + np.square(rows - first).sum(0)
        highest = np.maximum(highest, rows.max(0))
    mean = total / count
    deviation = np.sqrt(np.maximum(0, squares / count - mean**2))
    return np.concatenate([first + mean, deviation, *([highest] if peak else [])])


def summarize(batches: Iterable[NDArray], arrays: Arrays) -> NDArray[np.float64]:
    """Return the vector of a track, given its rows in batches: (values,).

    Rows are frames, encoded first if `arrays` hold a dictionary, or embeddings of chunks.
    """
    if "atoms" in arrays:
        return statistics(encode(batches, arrays), peak=True)
    return statistics(batches)


def encode(batches: Iterable[NDArray], arrays: Arrays) -> Iterator[NDArray[np.float64]]:
    """Yield the codes of frames: how much each atom is active, (frames, bins) to (frames, atoms).

    Frames are whitened and scaled to length 1 before they are compared with the atoms.
    """
    for frames in batches:
        units = (frames - arrays["centre"]) @ arrays["whitening"]
        length = np.linalg.norm(units, axis=1, keepdims=True)
        yield np.maximum(0, units / np.where(length, length, 1) @ arrays["atoms"].T)


def to_arrays(name: str, pipeline: Any) -> Arrays:
    """Return a fitted pipeline of `StandardScaler` and the classifier `name` as arrays."""
    scaler, classifier = pipeline
    scaling = {"mean": scaler.mean_, "scale": scaler.scale_, "classes": classifier.classes_}
    return scaling | KINDS[name].arrays(classifier)


def find_logits(name: str, arrays: Arrays, x: NDArray, classes: int) -> NDArray[np.float64]:
    """Return logits of vectors: (tracks, values) to (tracks, classes).

    Their softmax gives the classifier's probabilities. An SVM has none: its logits are its decision
    function. A class that the train split lacks gets -inf.
    """
    every = np.full((len(x), classes), -np.inf)
    with np.errstate(divide="ignore"):  # the logarithm of a probability of 0 is -inf
        scaled = (x - arrays["mean"]) / arrays["scale"]
        every[:, arrays["classes"]] = KINDS[name].logits(arrays, scaled)
    return every


def linear_logits(arrays: Arrays, x: NDArray) -> NDArray:
    """Logits of logistic regression."""
    logits = x @ arrays["weights"].T + arrays["bias"]
    return np.hstack([0 * logits, logits]) if logits.shape[1] == 1 else logits


def svm_arrays(svm: Any) -> Arrays:
    """Support vectors (vectors, values), by class, and their coefficients in pairs of classes."""
    return {
        "vectors": svm.support_vectors_,
        "counts": svm.n_support_,  # vectors of each class
        "coefficients": svm.dual_coef_,  # (classes - 1, vectors)
        "bias": svm.intercept_,  # (pairs,)
        "gamma": np.array(svm._gamma),
    }


def svm_logits(arrays: Arrays, x: NDArray) -> NDArray:
    """The decision function of an SVM with an RBF kernel, one against the rest.

    Votes of all pairs of classes decide; the sum of a class's margins, at most 1/3, breaks ties.
    """
    from scipy.spatial.distance import cdist  # it takes 0.4 s to load

    kernel = np.exp(-arrays["gamma"] * cdist(x, arrays["vectors"], "sqeuclidean"))
    coefficients, bias = arrays["coefficients"], arrays["bias"]
    if len(bias) == 1:  # two classes: the margin is positive for the second
        margin = kernel @ coefficients.T + bias
        return np.hstack([-margin, margin])
    classes = len(arrays["counts"])
    owner = np.repeat(np.arange(classes), arrays["counts"])
    votes, sums = np.zeros((2, len(x), classes))
    pairs = ((i, j) for i in range(classes) for j in range(i + 1, classes))
    for (i, j), constant in zip(pairs, bias):
        one, other = owner == i, owner == j
        margin = kernel[:, one] @ coefficients[j - 1, one] + constant
        margin += kernel[:, other] @ coefficients[i, other]
        votes[:, i] += margin >= 0
        votes[:, j] += margin < 0
        sums[:, i] += margin
        sums[:, j] -= margin
    return votes + sums / (3 * (np.abs(sums) + 1))


def knn_arrays(knn: Any) -> Arrays:
    """The vectors of the train split, the index of each one's class, and k."""
    return {"vectors": knn._fit_X, "owners": knn._y, "neighbours": np.array(knn.n_neighbors)}


def knn_logits(arrays: Arrays, x: NDArray) -> NDArray:
    """Logarithms of the shares of the k nearest, weighted by 1 / distance."""
    from scipy.spatial.distance import cdist  # it takes 0.4 s to load

    distances = cdist(x, arrays["vectors"])
    nearest = np.argsort(distances, axis=1, kind="stable")[:, : arrays["neighbours"]]
    distances = np.take_along_axis(distances, nearest, axis=1)
    with np.errstate(divide="ignore"):
        weights = 1 / distances
    equal = np.isinf(weights)  # vectors of the train split itself: they alone count
    weights = np.where(equal.any(1, keepdims=True), equal, weights)
    known = np.arange(len(arrays["classes"]))
    is_owner = arrays["owners"][nearest][..., None] == known  # (tracks, k, classes)
    shares = (weights[..., None] * is_owner).sum(1)
    return np.log(shares / shares.sum(1, keepdims=True))


def forest_arrays(forest: Any) -> Arrays:
    """The nodes of all trees in one row; a leaf leads to itself."""
    trees = [each.tree_ for each in forest.estimators_]
    roots = np.cumsum([0, *(tree.node_count for tree in trees)])[:-1]
    arrays = {
        "roots": roots,
        "feature": np.concatenate([np.maximum(0, tree.feature) for tree in trees]),
        "threshold": np.concatenate([tree.threshold for tree in trees]),
        # float32: these are most of the file
        "shares": np.concatenate([tree.value[:, 0] for tree in trees]).astype(np.float32),
    }
    for side in ("left", "right"):
        children = [getattr(tree, f"children_{side}") for tree in trees]
        nodes = [np.where(c < 0, np.arange(len(c)), c) + root for c, root in zip(children, roots)]
        arrays[side] = np.concatenate(nodes).astype(np.int32)
    return arrays


def forest_logits(arrays: Arrays, x: NDArray) -> NDArray:
    """Logarithms of the mean share of each class in the leaves that a vector falls into."""
    x = x.astype(np.float32)  # as scikit-learn compares
    nodes = np.broadcast_to(arrays["roots"], (len(x), len(arrays["roots"])))  # (tracks, trees)
    rows = np.arange(len(x))[:, None]
    for _ in range(len(arrays["left"])):
        low = x[rows, arrays["feature"][nodes]] <= arrays["threshold"][nodes]
        below = np.where(low, arrays["left"][nodes], arrays["right"][nodes])
        if (below == nodes).all():
            break
        nodes = below
    return np.log(arrays["shares"][nodes].mean(1, dtype=np.float64))


LINEAR = Kind(lambda fitted: {"weights": fitted.coef_, "bias": fitted.intercept_}, linear_logits)
KINDS = {
    "logistic_regression": LINEAR,
    "svm": Kind(svm_arrays, svm_logits),
    "knn": Kind(knn_arrays, knn_logits),
    "random_forest": Kind(forest_arrays, forest_logits),
    "dictionary": LINEAR,
}


def has_network(model: str, init_from: str) -> bool:
    """Whether a run with these settings holds a network, which can embed."""
    return model not in KINDS or bool(init_from)

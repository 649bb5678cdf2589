"""Reports and a history as training writes them, for tests of text and pictures."""

import numpy as np

from training.metrics import score_genres

GENRES = ["$classical$", "힙합", "pop"]
HISTORY = [
    {"epoch": e, "train_loss": 2 / e, "train_acc": 0.4, "valid_loss": abs(e - 2), "valid_acc": 0.3}
    for e in (1, 2, 3)
]


def some_report():
    scores = score_genres(np.eye(3)[[0, 1, 1, 2]], np.array([0, 1, 2, 2]), np.arange(4), GENRES)
    return scores | {"best_epoch": 2, "skipped": {"train": 0, "valid": 0, "test": 0}}


def tag_report():
    per_tag = {
        "mood:$sad$": {"roc_auc": 0.9, "pr_auc": 0.5, "tracks": 3},
        "느린": {"roc_auc": 0.4, "pr_auc": 0.2, "tracks": 1},
        "loud": {"roc_auc": 1.0, "pr_auc": 1.0, "tracks": 2},
    }
    scores = {"roc_auc": 0.7667, "pr_auc": 0.5667, "roc_auc_interval": [0.6, 0.9], "num_tracks": 4}
    left_out = {"train": {}, "valid": {"loud": "no track has it"}, "test": {}}
    skipped = {"train": 0, "valid": 2, "test": 0}
    return scores | {
        **{"per_tag": per_tag, "left_out": left_out, "skipped": skipped, "best_epoch": 2}
    }

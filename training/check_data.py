"""Print what a run is trained on, and warn of data that it cannot learn much from."""

# mypy: disable-error-code="attr-defined, arg-type"
# torch's type for data sets lacks the attributes of `GTZANDataset`

from collections.abc import Sequence
from typing import Any

from torch.utils.data import DataLoader

from tracks.lists import SPLITS
from training.build import count_parameters
from training.metrics import average_by_track

FEW_STEPS = 5  # in an epoch, too few to learn much


def check_data(
    runner: Any, loaders: Sequence[DataLoader], skipped: dict[str, int]
) -> dict[str, Any]:
    """Print sizes and warnings of a `Runner`; return entries of its report.

    Raises `UserError` if no tag can be scored.
    """
    print_sizes(runner, loaders, skipped)
    labels = {
        split: average_by_track(loader.dataset.y.cpu().numpy(), loader.dataset.tracks)
        for split, loader in zip(SPLITS, loaders)
    }
    found = runner.task.check_splits(labels, runner.hparams.classes)
    found |= {"origin": runner.sources["origin"]} if runner.sources else {}
    return {"skipped": skipped, **found}


def print_sizes(runner: Any, loaders: Sequence[DataLoader], skipped: dict[str, int]) -> None:
    """Print the sizes of splits and model; warn of few steps and of offsets without effect."""
    for (split, lost), loader in zip(skipped.items(), loaders):
        note = f" ({lost} skipped as broken)" if lost else ""
        data = loader.dataset
        print(f"{split.capitalize()}: {len(data.names)} tracks{note}, {len(data)} chunks")
    part = f", trained: {count_parameters(runner.trained):,}" if runner.frozen else ""
    print(f"Parameters: {count_parameters(runner.model):,}{part}")
    print(f"Steps per epoch: {len(loaders[0])}")
    if len(loaders[0]) < FEW_STEPS:
        print(
            f"*** fewer than {FEW_STEPS} steps per epoch: the model learns little in each; "
            "pass a smaller --batch_size"
        )
    data = loaders[0].dataset
    if runner.hparams.random_offset and len(data) == len(data.names):
        print(
            "*** --random_offset has no effect: each track is one chunk; "
            "pass a smaller --chunk_length, or a larger --feature_length"
        )

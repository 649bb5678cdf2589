"""Saves and loads trained weights with all that predicting from them takes."""

import torch

from manifest import write_atomic


def save_checkpoint(path, **parts):
    """Write `parts`, plain values and tensors, to a file that appears whole or not at all."""
    write_atomic(path, lambda file: torch.save(parts, file))


def load_checkpoint(path):
    """The parts of a checkpoint, tensors on the CPU. No code in the file is run."""
    return torch.load(path, map_location="cpu", weights_only=True)

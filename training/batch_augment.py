"""Augmentation while training: chunks changed anew each epoch, on the training split only.

By how much is drawn from (seed, epoch), a value for each chunk, apart from applying it: batches may
come in any order. (The samples of noise on waveforms are torch's next ones.) Arrays: x (batch,
rows, bins), normalized; labels (batch,), or (batch, classes) once they are mixed, as those of tags
always are.
"""

import math

import numpy as np
import torch
from torch.nn.functional import one_hot

SNR_RANGE_DB = 30.0


def draw(rng, owner, hparams):
    """What happens to each chunk in an epoch: arrays (chunks,) by name.

    `owner` (chunks,) is the track of each. `first_row` counts the rows of all chunks, one track
    after the other; masks are start and width in rows and bins; `share` is what mixup keeps.
    """
    chunks, rows, bins = len(owner), hparams.chunk_length, hparams.num_bins
    drawn = {"first_row": np.arange(chunks) * rows}
    if hparams.random_offset:
        drawn["first_row"] = draw_offset(rng, owner, rows)
    if hparams.gain_db:
        drawn["gain_db"] = rng.uniform(-hparams.gain_db, hparams.gain_db, chunks)
    if hparams.noise_snr_db:
        low = hparams.noise_snr_db
        drawn["snr_db"] = rng.uniform(low, low + SNR_RANGE_DB, chunks)
    for name, size, longest in (
        ("time", rows, hparams.time_mask),
        ("frequency", bins, hparams.frequency_mask),
    ):
        if longest:
            width = rng.integers(0, min(longest, size) + 1, chunks)
            drawn[f"{name}_mask"] = np.stack([rng.integers(0, size - width + 1), width])
    if hparams.mixup:
        share = rng.beta(hparams.mixup, hparams.mixup, chunks)
        drawn["share"] = np.maximum(share, 1 - share)  # a chunk stays the larger part
    return drawn


def draw_offset(rng, owner, rows):
    """First rows of chunks (chunks,), each anywhere in its track where `rows` of them follow."""
    first = np.searchsorted(owner, owner)  # of the track's first chunk
    last = np.searchsorted(owner, owner, side="right") - 1
    return rng.integers(first * rows, last * rows + 1)


class Augmenter:
    """Augments the training batches of a data set as the settings ask.

    `owner` (chunks,) is the track of each chunk, `normalization` that of x.
    """

    def __init__(self, hparams, owner, normalization):
        self.hparams = hparams
        self.owner = owner
        self.mean, self.std = normalization
        self.classes = len(hparams.classes)
        self.drawn = {}

    def begin_epoch(self, epoch, device):
        """Draw for an epoch, to the device that x is on: batches then wait for no copy."""
        kinds = {"i": torch.int64, "f": torch.float32}
        rng = np.random.default_rng([self.hparams.seed, epoch])
        self.drawn = {
            name: torch.as_tensor(values, dtype=kinds[values.dtype.kind], device=device)
            for name, values in draw(rng, self.owner, self.hparams).items()
        }

    def __call__(self, x, y, index):
        """Augmented chunks and labels of a batch; `index` (batch,) names its chunks."""
        drawn = {name: values[..., index] for name, values in self.drawn.items()}
        if {"gain_db", "snr_db"} & drawn.keys():
            x = self.change_magnitudes(x, drawn)
        if "time_mask" in drawn:
            x = x.masked_fill(inside(*drawn["time_mask"], x.shape[1])[:, :, None], 0)
        if "frequency_mask" in drawn:
            x = x.masked_fill(inside(*drawn["frequency_mask"], x.shape[2])[:, None, :], 0)
        return mix(x, y, drawn["share"], self.classes) if "share" in drawn else (x, y)

    def change_magnitudes(self, x, drawn):
        """Chunks louder by `gain_db`, with noise at `snr_db`, as loud in each bin."""
        kind = "wave" if self.hparams.feature == "waveform" else self.hparams.scale
        to_magnitude, from_magnitude, add = MAGNITUDES[kind]
        magnitude = to_magnitude(x * self.std + self.mean)
        if "gain_db" in drawn:
            magnitude = magnitude * (10 ** (drawn["gain_db"] / 20))[:, None, None]
        if "snr_db" in drawn:
            power = magnitude.square().mean((1, 2)) / 10 ** (drawn["snr_db"] / 10)
            magnitude = add(magnitude, power.sqrt()[:, None, None])
        return (from_magnitude(magnitude) - self.mean) / self.std


def add_power(magnitude, noise):
    """Magnitudes with those of uncorrelated noise, of which the mean power is expected."""
    return (magnitude.square() + noise.square()).sqrt()


def add_samples(y, noise):
    """Waveforms with white noise of that root mean square."""
    return y + noise * y.new_empty(y.shape).normal_()


MAGNITUDES = {  # by scale: to magnitudes, from them, and how noise adds to them
    "tutorial": (
        lambda x: (x * math.log(10)).expm1() / 10,
        lambda magnitude: (1 + 10 * magnitude).log10(),
        add_power,
    ),
    "db": (
        lambda x: 10 ** (x / 20),
        lambda magnitude: 20 * magnitude.clamp(min=1e-5).log10(),
        add_power,
    ),
    "none": (lambda x: x, lambda magnitude: magnitude, add_power),
    "wave": (lambda x: x, lambda y: y, add_samples),
}


def inside(start, width, size):
    """Which of `size` places lie in each mask: (batch, size), from starts and widths (batch,)."""
    place = torch.arange(size, device=start.device)
    return (place >= start[:, None]) & (place < (start + width)[:, None])


def mix(x, y, share, classes):
    """Mixup (Zhang et al., 2018): each chunk with the one before it in the batch, labels too.

    Returns x and the labels as probabilities (batch, classes), as which those of tags come.
    """
    if y.ndim == 1:
        y = one_hot(y, classes).to(x.dtype)
    weight = share[:, None]
    mixed = weight[:, :, None] * x + (1 - weight[:, :, None]) * x.roll(1, 0)
    return mixed, weight * y + (1 - weight) * y.roll(1, 0)

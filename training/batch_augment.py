"""Augment training batches with random changes that are drawn anew for each epoch.

All amounts of an epoch are drawn first, from (seed, epoch), one per chunk: batches can come in any
order. Only noise samples for waveforms come from torch's generator. Shapes: x (batch, rows, bins),
normalized; labels (batch,) for genres, (batch, classes) for tags and after mixup.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import one_hot

from hparams import HParams

SNR_RANGE_DB = 30.0
MAGNITUDES = {  # by scale: features to magnitudes, and back
    "tutorial": (lambda x: (x * math.log(10)).expm1() / 10, lambda y: (1 + 10 * y).log10()),
    "db": (lambda x: 10 ** (x / 20), lambda y: 20 * y.clamp(min=1e-5).log10()),
    "musicnn": (
        lambda x: ((x * math.log(10)).expm1() / 10000).clamp(min=0).sqrt(),
        lambda y: (1 + 10000 * y.square()).log10(),
    ),
    "none": (lambda x: x, lambda y: y),
}


def draw(rng: np.random.Generator, tracks: NDArray, hparams: HParams) -> dict[str, NDArray]:
    """Draw what happens to each chunk in an epoch: arrays (chunks,) by name.

    `tracks` (chunks,) holds the index of each chunk's track. `first_row` counts rows over all
    chunks, one track after another; masks are start and width (2, chunks) in rows or bins; `share`
    is the part of a chunk that mixup keeps.
    """
    chunks, rows, bins = len(tracks), hparams.chunk_length, hparams.num_bins
    drawn: dict[str, NDArray] = {"first_row": np.arange(chunks) * rows}
    if hparams.random_offset:  # anywhere in the track that leaves `rows` rows to follow
        first = np.searchsorted(tracks, tracks)  # index of the first chunk of the same track
        last = np.searchsorted(tracks, tracks, side="right") - 1
        drawn["first_row"] = rng.integers(first * rows, last * rows + 1)
    if hparams.gain_db:
        drawn["gain_db"] = rng.uniform(-hparams.gain_db, hparams.gain_db, chunks)
    if hparams.noise_snr_db:
        low = hparams.noise_snr_db
        drawn["snr_db"] = rng.uniform(low, low + SNR_RANGE_DB, chunks)
    if hparams.time_mask:
        drawn["time_mask"] = draw_mask(rng, chunks, rows, hparams.time_mask)
    if hparams.frequency_mask:
        drawn["frequency_mask"] = draw_mask(rng, chunks, bins, hparams.frequency_mask)
    if hparams.mixup:
        share = rng.beta(hparams.mixup, hparams.mixup, chunks)
        drawn["share"] = np.maximum(share, 1 - share)  # the chunk itself stays the larger part
    return drawn


def draw_mask(rng: np.random.Generator, chunks: int, size: int, longest: int) -> NDArray:
    """Start and width of a mask in each chunk, (2, chunks), among `size` rows or bins."""
    width = rng.integers(0, min(longest, size) + 1, chunks)
    return np.stack([rng.integers(0, size - width + 1), width])


class Augmenter:
    """Augments training batches as the settings say.

    `tracks` (chunks,) holds the index of each chunk's track; x was normalized by `normalization`, a
    mean and a standard deviation.
    """

    def __init__(
        self, hparams: HParams, tracks: NDArray, normalization: tuple[float, float]
    ) -> None:
        self.hparams = hparams
        self.tracks = tracks
        self.mean, self.std = normalization
        self.drawn: dict[str, Tensor] = {}

    def begin_epoch(self, epoch: int, device: torch.device) -> None:
        """Draw for an epoch and copy to the device of x, so that no batch waits for a copy."""
        kinds = {"i": torch.int64, "f": torch.float32}
        rng = np.random.default_rng([self.hparams.seed, epoch])
        self.drawn = {
            name: torch.as_tensor(values, dtype=kinds[values.dtype.kind], device=device)
            for name, values in draw(rng, self.tracks, self.hparams).items()
        }

    def __call__(self, x: Tensor, y: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        """Augment the chunks and labels of a batch; `index` (batch,) numbers the chunks."""
        drawn = {name: values[..., index] for name, values in self.drawn.items()}
        if {"gain_db", "snr_db"} & drawn.keys():
            x = self.change_magnitudes(x, drawn)
        # masks (batch, rows) -> (batch, rows, 1), (batch, bins) -> (batch, 1, bins); 0 is the mean
        if "time_mask" in drawn:
            x = x.masked_fill(inside(drawn["time_mask"], x.shape[1])[:, :, None], 0)
        if "frequency_mask" in drawn:
            x = x.masked_fill(inside(drawn["frequency_mask"], x.shape[2])[:, None, :], 0)
        if "share" in drawn:
            return mix(x, y, drawn["share"], len(self.hparams.classes))
        return x, y

    def change_magnitudes(self, x: Tensor, drawn: dict[str, Tensor]) -> Tensor:
        """Make chunks louder by `gain_db`; add noise at `snr_db`, equally strong in all bins."""
        waveform = self.hparams.feature == "waveform"
        to_magnitude, to_feature = MAGNITUDES["none" if waveform else self.hparams.scale]
        magnitude = to_magnitude(x * self.std + self.mean)
        if "gain_db" in drawn:  # (batch,) -> (batch, 1, 1)
            magnitude = magnitude * (10 ** (drawn["gain_db"] / 20))[:, None, None]
        if "snr_db" in drawn:
            power = magnitude.square().mean((1, 2)) / 10 ** (drawn["snr_db"] / 10)
            noise = power.sqrt()[:, None, None]  # (batch,) -> (batch, 1, 1)
            if waveform:
                magnitude = magnitude + noise * torch.randn_like(magnitude)
            else:  # powers of uncorrelated signals add up, on average
                magnitude = (magnitude.square() + noise.square()).sqrt()
        return (to_feature(magnitude) - self.mean) / self.std


def inside(mask: Tensor, size: int) -> Tensor:
    """Whether a mask (2, batch) of starts and widths covers each position: (batch, size)."""
    start, width = mask[:, :, None]  # (batch, 1) each
    position = torch.arange(size, device=start.device)
    return (position >= start) & (position < start + width)


def mix(x: Tensor, y: Tensor, share: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Mixup (Zhang et al., 2018): mix each chunk and its label with the previous one in the batch.

    Returns x and float labels (batch, classes). A chunk keeps `share` (batch,) of itself.
    """
    if y.ndim == 1:
        y = one_hot(y, classes).to(x.dtype)  # (batch,) -> (batch, classes)
    weight = share[:, None]  # (batch, 1)
    mixed = weight[:, :, None] * x + (1 - weight[:, :, None]) * x.roll(1, 0)
    return mixed, weight * y + (1 - weight) * y.roll(1, 0)

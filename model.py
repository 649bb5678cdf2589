"""The models. Edit this file: `--model NAME` chooses any class that you add here.

The constructor of a model takes the settings. `forward` takes a batch (batch, frames, bins) and
returns logits (batch, classes), without softmax. `embed`, which only retrieve.py needs, returns the
input of the last layer. A model that cannot take some features raises `WrongInput`.
"""

import difflib
import itertools
from typing import Protocol

import torch
import torch.nn as nn
from torch import Tensor


class Settings(Protocol):
    """The settings that models read, part of `HParams`."""

    model: str
    feature: str
    chunk_length: int  # frames in a chunk; samples for waveforms

    @property
    def num_bins(self) -> int:
        """Values per frame; 1 for waveforms."""

    @property
    def classes(self) -> list[str]:
        """Genres or tags: one output each."""


class WrongInput(ValueError):
    """Features that a model cannot take. The message says what it takes and which flag to pass."""


class ChunkTooShort(WrongInput):
    """A chunk that is too short for the layers of a model. The message gives the minimum."""


class UnknownModel(ValueError):
    """A name that no class in this file has. The message lists the classes."""


def build_model(hparams: Settings) -> nn.Module:
    """Build the model that `hparams.model` names; torch's global seed sets its initial weights.

    Parameters
    ----------
    hparams : HParams
        Settings, with `genres` (or `tags`) filled in.

    Returns
    -------
    nn.Module

    Raises
    ------
    UnknownModel
        If no class in this file has the name.
    WrongInput
        If the model cannot take these features, or chunks this short.

    Examples
    --------
    >>> from hparams import HParams
    >>> model = build_model(HParams(genres=["jazz", "pop"], model="Compact1D"))
    >>> model(torch.zeros(4, 128, 128)).shape  # (batch, frames, bins) -> (batch, classes)
    torch.Size([4, 2])
    """
    models = {name: value for name, value in globals().items() if is_model(value)}
    if hparams.model not in models:
        close = difflib.get_close_matches(hparams.model, models, n=1)
        hint = f"did you mean {close[0]}?" if close else "add the class to it, or pass one of these"
        raise UnknownModel(f"model.py has no {hparams.model}, only {', '.join(models)}: {hint}")
    return models[hparams.model](hparams)


def is_model(value: object) -> bool:
    """Whether a value is a model class defined in this file."""
    return isinstance(value, type) and issubclass(value, nn.Module) and value.__module__ == __name__


class Baseline(nn.Module):
    """The tutorial's 1-D CNN (slides "net.py"): convolutions over time, mel bands as channels.

    As taught, with 1024 frames, 128 bins and pools of 8, 8 and 4, it has 62,408 parameters for 8
    genres. Chunks of 115 to 510 frames get pools of 4, 4 and 2 instead.
    """

    def __init__(self, hparams: Settings) -> None:
        super().__init__()
        check_size("Baseline", hparams, frames=115)
        # pools as taught would leave no frame of a shorter chunk
        pools = (8, 8, 4) if hparams.chunk_length >= 511 else (4, 4, 2)
        frames = hparams.chunk_length
        for kernel, pool in zip((8, 8, 4), pools):
            frames = (frames - kernel + 1) // pool
        self.conv0 = conv_block(hparams.num_bins, 32, 8, pools[0])
        self.conv1 = conv_block(32, 32, 8, pools[1])
        self.conv2 = conv_block(32, 64, 4, pools[2])
        self.linear = nn.Sequential(
            nn.Linear(64 * frames, 64), nn.ReLU(), nn.Dropout(), nn.Linear(64, len(hparams.classes))
        )
        self.apply(init_weights)

    def embed(self, x: Tensor) -> Tensor:
        """The input of the last layer: (batch, frames, bins) to (batch, 64)."""
        x = x.transpose(1, 2)  # (batch, bins, frames)
        x = self.conv0(x)  # (batch, 32, 127) for 1024 frames
        x = self.conv1(x)  # (batch, 32, 15)
        x = self.conv2(x)  # (batch, 64, 3)
        # layer by layer: torch.jit.script cannot slice a Sequential
        x = self.linear[1](self.linear[0](x.flatten(1)))
        return self.linear[2](x)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear[3](self.embed(x))


class FCN4(nn.Module):
    """FCN-4 (Choi, Fazekas and Sandler, 2016): 3 x 3 convolutions over bins and frames.

    The paper's input has 1366 frames and 96 bins: 29.1 s of a log-mel in dB at 12 kHz. The network
    has 17,365,938 parameters for 50 classes. The last pool covers everything that the others leave,
    (4, 8) for the paper's input, so other sizes work too.
    """

    def __init__(self, hparams: Settings) -> None:
        super().__init__()
        check_size("FCN4", hparams, frames=160, bins=24)
        rest = (hparams.num_bins // 24, hparams.chunk_length // 160)  # after the other pools
        self.conv0 = conv_block_2d(1, 128, (2, 4))
        self.conv1 = conv_block_2d(128, 384, (4, 5))
        self.conv2 = conv_block_2d(384, 768, (3, 8))
        self.conv3 = conv_block_2d(768, 2048, rest)
        self.dropout = nn.Dropout()
        self.linear = nn.Linear(2048, len(hparams.classes))
        self.apply(init_weights)

    def embed(self, x: Tensor) -> Tensor:
        """The input of the last layer: (batch, frames, bins) to (batch, 2048)."""
        x = x.transpose(1, 2).unsqueeze(1)  # (batch, 1, bins, frames)
        x = self.dropout(self.conv0(x))  # (batch, 128, 48, 341) for 1366 frames of 96 bins
        x = self.dropout(self.conv1(x))  # (batch, 384, 12, 68)
        x = self.dropout(self.conv2(x))  # (batch, 768, 4, 8)
        x = self.dropout(self.conv3(x))  # (batch, 2048, 1, 1)
        return x.flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.embed(x))


class SampleCNN(nn.Module):
    """SampleCNN, the 3^9 model (Lee, Park, Kim and Nam, 2017): filters of 3 samples each.

    The paper's input has 59,049 samples: 2.68 s at 22,050 Hz. The network has 1,869,874 parameters
    for 50 classes. Longer chunks leave several values at the end; their maximum is classified.
    """

    def __init__(self, hparams: Settings) -> None:
        super().__init__()
        if hparams.feature != "waveform":
            raise WrongInput(
                f"SampleCNN takes waveforms, not {hparams.feature}: pass --feature waveform"
            )
        check_size("SampleCNN", hparams, frames=3**10)
        self.conv = nn.Sequential(
            conv_block(1, 128, 3, stride=3),  # (batch, 128, 19683) for 59049 samples
            conv_block(128, 128, 3, 3, padding=1),  # (batch, 128, 6561)
            conv_block(128, 128, 3, 3, padding=1),  # (batch, 128, 2187)
            conv_block(128, 256, 3, 3, padding=1),  # (batch, 256, 729)
            conv_block(256, 256, 3, 3, padding=1),  # (batch, 256, 243)
            conv_block(256, 256, 3, 3, padding=1),  # (batch, 256, 81)
            conv_block(256, 256, 3, 3, padding=1),  # (batch, 256, 27)
            conv_block(256, 256, 3, 3, padding=1),  # (batch, 256, 9)
            conv_block(256, 256, 3, 3, padding=1),  # (batch, 256, 3)
            conv_block(256, 512, 3, 3, padding=1),  # (batch, 512, 1)
            conv_block(512, 512, 1),  # (batch, 512, 1)
        )
        self.dropout = nn.Dropout()
        self.linear = nn.Linear(512, len(hparams.classes))
        self.apply(init_weights)

    def embed(self, x: Tensor) -> Tensor:
        """The input of the last layer: (batch, samples, 1) to (batch, 512)."""
        x = self.conv(x.transpose(1, 2))  # (batch, 512, 1) for 59049 samples
        return self.dropout(x.amax(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.embed(x))


class Compact1D(nn.Module):
    """A 1-D CNN for a few hundred tracks: convolutions over time, bins as channels.

    Designed for this project. It has 325,960 parameters for 128 bins and 8 genres. Each bin is
    normalized by its own mean and deviation. The mean and the maximum over time are classified, so
    a chunk of any length gives 512 values.
    """

    def __init__(self, hparams: Settings) -> None:
        super().__init__()
        check_size("Compact1D", hparams, frames=16)
        self.normalize = nn.BatchNorm1d(hparams.num_bins)
        widths = (hparams.num_bins, 128, 128, 192, 256)
        self.conv = nn.Sequential(
            *(conv_block(a, b, 3, 2, padding=1) for a, b in itertools.pairwise(widths))
        )
        self.dropout = nn.Dropout(0.3)
        self.linear = nn.Linear(512, len(hparams.classes))
        self.apply(init_weights)

    def embed(self, x: Tensor) -> Tensor:
        """The input of the last layer: (batch, frames, bins) to (batch, 512)."""
        x = self.normalize(x.transpose(1, 2))  # (batch, bins, frames)
        x = self.conv(x)  # (batch, 256, 8) for 128 frames
        return self.dropout(torch.cat([x.mean(2), x.amax(2)], dim=1))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.embed(x))


class Compact2D(nn.Module):
    """A 2-D CNN for a few hundred tracks: 3 x 3 convolutions over bins and frames.

    Designed for this project. It has 318,216 parameters for 128 bins and 8 genres. Each bin is
    normalized by its own mean and deviation. The mean over bins is classified by its mean and its
    maximum over time.
    """

    def __init__(self, hparams: Settings) -> None:
        super().__init__()
        check_size("Compact2D", hparams, frames=16, bins=16)
        self.normalize = nn.BatchNorm1d(hparams.num_bins)
        widths = (1, 32, 64, 128, 192)
        self.conv = nn.Sequential(*(conv_block_2d(a, b, 2) for a, b in itertools.pairwise(widths)))
        self.dropout = nn.Dropout(0.3)
        self.linear = nn.Linear(384, len(hparams.classes))
        self.apply(init_weights)

    def embed(self, x: Tensor) -> Tensor:
        """The input of the last layer: (batch, frames, bins) to (batch, 384)."""
        x = self.normalize(x.transpose(1, 2))  # (batch, bins, frames)
        x = self.conv(x.unsqueeze(1))  # (batch, 192, 8, 8) for 128 frames of 128 bins
        x = x.mean(2)  # over bins: (batch, 192, 8)
        return self.dropout(torch.cat([x.mean(2), x.amax(2)], dim=1))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.embed(x))


class MusiCNN(nn.Module):
    """musicnn (Pons et al., 2018; Pons and Serra, 2019): filters shaped like timbre and rhythm.

    The papers' input has 187 frames and 96 bins: 3 s of a log-mel on the scale "musicnn" at 16 kHz.
    The network has 787,159 parameters for 50 classes. It takes chunks of any length from 128 frames
    on, the longest filter. `pretrained.py` gets the authors' weights.
    """

    def __init__(self, hparams: Settings) -> None:
        super().__init__()
        bins = hparams.num_bins
        check_size("MusiCNN", hparams, frames=128, bins=10)
        self.normalize = nn.BatchNorm2d(1, eps=1e-3)
        timbre = [(204, 7, bins * 2 // 5), (204, 7, bins * 7 // 10)]
        rhythm = [(51, 128, 1), (51, 64, 1), (51, 32, 1)]
        self.front = nn.ModuleList(time_filters(1, *sizes, bins) for sizes in timbre + rhythm)
        self.middle = nn.ModuleList(time_filters(inputs, 64, 7) for inputs in (561, 64, 64))
        self.pooled = nn.BatchNorm1d(1506, eps=1e-3)
        self.hidden = nn.Linear(1506, 200)
        self.embedding = nn.BatchNorm1d(200, eps=1e-3)
        self.dropout = nn.Dropout()
        self.linear = nn.Linear(200, len(hparams.classes))
        self.apply(init_weights)

    def pool(self, x: Tensor) -> Tensor:
        """Maximum and mean over time of all filters: (batch, frames, bins) to (batch, 1506)."""
        x = self.normalize(x.unsqueeze(1))  # (batch, 1, frames, bins)
        x = torch.cat([filters(x) for filters in self.front], dim=1)  # (batch, 561, frames, 1)
        first = self.middle[0](x)  # (batch, 64, frames, 1)
        second = first + self.middle[1](first)
        third = second + self.middle[2](second)
        x = torch.cat([x, first, second, third], dim=1).squeeze(3)  # (batch, 753, frames)
        return torch.stack([x.amax(2), x.mean(2)], dim=2).flatten(1)  # max, mean, max, mean ...

    def embed(self, x: Tensor) -> Tensor:
        """The input of the last layer: (batch, frames, bins) to (batch, 200)."""
        x = self.dropout(self.pooled(self.pool(x)))
        return self.dropout(self.embedding(self.hidden(x).relu()))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.embed(x))


ADVICE = {  # what to do about too few bins, by feature
    "log_mel": "raise --num_mels",
    "linear_stft": "raise --fft_size",
    "mfcc": "raise --num_mfcc",
    "cqt": "raise --num_cqt_bins",
    "waveform": "pass another --feature",
}


def check_size(name: str, hparams: Settings, frames: int, bins: int = 1) -> None:
    """Raise `ChunkTooShort` or `WrongInput` if chunks have fewer `frames` or `bins`."""
    if hparams.num_bins < bins:
        raise WrongInput(
            f"{name} takes {bins} bins or more, not {hparams.num_bins}: {ADVICE[hparams.feature]}"
        )
    if hparams.chunk_length < frames:
        rows = "samples" if hparams.feature == "waveform" else "frames"
        raise ChunkTooShort(
            f"{name} takes chunks of {frames} {rows} or more, not {hparams.chunk_length}: "
            "raise --chunk_length"
        )


def conv_block(
    inputs: int, outputs: int, kernel: int, pool: int = 0, stride: int = 1, padding: int = 0
) -> nn.Sequential:
    """Convolution over time, batch normalization, ReLU and max pooling (`pool` 0: none)."""
    return nn.Sequential(
        nn.Conv1d(inputs, outputs, kernel, stride, padding),
        nn.BatchNorm1d(outputs),
        nn.ReLU(),
        *([nn.MaxPool1d(pool)] if pool else []),
    )


def conv_block_2d(inputs: int, outputs: int, pool: int | tuple) -> nn.Sequential:
    """The same over bins and frames, with padded 3 x 3 filters."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
        nn.MaxPool2d(pool),
    )


def time_filters(
    inputs: int, outputs: int, frames: int, bins: int = 1, all_bins: int = 1
) -> nn.Sequential:
    """Convolution over time and bins, ReLU, batch normalization and the maximum over bins.

    Time is padded: (batch, inputs, time, all_bins) becomes (batch, outputs, time, 1).
    """
    return nn.Sequential(
        nn.ZeroPad2d((0, 0, (frames - 1) // 2, frames // 2)),
        nn.Conv2d(inputs, outputs, (frames, bins)),
        nn.ReLU(),
        nn.BatchNorm2d(outputs, eps=1e-3),
        nn.MaxPool2d((1, all_bins - bins + 1)),
    )


def init_weights(layer: nn.Module) -> None:
    """The tutorial's initialization: Kaiming for convolutions, Xavier for linear layers.

    The code of SampleCNN's authors does the same; the FCN-4 paper does not specify one.
    """
    if isinstance(layer, nn.Conv1d | nn.Conv2d):
        nn.init.kaiming_uniform_(layer.weight)
    elif isinstance(layer, nn.Linear):
        nn.init.xavier_uniform_(layer.weight)

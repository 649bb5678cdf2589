"""The models. Edit this file: a class added here is chosen with `--model NAME`.

A model takes the settings in its constructor and a batch (batch, frames, bins) in `forward`, which
returns logits (batch, classes), never softmaxed. `embed` returns what the last layer sees. It reads
`hparams.num_bins` (bins), `hparams.chunk_length` (frames) and `hparams.genres` (classes).
"""

import difflib
import itertools

import torch
import torch.nn as nn


class ChunkTooShort(ValueError):
    """A chunk that leaves a model's layers nothing; the message says the shortest it takes."""


class UnknownModel(ValueError):
    """A name that no class of this file has; the message says those there are."""


def build_model(hparams):
    """The model that `hparams.model` names. Raises `UnknownModel` where no class here has the name.

    The parameters depend on torch's global seed.
    """
    models = {name: value for name, value in globals().items() if is_model(value)}
    if hparams.model not in models:
        close = difflib.get_close_matches(hparams.model, models, n=1)
        hint = f"did you mean {close[0]}?" if close else "add the class to it, or pass one of these"
        raise UnknownModel(f"model.py has no {hparams.model}, only {', '.join(models)}: {hint}")
    return models[hparams.model](hparams)


def is_model(value):
    """Whether it is a model class of this file."""
    return isinstance(value, type) and issubclass(value, nn.Module) and value.__module__ == __name__


class Baseline(nn.Module):
    """The tutorial's 1-D CNN (slides "net.py"): convolutions over time, mel bands as channels.

    Takes (batch, 1024, 128) as taught, with pools of 8, 8 and 4: 62,408 parameters for 8 genres.
    Chunks of 115 to 510 frames have pools of 4, 4 and 2 instead. The shortest chunk is 115 frames.
    """

    def __init__(self, hparams):
        super().__init__()
        pools = (8, 8, 4) if hparams.chunk_length >= 511 else (4, 4, 2)
        frames = hparams.chunk_length
        for kernel, pool in zip((8, 8, 4), pools):
            frames = (frames - kernel + 1) // pool
        if frames < 1:
            raise ChunkTooShort(
                f"Baseline takes chunks of 115 frames or more, not {hparams.chunk_length}: "
                "raise --chunk_length"
            )
        self.conv0 = conv_block(hparams.num_bins, 32, 8, pools[0])
        self.conv1 = conv_block(32, 32, 8, pools[1])
        self.conv2 = conv_block(32, 64, 4, pools[2])
        self.linear = nn.Sequential(
            nn.Linear(64 * frames, 64), nn.ReLU(), nn.Dropout(), nn.Linear(64, len(hparams.genres))
        )
        self.apply(init_weights)

    def embed(self, x):
        """The layer before the head: (batch, frames, bins) to (batch, 64)."""
        x = x.transpose(1, 2)  # (batch, bins, frames)
        x = self.conv0(x)  # (batch, 32, 127) for 1024 frames
        x = self.conv1(x)  # (batch, 32, 15)
        x = self.conv2(x)  # (batch, 64, 3)
        return self.linear[:-1](x.flatten(1))

    def forward(self, x):
        return self.linear[-1](self.embed(x))


class Compact1D(nn.Module):
    """A 1-D CNN for some hundred tracks: convolutions over time, bins as channels.

    Takes (batch, frames, bins) of 16 frames or more: 359,050 parameters for 128 bins, 8 genres.
    Each bin is normalized by its own mean and deviation (Choi et al., 2018), and both the mean and
    the maximum over time are classified, so that a chunk of any length gives 512 values.
    """

    def __init__(self, hparams):
        super().__init__()
        check_length("Compact1D", hparams, 16)
        self.normalize = nn.BatchNorm1d(hparams.num_bins)
        widths = (hparams.num_bins, 128, 128, 192, 256)
        self.layers = nn.Sequential(
            *(padded_block(nn.Conv1d, a, b) for a, b in itertools.pairwise(widths))
        )
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Linear(2 * widths[-1], len(hparams.genres))
        self.apply(init_weights)

    def embed(self, x):
        """The layer before the head: (batch, frames, bins) to (batch, 512)."""
        x = self.normalize(x.transpose(1, 2))  # (batch, bins, frames)
        x = self.layers(x)  # (batch, 256, frames / 16)
        return torch.cat([x.mean(2), x.amax(2)], dim=1)

    def forward(self, x):
        return self.head(self.dropout(self.embed(x)))


class Compact2D(nn.Module):
    """A 2-D CNN for some hundred tracks: 3 x 3 convolutions over time and frequency.

    Takes (batch, frames, bins) of 16 of each or more: 314,000 parameters for 8 genres. Bins are
    normalized one by one, frequency is averaged at the end, time averaged and maximized.
    """

    def __init__(self, hparams):
        super().__init__()
        check_length("Compact2D", hparams, 16)
        self.normalize = nn.BatchNorm1d(hparams.num_bins)
        widths = (1, 32, 64, 128, 192)
        self.layers = nn.Sequential(
            *(padded_block(nn.Conv2d, a, b) for a, b in itertools.pairwise(widths))
        )
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Linear(2 * widths[-1], len(hparams.genres))
        self.apply(init_weights)

    def embed(self, x):
        """The layer before the head: (batch, frames, bins) to (batch, 384)."""
        x = self.normalize(x.transpose(1, 2))  # (batch, bins, frames)
        x = self.layers(x.unsqueeze(1)).mean(2)  # (batch, 192, frames / 16)
        return torch.cat([x.mean(2), x.amax(2)], dim=1)

    def forward(self, x):
        return self.head(self.dropout(self.embed(x)))


def check_length(name, hparams, shortest):
    """Raise `ChunkTooShort` where the chunk has fewer frames than a model takes."""
    if hparams.chunk_length < shortest:
        raise ChunkTooShort(
            f"{name} takes chunks of {shortest} frames or more, not {hparams.chunk_length}: "
            "raise --chunk_length"
        )


def padded_block(convolution, channels_in, channels_out):
    """Convolution of 3 that keeps its size, batch normalization, ReLU and max pooling by 2.

    `convolution` is `nn.Conv1d` or `nn.Conv2d`.
    """
    one = convolution is nn.Conv1d
    return nn.Sequential(
        convolution(channels_in, channels_out, 3, padding=1, bias=False),
        (nn.BatchNorm1d if one else nn.BatchNorm2d)(channels_out),
        nn.ReLU(),
        (nn.MaxPool1d if one else nn.MaxPool2d)(2),
    )


def conv_block(channels_in, channels_out, kernel_size, pool_size):
    """Convolution, batch normalization, ReLU and max pooling over time."""
    return nn.Sequential(
        nn.Conv1d(channels_in, channels_out, kernel_size),
        nn.BatchNorm1d(channels_out),
        nn.ReLU(),
        nn.MaxPool1d(pool_size),
    )


def init_weights(layer):
    """The tutorial's initialization: Kaiming for convolutions, Xavier for linear layers."""
    if isinstance(layer, (nn.Conv1d, nn.Conv2d)):
        nn.init.kaiming_uniform_(layer.weight)
    elif isinstance(layer, nn.Linear):
        nn.init.xavier_uniform_(layer.weight)

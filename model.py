"""The models. Edit this file: a class added here is chosen with `--model NAME`.

A model takes the settings in its constructor and a batch (batch, frames, bins) in `forward`, which
returns logits (batch, classes), never softmaxed. `embed` returns what the last layer sees. It reads
`hparams.num_bins` (bins), `hparams.chunk_length` (frames) and `hparams.genres` (classes).
"""

import difflib

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
    if isinstance(layer, nn.Conv1d):
        nn.init.kaiming_uniform_(layer.weight)
    elif isinstance(layer, nn.Linear):
        nn.init.xavier_uniform_(layer.weight)

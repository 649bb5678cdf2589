"""The models. Edit this file: a class added here is chosen with `--model NAME`.

A model takes the settings in its constructor and a batch (batch, frames, bins) in `forward`, which
returns logits (batch, classes), never softmaxed. `embed` returns what the last layer sees. It reads
`hparams.num_bins` (bins), `hparams.chunk_length` (frames) and `hparams.classes` (genres or tags).
"""

import difflib
import itertools

import torch
import torch.nn as nn


class WrongInput(ValueError):
    """Features that a model cannot take; the message says which it takes, and the flag to pass."""


class ChunkTooShort(WrongInput):
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


def to_probabilities(logits, task):
    """Logits (chunks, classes), a tensor, as probabilities: of one of all genres, of each tag."""
    return logits.sigmoid() if task == "tagging" else logits.softmax(1)


class Baseline(nn.Module):
    """The tutorial's 1-D CNN (slides "net.py"): convolutions over time, mel bands as channels.

    Takes (batch, 1024, 128) as taught, with pools of 8, 8 and 4: 62,408 parameters for 8 genres.
    Chunks of 115 to 510 frames have pools of 4, 4 and 2 instead. The shortest chunk is 115 frames.
    """

    def __init__(self, hparams):
        super().__init__()
        check_size("Baseline", hparams, frames=115)
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

    def embed(self, x):
        """The layer before the head: (batch, frames, bins) to (batch, 64)."""
        x = x.transpose(1, 2)  # (batch, bins, frames)
        x = self.conv0(x)  # (batch, 32, 127) for 1024 frames
        x = self.conv1(x)  # (batch, 32, 15)
        x = self.conv2(x)  # (batch, 64, 3)
        return self.linear[:-1](x.flatten(1))

    def forward(self, x):
        return self.linear[-1](self.embed(x))


class FCN4(nn.Module):
    """FCN-4 (Choi, Fazekas and Sandler, 2016): convolutions of 3 x 3 over bins and frames.

    Takes (batch, 1366, 96) in the paper, 29.1 s of a log-mel in dB at 12 kHz. 17,365,938 parameters
    for 50 classes. Its last pool spans what the others leave, (4, 8) of the paper's input, so that
    other sizes work: 160 frames and 24 bins or more.
    """

    def __init__(self, hparams):
        super().__init__()
        check_size("FCN4", hparams, frames=160, bins=24)
        rest = (hparams.num_bins // 24, hparams.chunk_length // 160)
        self.conv0 = conv_block_2d(1, 128, (2, 4))
        self.conv1 = conv_block_2d(128, 384, (4, 5))
        self.conv2 = conv_block_2d(384, 768, (3, 8))
        self.conv3 = conv_block_2d(768, 2048, rest)
        self.dropout = nn.Dropout()
        self.linear = nn.Linear(2048, len(hparams.classes))
        self.apply(init_weights)

    def embed(self, x):
        """The layer before the head: (batch, frames, bins) to (batch, 2048)."""
        x = x.transpose(1, 2).unsqueeze(1)  # (batch, 1, bins, frames)
        x = self.dropout(self.conv0(x))  # (batch, 128, 48, 341) for 1366 frames of 96 bins
        x = self.dropout(self.conv1(x))  # (batch, 384, 12, 68)
        x = self.dropout(self.conv2(x))  # (batch, 768, 4, 8)
        x = self.dropout(self.conv3(x))  # (batch, 2048, 1, 1)
        return x.flatten(1)

    def forward(self, x):
        return self.linear(self.embed(x))


class SampleCNN(nn.Module):
    """SampleCNN, the 3^9 model (Lee, Park, Kim and Nam, 2017): filters of 3 samples each.

    Takes waveforms (batch, 59049, 1), 2.68 s at 22,050 Hz. 1,869,874 parameters for 50 classes. Of
    a longer chunk the maximum over what is left at the end counts. The shortest is 59,049 samples.
    """

    def __init__(self, hparams):
        super().__init__()
        if hparams.feature != "waveform":
            raise WrongInput(f"SampleCNN takes no {hparams.feature}: pass --feature waveform")
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

    def embed(self, x):
        """The layer before the head: (batch, samples, 1) to (batch, 512)."""
        x = self.conv(x.transpose(1, 2))  # (batch, 512, 1) for 59049 samples
        return self.dropout(x.amax(2))

    def forward(self, x):
        return self.linear(self.embed(x))


class Compact1D(nn.Module):
    """A 1-D CNN for some hundred tracks: convolutions over time, bins as channels.

    Takes (batch, frames, bins) of 16 frames or more: 325,960 parameters for 128 bins, 8 genres.
    Each bin is normalized by its own mean and deviation, and both the mean and the maximum over
    time are classified, so that a chunk of any length gives 512 values. This project's own.
    """

    def __init__(self, hparams):
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

    def embed(self, x):
        """The layer before the head: (batch, frames, bins) to (batch, 512)."""
        x = self.normalize(x.transpose(1, 2))  # (batch, bins, frames)
        x = self.conv(x)  # (batch, 256, 8) for 128 frames
        return self.dropout(torch.cat([x.mean(2), x.amax(2)], dim=1))

    def forward(self, x):
        return self.linear(self.embed(x))


class Compact2D(nn.Module):
    """A 2-D CNN for some hundred tracks: convolutions of 3 x 3 over bins and frames.

    Takes (batch, frames, bins) of 16 frames and 16 bins or more: 318,216 parameters for 128 bins, 8
    genres. Bins are normalized one by one and averaged at the end; time is averaged, and its
    maximum taken. This project's own.
    """

    def __init__(self, hparams):
        super().__init__()
        check_size("Compact2D", hparams, frames=16, bins=16)
        self.normalize = nn.BatchNorm1d(hparams.num_bins)
        widths = (1, 32, 64, 128, 192)
        self.conv = nn.Sequential(*(conv_block_2d(a, b, 2) for a, b in itertools.pairwise(widths)))
        self.dropout = nn.Dropout(0.3)
        self.linear = nn.Linear(384, len(hparams.classes))
        self.apply(init_weights)

    def embed(self, x):
        """The layer before the head: (batch, frames, bins) to (batch, 384)."""
        x = self.normalize(x.transpose(1, 2))  # (batch, bins, frames)
        x = self.conv(x.unsqueeze(1)).mean(2)  # (batch, 192, 8) for 128 frames
        return self.dropout(torch.cat([x.mean(2), x.amax(2)], dim=1))

    def forward(self, x):
        return self.linear(self.embed(x))


BINS_FLAGS = {
    "log_mel": "raise --num_mels",
    "linear_stft": "raise --fft_size",
    "mfcc": "raise --num_mfcc",
    "cqt": "raise --num_cqt_bins",
    "waveform": "pass another --feature",
}


def check_size(name, hparams, frames, bins=1):
    """Raise `ChunkTooShort` where a chunk has fewer `frames`, `WrongInput` where fewer `bins`."""
    if hparams.num_bins < bins:
        raise WrongInput(
            f"{name} takes {bins} bins or more, not {hparams.num_bins}: "
            f"{BINS_FLAGS[hparams.feature]}"
        )
    if hparams.chunk_length < frames:
        rows = "samples" if hparams.feature == "waveform" else "frames"
        raise ChunkTooShort(
            f"{name} takes chunks of {frames} {rows} or more, not {hparams.chunk_length}: "
            "raise --chunk_length"
        )


def conv_block(channels_in, channels_out, kernel_size, pool_size=None, stride=1, padding=0):
    """Convolution, batch normalization, ReLU and, of a `pool_size`, max pooling over time."""
    layers = [
        nn.Conv1d(channels_in, channels_out, kernel_size, stride, padding),
        nn.BatchNorm1d(channels_out),
        nn.ReLU(),
    ]
    if pool_size is not None:
        layers.append(nn.MaxPool1d(pool_size))
    return nn.Sequential(*layers)


def conv_block_2d(channels_in, channels_out, pool_size):
    """As `conv_block`, over bins and frames, 3 x 3, and padded."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, padding=1),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
        nn.MaxPool2d(pool_size),
    )


def init_weights(layer):
    """The tutorial's initialization: Kaiming for convolutions, Xavier for linear layers.

    SampleCNN's authors have the same in their code; Choi et al. name none.
    """
    if isinstance(layer, nn.Conv1d | nn.Conv2d):
        nn.init.kaiming_uniform_(layer.weight)
    elif isinstance(layer, nn.Linear):
        nn.init.xavier_uniform_(layer.weight)

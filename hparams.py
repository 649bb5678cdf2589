"""All settings of the pipeline, with their defaults, help and rules.

Scripts take settings as flags, and files of flags:

    python train_test.py --dataset_path dataset/demo --learning_rate 0.003
    python train_test.py @recipe.args --seed 7
    python hparams.py --help

Names and defaults are from the tutorial (slide "Hparams") if it has the setting. Settings that only
one script reads are flags of that script.
"""

import dataclasses
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from support.errors import UserError, run_script
from support.files import hash_values, place_name
from support.flags import command_line, flag_words, read_flags, setting
from support.forms import has_type
from support.rules import (
    Rule,
    at_most,
    below,
    check_rules,
    is_unique,
    not_negative,
    one_of,
    positive,
    without,
)

KINDS = ("log_mel", "linear_stft", "mfcc", "cqt", "waveform")
SCALES = ("tutorial", "db", "musicnn", "none")
TASK_NAMES = ("genre", "tagging")
CLASSICAL = ("data", "task", "feature", "model", "seed", "run")  # groups that classic.py reads
LOWEST_CQT_HZ = 32.7  # C1
SAMPLE_CNN = (11 * 3**10, 3**10)  # samples kept of a track and of a chunk: 11 chunks of 2.68 s
# settings of version 1.0 that are flags of one script now
LEFT = {"augment_path", "augment_effects", "augment_copies", "recipes", "num_seeds", "pair"}


def device_value(text: str) -> int | str:
    """Read a device: digits become int, other text stays."""
    return int(text) if text.isascii() and text.isdecimal() else text


@dataclass
class HParams:
    """All settings of extraction and training; the group "feature" determines the features."""

    dataset_path: str = setting("./dataset/gtzan", "data", "folder of the data set")
    feature_path: str = setting(
        "", "data", "folder of the features (unset: one per data set and settings)"
    )
    genres: list[str] = setting([], "data", "classes to use (unset: all in the lists)")
    num_workers: int = setting(0, "data", "threads for extraction and loading (0: one per core)")
    cache_gb: float = setting(
        4.0, "data", "GB of memory per split, on the GPU if any; larger splits stay on disk"
    )
    skip_broken: bool = setting(False, "data", "leave out tracks that cannot be read")

    task: str = setting("genre", "task", "genre: one per track; tagging: the tags in tags.csv")
    tags: list[str] = setting([], "task", "tags to learn with --task tagging (unset: all)")

    feature: str = setting(
        "log_mel", "feature", "log_mel, linear_stft, mfcc, cqt or waveform", metavar="KIND"
    )
    scale: str = setting(
        "tutorial",
        "feature",
        "scale of magnitudes: tutorial (log10(1 + 10 x)), db, musicnn (log10(1 + 10000 x^2)) or "
        "none; MFCCs always use db",
        metavar="KIND",
    )
    sample_rate: int = setting(22050, "feature", "samples per second, after resampling")
    fft_size: int = setting(1024, "feature", "samples per Fourier transform (n_fft)")
    win_size: int = setting(1024, "feature", "samples in the Hann window (win_length)")
    hop_size: int = setting(512, "feature", "samples between frames (hop_length)")
    num_mels: int = setting(128, "feature", "mel bands (n_mels)")
    num_mfcc: int = setting(13, "feature", "MFCC coefficients (n_mfcc)")
    num_cqt_bins: int = setting(168, "feature", "CQT bins, from 32.7 Hz up (n_bins)")
    bins_per_octave: int = setting(24, "feature", "CQT bins per octave")
    feature_length: int = setting(
        1024, "feature", "frames kept of a track (0: all); samples for a waveform"
    )
    chunk_length: int = setting(
        128, "feature", "frames in a chunk, the input of a model; samples for a waveform"
    )

    model: str = setting("Baseline", "model", "class in model.py, or classifier of classic.py")
    init_from: str = setting(
        "",
        "model",
        "run to start from, with its settings and weights: a folder, or a pretrained model's name",
        metavar="RUN",
    )
    embedding: str = setting(
        "embed", "model", "how classic.py --init_from embeds chunks: embed, or pool of MusiCNN"
    )

    normalize: str = setting(
        "train", "training", "train (mean and deviation of the train split become 0 and 1) or none"
    )
    freeze: bool = setting(False, "training", "with --init_from: train the last layer alone")
    freeze_epochs: int = setting(
        0, "training", "with --init_from: train the last layer alone for this many epochs"
    )
    backbone_learning_rate: float = setting(
        0.0, "training", "learning rate of the weights from --init_from (0: same as learning_rate)"
    )
    device: int | str = setting(
        1,
        "training",
        "0: CPU, 1: first GPU, 2: second GPU ...; or cpu, cuda, cuda:1, mps",
        type=device_value,
        metavar="DEVICE",
    )
    batch_size: int = setting(128, "training", "chunks per training step")
    num_epochs: int = setting(100, "training", "passes over the train split, at most")
    optimizer: str = setting("sgd", "training", "sgd or adamw")
    learning_rate: float = setting(1e-2, "training", "learning rate; with onecycle its maximum")
    momentum: float = setting(0.0, "training", "momentum for sgd")
    weight_decay: float = setting(0.0, "training", "L2 penalty for sgd, weight decay for adamw")
    lr_schedule: str = setting(
        "none",
        "training",
        "none, plateau (halves after 5 epochs without a better validation loss) or onecycle",
    )
    label_smoothing: float = setting(0.0, "training", "label smoothing")
    class_weights: bool = setting(
        False, "training", "weight the loss so that rare genres and tags count as much"
    )
    patience: int = setting(
        0, "training", "stop after this many epochs without a better validation loss (0: never)"
    )
    max_minutes: float = setting(
        0.0, "training", "stop at the end of the epoch after this many minutes (0: never)"
    )
    precision: str = setting("fp32", "training", "fp32, or bf16: faster with bfloat16 units")
    tensorboard: bool = setting(
        False, "training", "also write losses and accuracies for TensorBoard"
    )
    seed: int = setting(0, "seed", "random seed")
    run_path: str = setting("", "run", "folder of the run (unset: a new one in runs)")
    resume: str = setting(
        "",
        "run",
        "continue an interrupted run (without a folder: the newest)",
        nargs="?",
        const="newest",
        metavar="RUN",
    )

    random_offset: bool = setting(False, "augmentation", "start train chunks at random frames")
    gain_db: float = setting(0.0, "augmentation", "random gain of up to +- this many dB")
    noise_snr_db: float = setting(
        0.0, "augmentation", "white noise at an SNR from this many dB to 30 dB more (0: none)"
    )
    time_mask: int = setting(0, "augmentation", "longest run of rows masked in a chunk")
    frequency_mask: int = setting(0, "augmentation", "widest band of bins masked in a chunk")
    mixup: float = setting(0.0, "augmentation", "alpha of mixup: mixes pairs of chunks and labels")

    def __post_init__(self) -> None:
        # an accented letter can be one character or two: names compare in one form everywhere
        self.genres = [unicodedata.normalize("NFC", name) for name in self.genres]
        self.tags = [unicodedata.normalize("NFC", name) for name in self.tags]

    def parse_argument(
        self, argv: Sequence[str] | None = None, groups: Sequence[str] | None = None
    ) -> Self:
        """Return these settings changed by the flags in `argv` (None: those of the command line).

        Only flags of the given groups are known (None: all groups). Exits with status 2 on a wrong
        flag or value, as argparse does.
        """
        parsed: list[Self] = read_flags(argv, self, groups=groups)
        return parsed[0]

    def validate(self) -> None:
        """Raise `UserError` (value, rule, remedy) for settings that cannot work."""
        check_rules(self, RULES)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain values, ready for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Return settings from `to_dict` of this or an older version.

        Raises `UserError` for unknown names and wrong types.
        """
        values = {name: value for name, value in values.items() if name not in LEFT}
        if unknown := values.keys() - {f.name for f in dataclasses.fields(cls)}:
            raise UserError(f"this version has no setting {', '.join(sorted(unknown))}")
        for f in (f for f in dataclasses.fields(cls) if f.name in values):
            if not has_type(values[f.name], f.type):
                shown = f.type.__name__ if isinstance(f.type, type) else f.type
                raise UserError(f"{f.name} {values[f.name]!r}: must be {shown}")
        return cls(**values)

    @property
    def classes(self) -> list[str]:
        """The classes that a model predicts: the genres, or when tagging the tags."""
        return {"genre": self.genres, "tagging": self.tags}[self.task]

    @property
    def num_bins(self) -> int:
        """The number of values in a row of the feature."""
        return {
            "log_mel": self.num_mels,
            "linear_stft": self.fft_size // 2 + 1,
            "mfcc": self.num_mfcc,
            "cqt": self.num_cqt_bins,
            "waveform": 1,
        }[self.feature]

    @property
    def highest_cqt_hz(self) -> float:
        """The upper end of a CQT in Hz."""
        octaves = min(99, self.num_cqt_bins / self.bins_per_octave)  # 2.0**1024 overflows
        return LOWEST_CQT_HZ * 2**octaves

    def feature_settings(self) -> dict[str, Any]:
        """Return the settings of the group "feature", by name."""
        return {f.name: getattr(self, f.name) for f in in_group("feature")}

    def fingerprint(self) -> str:
        """Return eight hex digits that identify the feature settings."""
        return hash_values(self.feature_settings())[:8]

    def feature_folder(self) -> Path:
        """Return `feature_path`, or the default folder for the data set and feature settings."""
        if self.feature_path:
            return Path(self.feature_path)
        name = f"{place_name(self.dataset_path)}-{self.feature}-{self.fingerprint()}"
        return Path("dataset/feature", name)

    def data_place(self) -> str:
        """Return where the data set is: its path, absolute and without links."""
        return str(Path(self.dataset_path).resolve())

    def data_name(self) -> str:
        """Return the name of the data set's folder."""
        return Path(self.data_place()).name

    def command(self, script: str, *groups: str) -> str:
        """Return the command that runs a script with the settings of groups, unless default."""
        words = ["python", script]
        for f in in_group(*groups):
            if (value := getattr(self, f.name)) != getattr(hparams, f.name):
                words += flag_words(f.name, value)
        return command_line(*words)


def in_group(*groups: str) -> list[dataclasses.Field[Any]]:
    """Return the fields that belong to groups."""
    return [f for f in dataclasses.fields(HParams) if f.metadata["group"] in groups]


hparams = HParams()
# far above any use: a checkpoint or a flag that asks for more is refused before memory is used
MOST_VALUES = 2**26  # in a chunk, or in the mel filters: arrays of 268 MB
MOST = {
    **{"sample_rate": 1_000_000, "fft_size": 2**20, "win_size": 2**20, "hop_size": 2**20},
    **{"num_mels": 8192, "num_mfcc": 8192, "num_cqt_bins": 4096, "bins_per_octave": 360},
    **{"batch_size": 2**20, "num_epochs": 10**6, "num_workers": 1024},
}
POSITIVE = (
    *("sample_rate", "fft_size", "win_size", "hop_size", "num_mels", "chunk_length"),
    *("num_mfcc", "num_cqt_bins", "bins_per_octave", "batch_size", "num_epochs"),
)
NOT_NEGATIVE = (
    *("feature_length", "num_workers", "cache_gb", "patience", "max_minutes", "seed"),
    *("momentum", "weight_decay", "label_smoothing", "freeze_epochs", "backbone_learning_rate"),
    *("gain_db", "noise_snr_db", "time_mask", "frequency_mask", "mixup"),
)


def fits(name: str, unit: str, size: Callable[[HParams], int], most: int) -> Rule:
    """Return the rule that an array of a setting's length, with rows of a size, fits memory."""
    message = f"times {unit} must be at most {most}: pass a smaller value"
    return Rule(name, lambda s: getattr(s, name) * size(s) <= most, message)


def needs_magnitudes(name: str) -> Rule:
    """Return the rule that a setting is 0 unless the feature has magnitudes."""
    message = "changes magnitudes, which {s.feature} does not show: leave it at 0"
    return Rule(name, lambda s: s.feature != "mfcc" or not getattr(s, name), message)


def needs_start(name: str) -> Rule:
    """Return the rule that a setting is its default unless weights come from another run."""
    message = "is for weights of another run: pass --init_from RUN too"
    return Rule(name, lambda s: s.init_from or getattr(s, name) == getattr(hparams, name), message)


def has_sample_lengths(s: HParams) -> bool:
    """Whether the lengths of a waveform's settings were chosen for samples, not for frames."""
    if s.feature_length == hparams.feature_length:
        return False
    whole = s.feature_length == 0 or s.feature_length >= s.sample_rate
    return s.chunk_length != hparams.chunk_length or not whole


RULES = [
    *map(positive, POSITIVE),
    *map(not_negative, NOT_NEGATIVE),
    *(at_most(name, most) for name, most in MOST.items()),
    one_of("feature", *KINDS),
    one_of("scale", *SCALES),
    one_of("normalize", "train", "none"),
    one_of("embedding", "embed", "pool"),
    one_of("optimizer", "sgd", "adamw"),
    one_of("lr_schedule", "none", "plateau", "onecycle"),
    one_of("task", *TASK_NAMES),
    one_of("precision", "fp32", "bf16"),
    Rule(
        "num_mfcc",
        lambda s: s.feature != "mfcc" or s.num_mfcc <= s.num_mels,
        "must be at most num_mels ({s.num_mels})",
    ),
    Rule(
        "num_cqt_bins",
        lambda s: s.feature != "cqt" or s.highest_cqt_hz < s.sample_rate / 2,
        "reach {s.highest_cqt_hz:.0f} Hz, above half the sample_rate: pass fewer",
    ),
    Rule("win_size", lambda s: s.win_size >= 2, "must be 2 or more; the tutorial's is 1024"),
    Rule(
        "win_size",
        lambda s: s.win_size <= s.fft_size or s.feature in ("cqt", "waveform"),
        "must be at most fft_size; pass --win_size {s.fft_size}, or --fft_size {s.win_size}",
    ),
    Rule(
        "feature",
        lambda s: s.feature != "waveform" or has_sample_lengths(s),
        "feature_length and chunk_length count samples, not frames: pass "
        f"--feature_length {SAMPLE_CNN[0]} --chunk_length {SAMPLE_CNN[1]}, "
        "as recipes/samplecnn.args does",
    ),
    Rule(
        "feature_length",
        lambda s: s.feature_length == 0 or s.feature_length >= s.chunk_length,
        "is shorter than one chunk ({s.chunk_length}); pass a smaller --chunk_length too",
    ),
    fits("num_mels", "half of fft_size", lambda s: s.fft_size // 2, MOST_VALUES),
    fits("chunk_length", "the number of bins", lambda s: s.num_bins, MOST_VALUES),
    fits("feature_length", "the number of bins", lambda s: s.num_bins, 32 * MOST_VALUES),
    Rule(
        "learning_rate",
        lambda s: 0 < s.learning_rate < 1e38,
        "must be a number above 0 (and below 1e38); the tutorial's is 0.01",
    ),
    Rule("label_smoothing", lambda s: s.label_smoothing < 1, "must be below 1; 0.1 is common"),
    *map(needs_magnitudes, ("gain_db", "noise_snr_db")),
    Rule("gain_db", lambda s: s.gain_db <= 60, "must be at most 60; 6 doubles a magnitude"),
    Rule("mixup", lambda s: s.mixup <= 100, "must be at most 100; 0.2 is common"),
    below("time_mask", "chunk_length", "chunk_length"),
    below("frequency_mask", "num_bins", "the number of bins"),
    Rule(
        "momentum",
        lambda s: s.optimizer == "sgd" or not s.momentum,
        "is for sgd: leave it out, or pass --optimizer sgd",
    ),
    Rule("momentum", lambda s: s.momentum < 1, "must be below 1; 0.9 is common"),
    Rule("seed", lambda s: s.seed < 2**32, "must be below 2**32 (4294967296)"),
    *map(needs_start, ("embedding", "freeze", "freeze_epochs", "backbone_learning_rate")),
    without("freeze_epochs", "freeze"),
    below("freeze_epochs", "num_epochs", "num_epochs"),
    # embeddings are computed once, before the first epoch
    *(without(f.name, "freeze") for f in in_group("augmentation")),
    without("backbone_learning_rate", "freeze"),
    Rule("genres", lambda s: is_unique(s.genres), "repeats a name; name each once"),
    Rule(
        "tags",
        lambda s: not s.tags or s.task == "tagging",
        "are for tagging: pass --task tagging too",
    ),
    Rule("tags", lambda s: is_unique(s.tags), "repeats a name; name each once"),
    Rule(
        "device",
        lambda s: re.fullmatch(r"\d+|cpu|cuda|cuda:\d+|mps", str(s.device), re.ASCII) is not None,
        "must be 0 (CPU), 1 (first GPU), 2 ..., or cpu, cuda, cuda:1, mps",
    ),
]


def main(argv: Sequence[str] | None = None) -> None:
    """Print all settings, changed by the flags in `argv`."""
    for name, value in hparams.parse_argument(argv).to_dict().items():
        print(f"{name} = {value!r}")


if __name__ == "__main__":
    run_script(main)

"""Every setting of the pipeline: its default, one line of help, its flag and the rule it keeps.

Any script takes any setting as a flag, and files of flags:

    python train_test.py --dataset_path dataset/demo --learning_rate 0.003
    python train_test.py @recipe.args --seed 7
    python hparams.py --help

The names and the defaults are those of the tutorial (slide "Hparams") wherever it names one.
Nothing heavy is imported here, so that `--help` is instant.
"""

import dataclasses
import hashlib
import json
import math
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

from support.errors import UserError, run_script
from support.flags import command_line, flag_words, given_flags, make_parser


def device_value(text):
    """The tutorial's integers as integers, all else as it is written."""
    return int(text) if text.isascii() and text.isdecimal() else text


def setting(default, group, text, **options):
    """A dataclass field with its group, its line of help and what argparse is to know besides."""
    metadata = {"group": group, "help": text, "options": options}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass
class HParams:
    """All settings. Those of the group "feature" shape the features and make their fingerprint."""

    dataset_path: str = setting("./dataset/gtzan", "data", "folder of the data set")
    feature_path: str = setting(
        "", "data", "folder of the features (unset: one for each data set and settings)"
    )
    genres: list[str] = setting([], "data", "classes to use (unset: all that the lists name)")
    num_workers: int = setting(0, "data", "threads that extract and load (0: one a core)")
    cache_gb: float = setting(
        4.0, "data", "GB each split may take in memory, on the GPU if any; else on disk"
    )
    skip_broken: bool = setting(False, "data", "leave tracks out that cannot be read")

    task: str = setting("genre", "task", "genre: one a track; or tagging: the tags of tags.csv")
    tags: list[str] = setting(
        [], "task", "tags to learn, of --task tagging (unset: all that tags.csv names)"
    )

    feature: str = setting(
        "log_mel", "feature", "log_mel, linear_stft, mfcc, cqt or waveform", metavar="KIND"
    )
    scale: str = setting(
        "tutorial",
        "feature",
        "of magnitudes: tutorial (log10(1 + 10 x)), db or none; an mfcc is of db",
        metavar="KIND",
    )
    sample_rate: int = setting(22050, "feature", "samples a second, after resampling")
    fft_size: int = setting(1024, "feature", "samples of one Fourier transform (n_fft)")
    win_size: int = setting(1024, "feature", "samples of the Hann window (win_length)")
    hop_size: int = setting(512, "feature", "samples between frames (hop_length)")
    num_mels: int = setting(128, "feature", "mel bands (n_mels)")
    num_mfcc: int = setting(13, "feature", "coefficients of an mfcc (n_mfcc)")
    num_cqt_bins: int = setting(168, "feature", "bins of a cqt, from 32.7 Hz (n_bins)")
    bins_per_octave: int = setting(24, "feature", "bins of a cqt in an octave")
    feature_length: int = setting(
        1024, "feature", "frames kept of a track (0: all; waveform: samples, 649539 if unset)"
    )
    chunk_length: int = setting(
        128, "feature", "frames a model sees at once (waveform: samples, 59049 if unset)"
    )

    model: str = setting(
        "Baseline", "model", "class of model.py to train, or classifier of classic.py"
    )

    device: int | str = setting(
        1,
        "training",
        "0: CPU, 1: first GPU, 2: second GPU ...; or cpu, cuda, cuda:1, mps",
        type=device_value,
        metavar="DEVICE",
    )
    batch_size: int = setting(128, "training", "chunks a training step")
    num_epochs: int = setting(100, "training", "passes over the train split, at most")
    optimizer: str = setting("sgd", "training", "sgd or adamw")
    learning_rate: float = setting(1e-2, "training", "step size, the largest one of onecycle")
    momentum: float = setting(0.0, "training", "momentum of sgd")
    weight_decay: float = setting(0.0, "training", "L2 penalty of sgd, decay of adamw")
    lr_schedule: str = setting(
        "none",
        "training",
        "none, plateau (halved after 5 epochs without a better validation loss) or onecycle",
    )
    label_smoothing: float = setting(
        0.0, "training", "share of a label given to all classes; of a tag, to having it or not"
    )
    class_weights: bool = setting(
        False, "training", "weigh rare genres as much as common ones; having a tag as not having it"
    )
    patience: int = setting(
        0, "training", "epochs without a better validation loss before stopping (0: never)"
    )
    max_minutes: float = setting(
        0.0, "training", "minutes after which training ends with its epoch (0: never)"
    )
    precision: str = setting(
        "fp32", "training", "fp32, or bf16: faster where the processor has bfloat16 units"
    )
    tensorboard: bool = setting(
        False, "training", "write losses and accuracies for TensorBoard too"
    )
    seed: int = setting(0, "run", "seed of every random draw")
    run_path: str = setting("", "run", "folder of the run (unset: a new one in runs)")
    resume: str = setting(
        "",
        "run",
        "go on with an interrupted run (no folder named: the newest)",
        nargs="?",
        const="newest",
        metavar="RUN",
    )

    augment_path: str = setting(
        "", "copies", "folder of the augmented data set (unset: <dataset_path>-augmented)"
    )
    augment_effects: list[str] = setting(
        [],
        "copies",
        "pitch_shift, time_stretch, speed, noise, shift, percussive (unset: all of them)",
    )
    augment_copies: int = setting(1, "copies", "copies of a track with each effect")

    random_offset: bool = setting(
        False, "augmentation", "train on chunks from any frame of a track on"
    )
    gain_db: float = setting(0.0, "augmentation", "louder or softer by up to so many dB")
    noise_snr_db: float = setting(
        0.0,
        "augmentation",
        "noise in all bins alike, its SNR from so many dB to 30 dB more (0: none)",
    )
    time_mask: int = setting(0, "augmentation", "longest run of rows blanked in a chunk")
    frequency_mask: int = setting(0, "augmentation", "widest band of bins blanked in a chunk")
    mixup: float = setting(0.0, "augmentation", "alpha of mixup: chunks and labels mixed in pairs")

    recipes: list[str] = setting([], "comparison", "files of flags to compare, one a row")
    num_seeds: int = setting(3, "comparison", "runs of each recipe, from --seed on")
    pair: list[str] = setting([], "comparison", "two recipes to compare by McNemar's test")

    def parse_argument(self, argv=None, unread=()):
        """Settings with the flags of `argv` (default: the command line) over these, validated.

        Exits with status 2 and one message on a wrong flag or value, as argparse does. `unread` are
        groups of settings that the script never reads: changing one by a flag is warned of.
        """
        parser = make_parser(self)
        parsed = self.with_flags(given_flags(parser, argv), parser)
        warn_of_unread(parsed, argv, unread, parser.prog)
        return parsed

    def with_flags(self, given, parser):
        """Settings with those `given` (name to value) over these, validated.

        Has the parser exit on a wrong value, with status 2 and one message.
        """
        parsed = dataclasses.replace(self, **given).with_lengths_of_kind(given)
        try:
            parsed.validate()
        except UserError as error:
            parser.error(str(error))
        return parsed

    def with_lengths_of_kind(self, given):
        """These settings with the lengths that suit the feature, where none is `given`, nor set."""
        if self.feature != "waveform" or "feature" not in given:
            return self
        unset = {
            name: length
            for name, length in WAVEFORM_LENGTHS.items()
            if name not in given and getattr(self, name) == getattr(hparams, name)
        }
        return dataclasses.replace(self, **unset)

    def validate(self):
        """Raise `UserError` (value, rule, remedy) for settings that cannot work."""
        for name, holds, rule in self.rules():
            if not holds:
                value = getattr(self, name)
                shown = " ".join(value) if isinstance(value, list) else value
                raise UserError(f"--{name} {shown}: {rule}")

    def rules(self):
        """The rules of the settings: (name, whether it holds, what to say where it does not)."""
        for name in POSITIVE:
            yield name, getattr(self, name) >= 1, "must be 1 or more"
        for name in NOT_NEGATIVE:
            yield name, 0 <= getattr(self, name) < math.inf, "must be 0 or more"
        known = set(self.augment_effects) <= set(AUGMENT_EFFECTS)
        yield "augment_effects", known, f"must be of {', '.join(AUGMENT_EFFECTS)}"
        once = len(set(self.augment_effects)) == len(self.augment_effects)
        yield "augment_effects", once, "names one twice; name each once"
        yield "feature", self.feature in KINDS, f"must be one of {', '.join(KINDS)}"
        yield "scale", self.scale in ("tutorial", "db", "none"), "must be tutorial, db or none"
        few = f"must be at most num_mels ({self.num_mels})"
        yield "num_mfcc", self.feature != "mfcc" or self.num_mfcc <= self.num_mels, few
        top = 32.7 * 2 ** min(99, self.num_cqt_bins / self.bins_per_octave)
        audible = self.feature != "cqt" or top < self.sample_rate / 2
        above = f"reach {top:.0f} Hz, above half the sample_rate: pass fewer"
        yield "num_cqt_bins", audible, above
        win, length, chunk = self.win_size, self.feature_length, self.chunk_length
        audible = "must be at most 1000000; 22050 is the tutorial's"
        yield "sample_rate", self.sample_rate <= 1_000_000, audible
        yield "win_size", win >= 2, "must be 2 or more; 1024 is the tutorial's"
        fits = f"must be at most fft_size; pass --win_size {self.fft_size}, or --fft_size {win}"
        short_time = self.feature in ("log_mel", "linear_stft", "mfcc")
        yield "win_size", win <= self.fft_size or not short_time, fits
        one_chunk = f"is shorter than one chunk ({chunk}); pass a smaller --chunk_length too"
        yield "feature_length", length == 0 or length >= chunk, one_chunk
        above_0 = "must be a number above 0 (and below 1e38); the tutorial's is 0.01"
        yield "learning_rate", 0 < self.learning_rate < 1e38, above_0
        yield "optimizer", self.optimizer in ("sgd", "adamw"), "must be sgd or adamw"
        schedules = ("none", "plateau", "onecycle")
        yield "lr_schedule", self.lr_schedule in schedules, "must be none, plateau or onecycle"
        yield "label_smoothing", self.label_smoothing < 1, "must be below 1; 0.1 is common"
        magnitudes = self.feature in ("log_mel", "linear_stft", "cqt", "waveform")
        needed = f"changes magnitudes, which {self.feature} does not show: leave it 0"
        yield "gain_db", magnitudes or not self.gain_db, needed
        yield "noise_snr_db", magnitudes or not self.noise_snr_db, needed
        yield "gain_db", self.gain_db <= 60, "must be at most 60; 6 doubles a magnitude"
        yield "mixup", self.mixup <= 100, "must be at most 100; 0.2 is common"
        for name, size in (("time_mask", chunk), ("frequency_mask", self.num_bins)):
            yield name, getattr(self, name) < size, f"must leave something of {size}"
        of_sgd = "is of sgd: leave it out, or pass --optimizer sgd"
        yield "momentum", self.optimizer == "sgd" or not self.momentum, of_sgd
        yield "momentum", self.momentum < 1, "must be below 1; 0.9 is common"
        yield "seed", self.seed < 2**32, "must be below 2**32 (4294967296)"
        once = len(set(self.genres)) == len(self.genres)
        yield "genres", once, "names one twice; name each once"
        yield "task", self.task in ("genre", "tagging"), "must be genre or tagging"
        meant = not self.tags or self.task == "tagging"
        yield "tags", meant, "are for tagging: pass --task tagging too"
        once = len(set(self.tags)) == len(self.tags)
        yield "tags", once, "names one twice; name each once"
        yield "precision", self.precision in ("fp32", "bf16"), "must be fp32 or bf16"
        known = re.fullmatch(r"\d+|cpu|cuda|cuda:\d+|mps", str(self.device), re.ASCII)
        yield "device", known, "must be 0 (CPU), 1 (first GPU), 2 ..., or cpu, cuda, cuda:1, mps"

    def to_dict(self):
        """The settings as plain values, ready for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values):
        """Settings from what `to_dict` gave. Raises `UserError` for unknown names, wrong types."""
        unknown = values.keys() - {f.name for f in dataclasses.fields(cls)}
        if unknown:
            raise UserError(f"{', '.join(sorted(unknown))}: no such setting in this version")
        for f in dataclasses.fields(cls):
            kind = {list[str]: list, float: float | int}.get(f.type, f.type)
            if f.name in values and not isinstance(values[f.name], kind):
                raise UserError(f"{f.name} {values[f.name]!r}: is no {f.type}")
        return cls(**values)

    @property
    def classes(self):
        """What a model has an output for: the tags where the task is tagging, else the genres."""
        return self.tags if self.task == "tagging" else self.genres

    @property
    def num_bins(self):
        """Values in a row of the feature: what a model takes as its bins."""
        return {
            "log_mel": self.num_mels,
            "linear_stft": self.fft_size // 2 + 1,
            "mfcc": self.num_mfcc,
            "cqt": self.num_cqt_bins,
            "waveform": 1,
        }[self.feature]

    def feature_settings(self):
        """The settings that shape a feature, by name."""
        return {f.name: getattr(self, f.name) for f in in_group("feature")}

    def fingerprint(self):
        """Eight hex digits that differ when any setting that shapes a feature does."""
        text = json.dumps(self.feature_settings(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    def feature_folder(self):
        """Path of the features: `feature_path`, or one of its own for data set and settings."""
        if self.feature_path:
            return Path(self.feature_path)
        return Path("dataset/feature", f"{self.data_name()}-{self.feature}-{self.fingerprint()}")

    def augment_folder(self):
        """Path of the augmented data set: `augment_path`, or beside the data set itself."""
        if self.augment_path:
            return Path(self.augment_path)
        source = Path(self.dataset_path)
        if source.name in ("", ".."):
            source = source.resolve()
        return source.with_name(f"{source.name}-augmented")

    def data_name(self):
        """Name of the data set: that of its folder."""
        return Path(self.dataset_path).resolve().name

    def command(self, script, *groups):
        """The command that runs `script` with those settings of `groups` that are not default."""
        words = ["python", script]
        unset = HParams(feature=self.feature).with_lengths_of_kind(given={"feature"})
        for f in in_group(*groups):
            value = getattr(self, f.name)
            if value != getattr(unset if f.name != "feature" else hparams, f.name):
                words += flag_words(f.name, value)
        return command_line(*words)


def warn_of_unread(settings, argv, groups, script):
    """Say which flags of the command line change settings of groups that a script never reads.

    Those of an @file, which may be meant for several scripts, are none of it.
    """
    words = sys.argv[1:] if argv is None else argv
    typed = {word.partition("=")[0] for word in words}
    given = [f.name for f in in_group(*groups) if f"--{f.name}" in typed]
    changed = [f"--{name}" for name in given if getattr(settings, name) != getattr(hparams, name)]
    if changed:
        print(f"*** {' '.join(changed)}: no effect on {script}", file=sys.stderr)


KINDS = ("log_mel", "linear_stft", "mfcc", "cqt", "waveform")


AUGMENT_EFFECTS = ("pitch_shift", "time_stretch", "speed", "noise", "shift", "percussive")


WAVEFORM_LENGTHS = {"feature_length": 11 * 3**10, "chunk_length": 3**10}  # SampleCNN's 59,049


POSITIVE = [
    *("sample_rate", "fft_size", "win_size", "hop_size", "num_mels", "chunk_length"),
    *("num_mfcc", "num_cqt_bins", "bins_per_octave"),
    *("batch_size", "num_epochs", "augment_copies", "num_seeds"),
]


NOT_NEGATIVE = [
    *("feature_length", "num_workers", "cache_gb", "patience", "max_minutes", "seed"),
    *("momentum", "weight_decay", "label_smoothing"),
    *("gain_db", "noise_snr_db", "time_mask", "frequency_mask", "mixup"),
]


hparams = HParams()


def in_group(*groups):
    """The fields of those groups, in their order."""
    return [f for f in dataclasses.fields(HParams) if f.metadata["group"] in groups]


def main(argv=None):
    """Print every setting as the flags given leave it."""
    for name, value in hparams.parse_argument(argv).to_dict().items():
        print(f"{name} = {value!r}")


if __name__ == "__main__":
    run_script(main)

"""Compare log-mel extraction with the tutorial's way, as whole processes.

    python benchmarks/bench_extraction.py

Both ways read the same files and write the same features. Also compares time and values of one
track's log-mel, in process, with other libraries if they are installed.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import side_by_side
from numpy.typing import NDArray

from audio.features import log_mel
from dataset.make_lists import write_lists
from hparams import HParams

LogMel = Callable[[NDArray[np.float32]], NDArray]
TAUGHT = """
import os, sys
import librosa, numpy as np

folder, target = sys.argv[1:]
for set_name in ("train", "valid", "test"):
    with open(os.path.join(folder, set_name + "_list.txt")) as file:
        file_names = file.read().splitlines()
    for file_name in file_names:
        y, sr = librosa.load(os.path.join(folder, file_name), sr=22050)
        S = librosa.stft(y, n_fft=1024, hop_length=512, win_length=1024)
        mel_basis = librosa.filters.mel(sr=22050, n_fft=1024, n_mels=128)
        feature = np.log10(1 + 10 * np.dot(mel_basis, np.abs(S))).T
        array = np.zeros((1024, feature.shape[1]))
        array[:feature.shape[0]] = feature[:1024]
        genre, name = file_name.split("/")
        save_path = os.path.join(target, set_name, genre)
        os.makedirs(save_path, exist_ok=True)
        for i, chunk in enumerate(np.split(array, 8)):
            save_name = os.path.splitext(name)[0] + str(i) + ".npy"
            np.save(os.path.join(save_path, save_name), chunk.astype(np.float32))
"""
SETS = [  # name, tracks, sample rate, channels, kind
    ("200 tracks, WAV 22.05 kHz mono", 200, 22050, 1, "wav"),
    ("100 tracks, WAV 44.1 kHz stereo", 100, 44100, 2, "wav"),
    ("100 tracks, FLAC", 100, 22050, 1, "flac"),
    ("100 tracks, MP3", 100, 22050, 1, "mp3"),
]


def compare_sets(folder: Path, runs: int) -> Iterator[tuple[str, ...]]:
    """Yield a row for each data set and number of cores."""
    for what, *options in SETS:
        data = folder / what.replace(" ", "_")
        side_by_side.call_in_process(side_by_side.synthesize, data, *options)
        for number, name in ((0, "all cores"), (1, "1 core")):
            with side_by_side.limit_cores(number):
                yield compare_folder(f"{what}, {name}", data, folder, runs)
        shutil.rmtree(data)


def compare_folder(what: str, data: Path, folder: Path, runs: int) -> tuple[str, ...]:
    """Return the row of one data set. Raises `RuntimeError` if the features differ."""
    taught, ours = folder / "taught", folder / "ours"
    flags = ["feature_extraction.py", "--dataset_path", data, "--feature_path", ours]

    def fresh(target: Path, *arguments: object) -> side_by_side.Cost:
        shutil.rmtree(target, ignore_errors=True)
        return side_by_side.run(arguments)

    plain = partial(fresh, taught, "-c", TAUGHT, data, taught)
    row = side_by_side.compare(what, plain, partial(fresh, ours, *flags), runs)
    check_equal(taught, ours)
    return row


def check_equal(taught: Path, ours: Path) -> None:
    """Raise `RuntimeError` if the features of the two ways differ by more than rounding."""
    for path in sorted(ours.rglob("*.npy"))[:3]:
        stem = path.name.removesuffix("".join(path.suffixes[-2:]))  # without .wav.npy
        for number, chunk in enumerate(np.load(path)):
            (theirs,) = taught.glob(f"*/{path.parent.name}/{stem}{number}.npy")
            worst = np.abs(np.load(theirs) - chunk).max()
            if worst > 1e-4:  # soxr's edges differ after resampling
                raise RuntimeError(f"{theirs}: the features differ by {worst}")


def compare_one(folder: Path, runs: int) -> tuple[str, ...]:
    """Return the row for one new track in a data set."""
    data, single, name = folder / "three", folder / "single", "noise/noise.00000.wav"
    side_by_side.call_in_process(side_by_side.synthesize, data, 3)
    shutil.copytree(data, single)
    # the tutorial's way extracts all listed tracks again
    write_lists(single, {"train": [name], "valid": [], "test": []}, force=True)
    taught, ours = folder / "taught_one", folder / "ours_one"
    flags = ["feature_extraction.py", "--dataset_path", data, "--feature_path", ours]
    side_by_side.run(flags)

    def add() -> side_by_side.Cost:
        (ours / f"{name}.npy").unlink()  # so that only this track is extracted
        return side_by_side.run(flags)

    plain = partial(side_by_side.run, ["-c", TAUGHT, single, taught])
    return side_by_side.compare("1 track", plain, add, runs)


def librosa_log_mel() -> LogMel:
    """Return the tutorial's formula with librosa's mel spectrogram."""
    import librosa

    def feature(y: NDArray[np.float32]) -> NDArray:
        mel = librosa.feature.melspectrogram(
            y=y, sr=22050, n_fft=1024, hop_length=512, n_mels=128, power=1
        )
        return np.log10(1 + 10 * mel).T

    return feature


def nnaudio_log_mel() -> LogMel:
    """Return the same with nnAudio, on torch; the layer is built once."""
    import torch
    from nnAudio.features import MelSpectrogram

    sizes = {"sr": 22050, "n_fft": 1024, "hop_length": 512, "n_mels": 128}
    layer = MelSpectrogram(**sizes, power=1.0, pad_mode="constant", verbose=False)
    return lambda y: torch.log10(1 + 10 * layer(torch.from_numpy(y)))[0].T.numpy()


def essentia_log_mel() -> LogMel:
    """Return the same with essentia's algorithms, frame by frame."""
    import essentia
    import essentia.standard as es

    essentia.log.infoActive = False
    window = es.Windowing(
        type="hann", normalized=False, zeroPhase=False, symmetric=False, size=1024
    )
    spectrum = es.Spectrum(size=1024)
    sizes = {"inputSize": 513, "numberBands": 128, "sampleRate": 22050, "highFrequencyBound": 11025}
    scale = {"warpingFormula": "slaneyMel", "weighting": "linear", "normalize": "unit_tri"}
    bands = es.MelBands(**sizes, **scale, type="magnitude", log=False)

    def feature(y: NDArray[np.float32]) -> NDArray:
        frames = es.FrameGenerator(y, frameSize=1024, hopSize=512, startFromZero=False)
        return np.log10(1 + 10 * np.array([bands(spectrum(window(frame))) for frame in frames]))

    return feature


def compare_libraries(runs: int) -> Iterator[tuple[str, ...]]:
    """Yield a row for the log-mel of one track with each library, on one thread."""
    y = (0.1 * np.random.default_rng(0).standard_normal(30 * 22050)).astype(np.float32)
    makers = {"librosa": librosa_log_mel, "nnAudio": nnaudio_log_mel, "essentia": essentia_log_mel}
    for name, make in makers.items():
        try:
            theirs = make()
        except ImportError as error:
            yield name, "not installed", str(error), "", ""
            continue
        ours = partial(log_mel, y, HParams())
        row = side_by_side.compare_calls(name, partial(theirs, y), ours, runs, threads=1)
        yield *row, difference(theirs(y), ours())


def difference(theirs: NDArray, ours: NDArray) -> str:
    """Describe how much the values differ."""
    if theirs.shape != ours.shape:
        frames = min(len(theirs), len(ours))
        rest = difference(theirs[:frames], ours[:frames])
        return f"{len(theirs)} frames, not {len(ours)}; {rest}"
    worst = np.abs(theirs - ours).max()
    return ("equal" if worst < 1e-4 else "not equal") + f", differ by {worst:.0e} at most"


def main() -> str:
    """Return the report as Markdown."""
    runs = side_by_side.make_parser(__doc__, runs=5).parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        rows = [*compare_sets(Path(folder), runs), compare_one(Path(folder), runs)]
    sets = side_by_side.table(rows)
    columns = ("library", "theirs", "ours", "ratio (from to)", "their values")
    libraries = side_by_side.table(list(compare_libraries(4 * runs)), columns)
    return (
        f"## Extraction\n\nTracks of 30 s to log-mel on disk, whole processes; {runs} pairs.\n\n"
        f"{sets}\n\nOne track's waveform to log-mel, in process, one thread; {4 * runs} pairs.\n\n"
        f"{libraries}\n"
    )


if __name__ == "__main__":
    print(main(), end="")

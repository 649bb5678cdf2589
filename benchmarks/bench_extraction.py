"""Log-mel extraction against the tutorial's way, whole processes from start to end.

    python benchmarks/bench_extraction.py

Both ways read the same files and write the same features. Then one track's log-mel in process,
against other libraries where they are installed, and how far their values are from ours.
"""

import argparse
import functools
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from side_by_side import ROOT, apart, compare, cores, run, synthesize, table, write_lists

sys.path.insert(0, str(ROOT))

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


def compare_sets(folder, runs):
    """A row for each data set and number of cores."""
    for what, *options in SETS:
        data = folder / what.replace(" ", "_")
        apart(synthesize, data, *options)
        for number, name in ((0, "all cores"), (1, "1 core")):
            with cores(number):
                yield compare_folder(f"{what}, {name}", data, folder, runs)
        shutil.rmtree(data)


def compare_folder(what, data, folder, runs):
    """The row of one data set; the features of both ways must be equal."""
    taught, ours = folder / "taught", folder / "ours"
    flags = ["feature_extraction.py", "--dataset_path", data, "--feature_path", ours]

    def fresh(target, arguments):
        shutil.rmtree(target, ignore_errors=True)
        return run(arguments)

    row = compare(
        what,
        lambda: fresh(taught, ["-c", TAUGHT, data, taught]),
        lambda: fresh(ours, flags),
        runs,
    )
    check_equal(taught, ours)
    return row


def check_equal(taught, ours):
    """Raise `RuntimeError` where the features of the two ways differ by more than rounding."""
    for path in sorted(ours.rglob("*.npy"))[:3]:
        for number, chunk in enumerate(np.load(path)):
            name = path.relative_to(ours).with_name(f"{path.stem}{number}.npy")
            worst = np.abs(np.load(taught / name) - chunk).max()
            if worst > 1e-4:  # resampled ones differ by soxr's edge, MP3 by nothing
                raise RuntimeError(f"{name}: the features differ by {worst}")


def compare_one(folder, runs):
    """A row for one track that is added to a data set."""
    data, alone = folder / "three", folder / "alone"
    apart(synthesize, data, 3)
    shutil.copytree(data, alone)
    write_lists(alone, {"train": ["noise/noise.00000.wav"], "valid": [], "test": []})
    taught, ours = folder / "taught_one", folder / "ours_one"
    flags = ["feature_extraction.py", "--dataset_path", data, "--feature_path", ours]
    run(flags)

    def add():
        (ours / "train/noise/noise.00000.npy").unlink()
        return run(flags)

    return compare("1 track", lambda: run(["-c", TAUGHT, alone, taught]), add, runs)


def librosa_log_mel():
    """The tutorial's formula on librosa's own mel spectrogram."""
    import librosa

    def feature(y):
        mel = librosa.feature.melspectrogram(
            y=y, sr=22050, n_fft=1024, hop_length=512, n_mels=128, power=1
        )
        return np.log10(1 + 10 * mel).T

    return feature


def nnaudio_log_mel():
    """The same by nnAudio, on torch; the layer is built once."""
    import torch
    from nnAudio.features import MelSpectrogram

    sizes = {"sr": 22050, "n_fft": 1024, "hop_length": 512, "n_mels": 128}
    layer = MelSpectrogram(**sizes, power=1.0, pad_mode="constant", verbose=False)
    return lambda y: torch.log10(1 + 10 * layer(torch.from_numpy(y)))[0].T.numpy()


def essentia_log_mel():
    """The same by essentia's algorithms, frame by frame."""
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

    def feature(y):
        frames = es.FrameGenerator(y, frameSize=1024, hopSize=512, startFromZero=False)
        return np.log10(1 + 10 * np.array([bands(spectrum(window(frame))) for frame in frames]))

    return feature


def compare_libraries(runs):
    """Rows of one track's log-mel, on one thread, by other libraries and by ours in turn."""
    from threadpoolctl import threadpool_limits

    from audio.features import log_mel
    from hparams import HParams

    y = (0.1 * np.random.default_rng(0).standard_normal(30 * 22050)).astype(np.float32)
    for name, make in (
        ("librosa", librosa_log_mel),
        ("nnAudio", nnaudio_log_mel),
        ("essentia", essentia_log_mel),
    ):
        try:
            theirs = make()
        except ImportError as error:
            yield name, "not installed", str(error), "", ""
            continue
        with threadpool_limits(1):
            both = (
                functools.partial(seconds, theirs, y),
                functools.partial(seconds, log_mel, y, HParams()),
            )
            row = compare(name, *both, runs)
        yield *row[:4], difference(theirs(y), log_mel(y, HParams()))


def seconds(function, *arguments):
    """Seconds of one call; its memory is not told apart."""
    began = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - began, 0


def difference(theirs, ours):
    """How far the values are from ours, in words."""
    if theirs.shape != ours.shape:
        frames = min(len(theirs), len(ours))
        return f"{len(theirs)} frames for {len(ours)}; " + difference(
            theirs[:frames], ours[:frames]
        )
    worst = np.abs(theirs - ours).max()
    return ("equal" if worst < 1e-4 else "not equal") + f", differ by {worst:.0e} at most"


def main(argv=None):
    """The report as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=5, help="pairs that count [5]")
    runs = parser.parse_args(argv).runs
    with tempfile.TemporaryDirectory() as folder:
        rows = [*compare_sets(Path(folder), runs), compare_one(Path(folder), runs)]
    libraries = list(compare_libraries(4 * runs))
    columns = ("library", "theirs", "ours", "ratio (from to)", "their values")
    return (
        "## Extraction\n\n"
        f"Tracks of 30 s to log-mel on disk, whole processes; {runs} pairs.\n\n{table(rows)}\n\n"
        f"One track's waveform to log-mel, in process, one thread; {4 * runs} pairs.\n\n"
        f"{table(libraries, columns)}\n"
    )


if __name__ == "__main__":
    print(main(), end="")

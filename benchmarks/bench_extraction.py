"""Times log-mel extraction against the tutorial's way, side by side, on tracks it synthesizes.

    python benchmarks/bench_extraction.py

Both ways read the same WAV files and write the same features, each in a process of its own that
is timed from start to end, in turn. Prints the medians and the median of the ratios.
"""

import argparse
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

ROOT = Path(__file__).resolve().parent.parent
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
            save_name = name.split(".wav")[0] + str(i) + ".npy"
            np.save(os.path.join(save_path, save_name), chunk.astype(np.float32))
"""


def synthesize(folder, count):
    """A data set of `count` 30 s tracks of noise, 16-bit mono at 22,050 Hz."""
    rng = np.random.default_rng(0)
    names = [f"noise/noise.{i:05d}.wav" for i in range(count)]
    (folder / "noise").mkdir()
    for name in names:
        soundfile.write(folder / name, 0.1 * rng.standard_normal(30 * 22050), 22050)
    parts = {"train": names[:-2], "valid": names[-2:-1], "test": names[-1:]}
    for split, part in parts.items():
        text = "".join(f"{name}\n" for name in part)
        (folder / f"{split}_list.txt").write_text(text, encoding="utf-8")


def timed(command):
    """Seconds that a command takes as a whole process."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *map(str, command)], cwd=ROOT, check=True, capture_output=True)
    return time.perf_counter() - began


def compare(folder, runs):
    """Seconds of the taught way and of ours, a pair a run, after one pair that does not count."""
    pairs = []
    for run in range(runs + 1):
        taught, ours = folder / f"taught{run}", folder / f"ours{run}"
        script = ["feature_extraction.py", "--dataset_path", folder, "--feature_path", ours]
        pairs.append((timed(["-c", TAUGHT, folder, taught]), timed(script)))
    difference = max(
        np.abs(np.load(next(taught.rglob(f"{name}{chunk}.npy"))) - stored).max()
        for name in ("noise.00000", "noise.00001")
        for chunk, stored in enumerate(np.load(next(ours.rglob(f"{name}.npy"))))
    )
    return pairs[1:], difference


def main():
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tracks", type=int, default=100)
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        synthesize(Path(folder), args.tracks)
        pairs, difference = compare(Path(folder), args.runs)
    taught, ours = map(statistics.median, zip(*pairs))
    ratios = [a / b for a, b in pairs]
    print(f"{args.tracks} tracks of 30 s, {args.runs} pairs, Python {platform.python_version()}")
    print(f"the tutorial's way  {taught:7.2f} s (median)")
    print(f"ours                {ours:7.2f} s (median)")
    print(f"ratio               {statistics.median(ratios):7.2f} x, {min(ratios):.2f} to "
          f"{max(ratios):.2f}")  # fmt: skip
    print(f"largest difference of the features: {difference:.1e}")


if __name__ == "__main__":
    main()

"""Loading features against the tutorial's way: in process, imports not counted.

    python benchmarks/bench_loading.py

Timed from the start of loading until each chunk of the three splits has come in a batch once. Then
ours alone with ten times the data: what does not fit into `cache_gb` stays on disk.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
from side_by_side import ROOT, apart, compare, run, table, write_lists

sys.path.insert(0, str(ROOT))
SIZES = {"train": 353, "valid": 150, "test": 227}  # the tutorial's
GENRES = ["blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop"]
TAUGHT = """
import os, sys, time
import numpy as np
from torch.utils.data import Dataset, DataLoader

genres = sys.argv[2].split()

class GTZANDataset(Dataset):
    def __init__(self, x, y):
        self.x = x
        self.y = y
    def __getitem__(self, index):
        return self.x[index], self.y[index]
    def __len__(self):
        return self.x.shape[0]

def load_dataset(set_name):
    x = []
    y = []
    for root, dirs, files in os.walk(os.path.join(sys.argv[1], set_name)):
        for file in files:
            x.append(np.load(os.path.join(root, file)))
            y.append(genres.index(file.split('.')[0]))
    return np.stack(x), np.stack(y)

began = time.perf_counter()
x_train, y_train = load_dataset('train')
x_valid, y_valid = load_dataset('valid')
x_test, y_test = load_dataset('test')
mean = np.mean(x_train)
std = np.std(x_train)
x_train = (x_train - mean)/std
x_valid = (x_valid - mean)/std
x_test = (x_test - mean)/std
loaders = [
    DataLoader(GTZANDataset(x_train, y_train), batch_size=128, shuffle=True, drop_last=False),
    DataLoader(GTZANDataset(x_valid, y_valid), batch_size=128, shuffle=False, drop_last=False),
    DataLoader(GTZANDataset(x_test, y_test), batch_size=128, shuffle=False, drop_last=False),
]
chunks = sum(len(y) for loader in loaders for x, y in loader)
print("seconds", time.perf_counter() - began)
assert chunks == 5840, chunks
"""
OURS = """
import sys, time
sys.path.insert(0, sys.argv[1])
from data_manager import get_dataloader
from hparams import HParams

hparams = HParams().parse_argument(sys.argv[2:])
began = time.perf_counter()
loaders = get_dataloader(hparams)
chunks = sum(len(y) for loader in loaders for x, y in loader)
print("seconds", time.perf_counter() - began)
assert chunks % 5840 == 0, chunks
"""


def synthesize(folder, times, taught):
    """Features of `times` x 730 tracks as ours are stored, and as taught if asked: noise."""
    from hparams import HParams
    from tracks.lists import feature_file
    from tracks.manifest import hash_frames, write_manifest

    hparams = HParams(dataset_path=str(folder / "data"), feature_path=str(folder / "ours"))
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((8, 128, 128)).astype(np.float32)
    (folder / "data").mkdir()
    tracks, lists = {}, {split: [] for split in SIZES}
    for split, size in SIZES.items():
        for index in range(size * times):
            genre = GENRES[index % 8]
            name = f"{genre}/{genre}.{index:05d}.wav"
            key = feature_file(split, f"{genre}/{genre}.{split}{index:05d}.wav")
            lists[split].append(f"{genre}/{genre}.{split}{index:05d}.wav")
            chunks = np.roll(noise, len(tracks) + 1, axis=2) + np.float32(1e-3 * len(tracks))
            save(folder / "ours" / key, chunks)
            frames = chunks.reshape(-1, 128)
            tracks[key] = {
                "source": lists[split][-1],
                **{"warning": "", "size": 0, "mtime_ns": 0, "frames": 1024, "count": frames.size},
                "hash": hash_frames(frames),
                "sum": float(frames.sum(dtype=np.float64)),
                "sum_of_squares": float(np.square(frames, dtype=np.float64).sum()),
            }
            for number, chunk in enumerate(chunks if taught else ()):
                save(folder / "taught" / split / name.replace(".wav", f"{number}.npy"), chunk)
    write_lists(folder / "data", lists)
    write_manifest(hparams, tracks)


def save(path, array):
    """Write an array, and the folder it is in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)


def load(folder, cache_gb):
    """Seconds and peak memory of loading ours."""
    flags = ["--dataset_path", folder / "data", "--feature_path", folder / "ours"]
    return run(["-c", OURS, ROOT, *flags, "--cache_gb", cache_gb])


def ours_alone(small, large, runs):
    """Rows of 730 tracks in memory, and of ten times as many in memory and on disk."""
    for folder, tracks in ((small, 730), (large, 7300)):
        for cache_gb in (4, 0.5) if folder == large else (4,):
            times, peaks = zip(*(load(folder, cache_gb) for _ in range(runs)))
            seconds, peak = np.median(times), np.median(peaks)
            yield f"{tracks} tracks", f"{cache_gb}", f"{seconds:.2f} s", f"{peak:.0f} MB"


def main(argv=None):
    """The report as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=5, help="pairs that count [5]")
    runs = parser.parse_args(argv).runs
    with tempfile.TemporaryDirectory() as folder:
        small, large = Path(folder, "small"), Path(folder, "large")
        for path, times in ((small, 1), (large, 10)):
            path.mkdir()
            apart(synthesize, path, times, path == small)
        taught = ["-c", TAUGHT, small / "taught", " ".join(GENRES)]
        row = compare("730 tracks", lambda: run(taught), lambda: load(small, 4), runs)
        alone = list(ours_alone(small, large, 3))
    columns = ("ours alone", "`--cache_gb`", "median of 3", "peak memory")
    return (
        "## Loading\n\n"
        "Features on disk until each chunk of 128 frames has come in a batch once, in process, "
        f"imports not counted, files in the system's cache; {runs} pairs.\n\n{table([row])}\n\n"
        f"{table(alone, columns)}\n"
    )


if __name__ == "__main__":
    print(main(), end="")

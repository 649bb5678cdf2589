"""Compare loading features with the tutorial's way, without the imports.

    python benchmarks/bench_loading.py

Measures the time until each chunk of the three splits was in one batch. Also measures ours on ten
times the data: splits that do not fit into `cache_gb` stay on disk.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from side_by_side import Cost, call_in_process, compare, make_parser, run, table

from dataset.make_lists import write_lists
from hparams import HParams
from tracks.feature_files import write_feature
from tracks.manifest import open_manifest

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
from data_manager import get_dataloader
from hparams import HParams

hparams = HParams().parse_argument(sys.argv[1:])
began = time.perf_counter()
loaders = get_dataloader(hparams)
chunks = sum(len(y) for loader in loaders for x, y in loader)
print("seconds", time.perf_counter() - began)
assert chunks % 5840 == 0, chunks
"""


def synthesize(folder: Path, times: int, taught: bool) -> None:
    """Write noise as features of `times` x 730 tracks, ours, and with `taught` the tutorial's."""
    hparams = HParams(dataset_path=str(folder / "data"), feature_path=str(folder / "ours"))
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((8, 128, 128)).astype(np.float32)  # (chunks, frames, bins)
    tracks = [(s, i, GENRES[i % 8]) for s, size in SIZES.items() for i in range(size * times)]
    lists: dict[str, list[str]] = {split: [] for split in SIZES}
    (folder / "data").mkdir()
    with open_manifest(hparams) as manifest:
        manifest.begin()
        for number, (split, index, genre) in enumerate(tracks):
            name = f"{genre}/{genre}.{split}{index:05d}.wav"
            lists[split].append(name)
            # equal tracks would be leaks
            chunks = np.roll(noise, number + 1, axis=2) + np.float32(1e-3 * number)
            entry: dict[str, Any] = {"crc32": write_feature(hparams, name, chunks)}
            entry |= {"warning": "", "silent": False, "ends": "", "hash": str(number)}
            entry |= {"size": 0, "mtime_ns": 0, "ctime_ns": 0, "frames": 1024}
            entry |= {"sum": float(chunks.sum(dtype=np.float64)), "count": chunks.size}
            entry["sum_of_squares"] = float(np.square(chunks, dtype=np.float64).sum())
            manifest.add(name, entry)
            for part, chunk in enumerate(chunks if taught else ()):
                save(folder / f"taught/{split}/{genre}/{genre}.{index:05d}{part}.npy", chunk)
    write_lists(folder / "data", lists, force=True)


def save(path: Path, array: NDArray) -> None:
    """Write an array and its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)


def load(folder: Path, cache_gb: float) -> Cost:
    """Load features our way."""
    flags = ["--dataset_path", folder / "data", "--feature_path", folder / "ours"]
    return run(["-c", OURS, *flags, "--cache_gb", cache_gb])


def load_sizes(small: Path, large: Path) -> Iterator[tuple[str, ...]]:
    """Yield a row for 730 tracks in memory, and for ten times as many in memory and on disk."""
    for folder, tracks, cache_gb in ((small, 730, 4), (large, 7300, 4), (large, 7300, 0.5)):
        seconds, peak = np.median([load(folder, cache_gb) for _ in range(3)], axis=0)
        yield f"{tracks} tracks", f"{cache_gb}", f"{seconds:.2f} s", f"{peak:.0f} MB"


def main() -> str:
    """Return the report as Markdown."""
    runs = make_parser(__doc__, runs=5).parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        small, large = Path(folder, "small"), Path(folder, "large")
        for path, times in ((small, 1), (large, 10)):
            path.mkdir()
            call_in_process(synthesize, path, times, path == small)
        taught = ["-c", TAUGHT, small / "taught", " ".join(GENRES)]
        row = compare("730 tracks", lambda: run(taught), lambda: load(small, 4), runs)
        sizes = list(load_sizes(small, large))
    columns = ("ours alone", "`--cache_gb`", "median of 3", "peak memory")
    return (
        "## Loading\n\n"
        "Time until each chunk of 128 frames was in a batch once, without the imports; files are "
        f"in the system's cache; {runs} pairs.\n\n{table([row])}\n\n"
        f"{table(sizes, columns)}\n"
    )


if __name__ == "__main__":
    print(main(), end="")

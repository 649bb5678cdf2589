"""Measure time and memory until the loaders of 100,000 tracks are ready, without the imports.

    python benchmarks/bench_startup.py
    python benchmarks/bench_startup.py --tracks 10000

Lists and manifest are synthesized, and features stay on disk. Memory is the difference between a
process that makes the loaders and one that only imports what training imports.
"""

import statistics
import tempfile
from pathlib import Path

from side_by_side import make_parser, run, table

from dataset.make_lists import write_lists
from hparams import HParams
from tracks.manifest import open_manifest

CODE = """
import sys, time
import train_test
from data_manager import get_dataloader
from hparams import HParams

began = time.perf_counter()
if sys.argv[1:]:
    loaders = get_dataloader(HParams().parse_argument(sys.argv[1:]))
print("seconds", time.perf_counter() - began)
"""


def synthesize(folder: Path, tracks: int) -> list[str]:
    """Write the lists and the manifest of a data set; return its flags."""
    flags = ["--dataset_path", str(folder), "--feature_path", str(folder / "features")]
    flags += ["--cache_gb", "0"]
    # as long as the names of real songs
    names = [f"genre{i % 8}/artist {i % 997} - title {i}.mp3" for i in range(tracks)]
    train, rest = names[: tracks // 2], names[tracks // 2 :]
    write_lists(folder, {"train": train, "valid": rest[::2], "test": rest[1::2]}, force=True)
    entry = {"warning": "", "silent": False, "size": 4_800_000, "ends": f"{7:032x}"}
    entry |= dict.fromkeys(("mtime_ns", "ctime_ns"), 1_700_000_000_123_456_789)
    entry |= {"frames": 1024, "sum": 123456.789, "sum_of_squares": 234567.891, "count": 131072}
    entry |= {"crc32": 2**32 - 1}
    with open_manifest(HParams().parse_argument(flags)) as manifest:
        manifest.begin()
        for i, name in enumerate(names):
            manifest.add(name, entry | {"hash": f"{i:032x}"})
    return flags


def main() -> str:
    """Return the report as Markdown."""
    parser = make_parser(__doc__, runs=3)
    parser.add_argument("--tracks", type=int, default=100_000, help="size of the data set [100000]")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        flags = synthesize(Path(folder), args.tracks)
        before, after = ([run(["-c", CODE, *w]) for _ in range(args.runs)] for w in ([], flags))
    seconds = statistics.median(each[0] for each in after)
    megabytes = min(each[1] for each in after) - min(each[1] for each in before)
    row = (f"{args.tracks:,} tracks", f"{seconds:.2f} s", f"{megabytes:.0f} MB")
    columns = ("ours alone", f"median of {args.runs}", "memory beyond the imports")
    return (
        "## Start-up\n\n`python benchmarks/bench_startup.py`: from the end of the imports until "
        "the loaders of all splits are\nready; features stay on disk (`--cache_gb 0`).\n\n"
        f"{table([row], columns)}\n"
    )


if __name__ == "__main__":
    print(main(), end="")

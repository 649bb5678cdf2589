"""Check a copy of GTZAN and turn it into a data set with the fault-filtered split.

    python dataset/gtzan.py ~/Downloads/gtzan
    python dataset/gtzan.py genres.tar.gz --skip_broken

The source is a folder or an archive (tar, zip) with the genre folders, up to two levels down, and
`.wav` or `.au` files in them. Every track of the split is checked, then linked, copied or unpacked
into `dataset/gtzan`, and the lists are written: 353/150/227 tracks of the tutorial's 8 genres, or
443/197/290 if `--genres` names all ten.

GTZAN's own download has been dead since 2022, and its licence is unknown: this project does not
contain or download it.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for audio, support and tracks

import support.start  # noqa: F401 - Ctrl-C ends it quietly while modules load

import argparse
import filecmp
import re
import shutil
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import PurePath

import numpy as np

from audio.reading import first_rows, is_silent, open_audio, stream_audio
from dataset.archives import unpack
from dataset.make_lists import list_texts, write_lists
from hparams import HParams
from support.errors import UserError, explain, run_script, visible
from support.files import delete_partials, link_or_copy, lock, own_path, write_text
from support.parallel import run_jobs
from tracks.lists import SPLITS, Lists

# numbers of the train, valid and test tracks, from Kereliuk, Sturm and Larsen, "Deep Learning and
# Music Adversaries" (2015)
TABLE = {
    "blues": ("29-49,73-97", "0-11,50-60", "12-28,61-72,98-99"),
    "classical": ("30-33,43-48,50-67,80-99", "0-10,68-76", "11-29,34-41,49,77-79"),
    "country": ("19-26,28-29,65-99", "0-7,9-18,27,41-42,45,49", "30-40,43-44,46-48,50-51,53-64"),
    "disco": ("5,15-20,22-37,39-45,47,49,53-54,56-57,59,61,70,73-74,89",
              "0,2-4,6-14,46,48,52,67-68,72,75,90,95", "1,21,58,62-66,69,76-88,91-94,96-97,99"),
    "hiphop": ("2-25,28-29,31-38,41-42,55-61,77-80", "81-98",
               "0,26-27,30,40,43-45,51-54,62-75,99"),
    "jazz": ("0-1,11-24,41,47-72", "2-10,25-32", "73-99"),
    "metal": ("2-3,5,21,24,35,46-57,59-66,69,71-72,79-80,84,86,89-99",
              "0-1,6-11,16-20,36-37,68,76-77,81-82",
              "12-15,22-23,25-33,38-39,67,70,73-75,78,83,85,87-88"),
    "pop": ("2-9,11-12,16-20,23-29,31-36,38-42,44,46,49-50,80,97-99",
            "10,53,55,58-62,81,83-86", "0-1,13-14,43,63-66,69-79,82,88-96"),
    "reggae": ("0-2,4,6,9,11-12,14-32,42-45,49-51,54-60,63,69",
               "61-62,70,72,74,76-78,85,92-99", "34-40,46-48,52-53,64-68,71,79,82-84,87-90"),
    "rock": ("0-9,16-26,57-70,91-99", "38,49-56,71-85", "10-15,27-37,39-48,86-90"),
}  # fmt: skip
GENRES = [genre for genre in TABLE if genre not in ("blues", "rock")]  # the tutorial's
MOST_NAMED = 20  # broken tracks that are printed by name
ASK = (
    "GTZAN's own download is dead and its licence is unknown: ask its author (G. Tzanetakis, "
    "University of Victoria) or your institution for a copy"
)


def split_lists(genres: Sequence[str]) -> Lists:
    """Return the tracks of each split, without suffix, such as "jazz/jazz.00000"."""
    return {
        split: [
            f"{genre}/{genre}.{number:05d}"
            for genre in genres
            for first, _, last in (part.partition("-") for part in TABLE[genre][i].split(","))
            for number in range(int(first), int(last or first) + 1)
        ]
        for i, split in enumerate(SPLITS)
    }


def find_root(source: Path, name: str) -> Path:
    """Return the folder, up to two levels below `source`, with the most GTZAN tracks.

    Raises `UserError` about the copy called `name` if there is no track.
    """
    roots = [source, *sorted(source.glob("*/")), *sorted(source.glob("*/*/"))]
    found = {root: len(find_files(root, TABLE)[0]) for root in roots}
    if not any(found.values()):
        for line in (line for root in roots for line in find_files(root, TABLE)[1]):
            print(f"broken: {line}", file=sys.stderr)
        raise UserError(
            f"{name} has no genre folders with tracks such as jazz/jazz.00000.wav (or .au), "
            f"up to two levels down: name the folder or archive of your copy. {ASK}"
        )
    return max(found, key=lambda root: found[root])


def find_files(root: Path, genres: Iterable[str]) -> tuple[dict[str, Path], list[str]]:
    """Return the tracks that exist by name, such as "jazz/jazz.00000", without ghosts (`._*`).

    The second value says which genre folders cannot be read, and why.
    """
    found: list[Path] = []
    faults: list[str] = []
    for folder in (root / genre for genre in genres):
        try:
            paths = folder.iterdir() if folder.is_dir() else ()
            found += [path for path in paths if is_track(path, [folder.name]) and path.is_file()]
        except OSError as error:
            faults.append(explain(error, folder))
    found.sort(key=lambda path: path.suffix.lower())  # of two files for one track, .wav wins
    return {f"{path.parent.name}/{path.stem}": path for path in found}, faults


def is_track(path: PurePath, genres: Iterable[str]) -> bool:
    """Whether the last two parts of a path are such as `jazz/jazz.00000.wav`."""
    genre = path.parent.name
    pattern = rf"{re.escape(genre)}\.[0-9]{{5}}\.(wav|au)"
    return genre in genres and bool(re.fullmatch(pattern, path.name, re.IGNORECASE))


def fault(path: Path) -> str:
    """Return what is wrong with a track of GTZAN, or ""."""
    try:
        return describe_fault(path)
    except Exception as error:
        message = explain(error, path).removeprefix(visible(path)).lstrip(": ")
        # without the remedy, since here the remedy is to replace the file
        return message.rpartition(": ")[0] if isinstance(error, UserError) else message


def describe_fault(path: Path) -> str:
    """Return what is wrong with the audio of a track of GTZAN, or "". Raises what reading does."""
    with open_audio(path) as file:
        channels, rate = file.channels, file.samplerate
    # not more of it than has to be known, since a small file can hold hours of silence
    y = np.concatenate(list(first_rows(stream_audio(path, HParams(sample_rate=rate)), 31 * rate)))
    if channels != 1:
        return f"has {channels} channels, not one"
    if rate != 22050:
        return f"has a sample rate of {rate} Hz, not 22050"
    if not 29.9 <= len(y) / rate <= 30.7:
        return f"lasts {len(y) / rate:.2f} s, not 29.9 to 30.7"
    return "is silent or constant" if is_silent(y) or np.ptp(y) == 0 else ""


def check(lists: Lists, files: dict[str, Path], num_workers: int) -> dict[str, str]:
    """Return what is wrong with listed tracks, by name."""
    listed = [name for names in lists.values() for name in names]
    faults = {n: f"{n}: is missing, as .wav and as .au" for n in listed if n not in files}
    present = [name for name in listed if name in files]
    results = run_jobs(fault, [files[name] for name in present], num_workers, "Check")
    found = {n: f"{n}{files[n].suffix}: {reason}" for n, reason in zip(present, results) if reason}
    return faults | found


def install(source: Path, args: argparse.Namespace) -> int:
    """Check the tracks in a folder and make the data set; return the exit status."""
    lists = split_lists(args.genres)
    files, unreadable = find_files(find_root(source, args.source), args.genres)
    for line in unreadable:
        print(f"broken: {line}", file=sys.stderr)
    faults = check(lists, files, args.num_workers)
    report_faults(faults, files.keys(), Path(args.path).resolve())
    listed = sum(map(len, lists.values()))
    print(f"{listed - len(faults)} of {listed} tracks are fine, {len(faults)} broken or missing")
    if faults and not args.skip_broken:
        print(
            f"nothing was written to {args.path}: replace these tracks in {args.source}, or pass "
            f"--skip_broken to leave them out. {ASK}",
            file=sys.stderr,
        )
        return 1
    kept = {s: [files[n] for n in names if n not in faults] for s, names in lists.items()}
    write_data_set(kept, Path(args.path), args.force)
    counts = "/".join(str(len(paths)) for paths in kept.values())
    print(f"{args.path}: {counts} tracks for train/valid/test, {len(args.genres)} genres")
    return 0


def report_faults(faults: dict[str, str], present: Collection[str], path: Path) -> None:
    """Print what is wrong with tracks, by name: if it is much, as counts, and in a file."""
    lines = list(faults.values())
    if len(faults) > MOST_NAMED:
        file = path.with_name(f"{path.name}-broken.txt")
        write_text(file, "".join(f"{line}\n" for line in lines))
        found = Counter((name.partition("/")[0], name in present) for name in faults)
        lines = [
            f"{genre}: {found[genre, False]} missing, {found[genre, True]} broken"
            for genre in sorted({genre for genre, _ in found})
        ]
        lines.append(f"{file} names all {len(faults)}")
    for line in lines:
        print(f"broken: {line}", file=sys.stderr)


def write_data_set(kept: dict[str, list[Path]], folder: Path, force: bool) -> None:
    """Link or copy tracks, given by split, into a folder, and write their lists.

    Raises `UserError` before it writes anything if the folder has other tracks or lists.
    """
    names = {s: [f"{p.parent.name}/{p.name}" for p in paths] for s, paths in kept.items()}
    list_texts(folder, names, force)
    sources = {
        own_path(folder, f"{p.parent.name}/{p.name}"): p for paths in kept.values() for p in paths
    }
    same = {t for t, p in sources.items() if t.exists() and filecmp.cmp(p, t, shallow=False)}
    other = [str(target) for target in sources if target not in same and target.exists()]
    if other and not force:
        raise UserError(
            f"{', '.join(other[:3])}: exists and differs; pass --force to replace such tracks"
        )
    delete_partials(folder)
    for target in sources.keys() - same:
        link_or_copy(sources[target], target)
    write_lists(folder, names, force)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the flags."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("source", help="your copy: a folder, or an archive (tar, zip)")
    parser.add_argument("--path", default="dataset/gtzan", help="folder to write [dataset/gtzan]")
    parser.add_argument("--genres", nargs="+", default=GENRES, choices=TABLE, metavar="GENRE",
                        help="genres to include [all but blues and rock]")  # fmt: skip
    parser.add_argument("--skip_broken", action="store_true", help="leave out broken tracks")
    parser.add_argument("--force", action="store_true", help="replace existing files")
    parser.add_argument("--num_workers", type=int, default=0, help="threads (0: one per core) [0]")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Check a copy of GTZAN and make it a data set."""
    args = parse(argv)
    args.genres = list(dict.fromkeys(args.genres))
    source = Path(args.source)
    if not (source.is_dir() or source.is_file()):
        raise UserError(f"{args.source} is missing: name the folder or archive of your copy. {ASK}")
    target = Path(args.path).resolve()  # a path such as `.` has no name
    lock_file = target.parent / f"{target.name}.lock"
    busy = f"another command makes {args.path}: wait until it ends"
    with lock(lock_file, busy, delete=True):
        return make_data_set(source, target, args)


def make_data_set(source: Path, target: Path, args: argparse.Namespace) -> int:
    """Make the data set of a folder, or of an archive, which is unpacked next to the data set."""
    if source.is_dir():
        return install(source, args)
    folder = target.parent / f".{target.name}.unpacked"
    shutil.rmtree(folder, ignore_errors=True)  # left by a killed run
    try:
        folder.mkdir(parents=True)
        unpack(source, folder, lambda path: is_track(path, args.genres))
        return install(folder, args)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    run_script(main)

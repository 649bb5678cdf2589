"""Checks a copy of GTZAN and makes a data set of its fault-filtered split.

    python dataset/gtzan.py ~/Downloads/gtzan
    python dataset/gtzan.py genres.tar.gz --skip_broken

Takes the genre folders as copies have them: a folder or an archive (tar, zip) that holds them, up
to two levels down, with `.wav` or `.au` files. Checks every track of the split, links or copies or
unpacks those into `dataset/gtzan`, and writes the three lists: 353/150/227 tracks of the
tutorial's 8 genres, or 443/197/290 with `--genres` naming all ten.

GTZAN's own download has been dead since 2022, and its licence is unknown: this project neither
holds nor fetches it.
"""

import argparse
import filecmp
import gzip
import lzma
import shutil
import stat
import sys
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a script sees its own folder only

from audio.reading import read_audio
from dataset.make_lists import list_texts, write_lists
from support.errors import UserError, run_script
from support.files import place
from support.parallel import run_jobs
from tracks.lists import SPLITS

# Kereliuk, Sturm, Larsen: "Deep Learning and Music Adversaries" (2015). Train, valid, test.
TABLE = {
    "blues": ("29-49,73-97", "0-11,50-60", "12-28,61-72,98-99"),
    "classical": ("30-33,43-48,50-67,80-99", "0-10,68-76", "11-29,34-41,49,77-79"),
    "country": (
        "19-26,28-29,65-99",
        "0-7,9-18,27,41-42,45,49",
        "30-40,43-44,46-48,50-51,53-64",
    ),
    "disco": (
        "5,15-20,22-37,39-45,47,49,53-54,56-57,59,61,70,73-74,89",
        "0,2-4,6-14,46,48,52,67-68,72,75,90,95",
        "1,21,58,62-66,69,76-88,91-94,96-97,99",
    ),
    "hiphop": (
        "2-25,28-29,31-38,41-42,55-61,77-80",
        "81-98",
        "0,26-27,30,40,43-45,51-54,62-75,99",
    ),
    "jazz": ("0-1,11-24,41,47-72", "2-10,25-32", "73-99"),
    "metal": (
        "2-3,5,21,24,35,46-57,59-66,69,71-72,79-80,84,86,89-99",
        "0-1,6-11,16-20,36-37,68,76-77,81-82",
        "12-15,22-23,25-33,38-39,67,70,73-75,78,83,85,87-88",
    ),
    "pop": (
        "2-9,11-12,16-20,23-29,31-36,38-42,44,46,49-50,80,97-99",
        "10,53,55,58-62,81,83-86",
        "0-1,13-14,43,63-66,69-79,82,88-96",
    ),
    "reggae": (
        "0-2,4,6,9,11-12,14-32,42-45,49-51,54-60,63,69",
        "61-62,70,72,74,76-78,85,92-99",
        "34-40,46-48,52-53,64-68,71,79,82-84,87-90",
    ),
    "rock": ("0-9,16-26,57-70,91-99", "38,49-56,71-85", "10-15,27-37,39-48,86-90"),
}
GENRES = [genre for genre in TABLE if genre not in ("blues", "rock")]  # the tutorial's
SUFFIXES = (".wav", ".au")
DAMAGED = (
    *(tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, lzma.LZMAError),
    *(zlib.error, EOFError, RuntimeError, NotImplementedError, ValueError),
)
ASK = (
    "GTZAN's own download is dead and its licence unknown: ask its author (G. Tzanetakis, "
    "University of Victoria) or your institution for a copy"
)
LARGEST_HEADER = 2**20  # bytes of a tar's extended header, which is read into memory
LARGEST_FILE = 100 * 2**20  # bytes; a track has 1.3 MB
LARGEST_ARCHIVE = 8 * 2**30  # bytes unpacked; copies with pictures have under 2 GB


def numbers(ranges):
    """The numbers that ranges such as "0-2,5" name."""
    ends = ((part.split("-")[0], part.split("-")[-1]) for part in ranges.split(","))
    return [number for first, last in ends for number in range(int(first), int(last) + 1)]


def split_lists(genres):
    """The split's tracks without suffix, `{"train": ["classical/classical.00030", ...], ...}`."""
    return {
        split: [f"{g}/{g}.{n:05d}" for g in genres for n in numbers(TABLE[g][column])]
        for column, split in enumerate(SPLITS)
    }


def find_root(source, name):
    """The folder, up to two levels down, that holds most GTZAN tracks in genre folders.

    Raises `UserError`, about a copy of that name, where there is none.
    """
    roots = [source, *sorted(source.glob("*/")), *sorted(source.glob("*/*/"))]
    found = {root: len(find_files(root, TABLE)) for root in roots}
    if not any(found.values()):
        raise UserError(
            f"{name} has no genre folders with tracks such as jazz/jazz.00000.wav (or .au), "
            f"up to two levels down: name the folder or archive of your copy. {ASK}"
        )
    return max(found, key=found.get)


def find_files(root, genres):
    """The tracks there are: `{"jazz/jazz.00000": path, ...}`; ghosts such as ._jazz are none."""
    return {
        f"{genre}/{path.stem}": path
        for suffix in reversed(SUFFIXES)  # .wav where there are both
        for genre in genres
        for path in root.glob(f"{genre}/{genre}.[0-9][0-9][0-9][0-9][0-9].*")
        if path.suffix.lower() == suffix
    }


def fault(path):
    """What is wrong with a file as a GTZAN track; empty where nothing is."""
    try:
        y, rate = read_audio(path)
    except UserError as error:
        return str(error).removeprefix(f"{path} ").rpartition(": ")[0]  # the remedy is another here
    seconds = len(y) / rate
    if y.shape[1] != 1:
        return f"has {y.shape[1]} channels, not one"
    if rate != 22050:
        return f"has a sample rate of {rate} Hz, not 22050"
    if not 29.9 <= seconds <= 30.7:
        return f"lasts {seconds:.2f} s, not 29.9 to 30.7"
    return "is silent or constant" if np.ptp(y) == 0 else ""


def check(lists, files, num_workers):
    """What is wrong with the listed tracks: `{"jazz/jazz.00054": reason, ...}`."""
    listed = [name for names in lists.values() for name in names]
    present = [name for name in listed if name in files]
    faults = {n: f"{n}: is missing, as .wav and as .au" for n in listed if n not in files}
    results = run_jobs(fault, [files[name] for name in present], num_workers, "Check")
    found = {name: reason for name, reason in zip(present, results) if reason}
    faults |= {name: f"{name}{files[name].suffix}: {reason}" for name, reason in found.items()}
    return faults


def safe_name(name):
    """An archive member's path below the target. Raises `UserError` where it leads elsewhere."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in name:
        raise UserError(f"the archive holds {name!r}, which leads out of its folder: not unpacked")
    return path


def is_wanted(path, genres):
    """Whether an archive member is a track of the genres."""
    return (
        path.parent.name in genres
        and path.suffix.lower() in SUFFIXES
        and path.name.startswith(f"{path.parent.name}.")
    )


def check_sizes(name, size, total):
    """Raise `UserError` for a member, or members together, too large to be GTZAN's."""
    if size > LARGEST_FILE or total > LARGEST_ARCHIVE:
        raise UserError(f"the archive holds {name!r}, {size / 1e6:.0f} MB: GTZAN has none so large")


def unpack(archive, folder, genres):
    """Unpack the tracks of an archive into a folder. Raises `UserError` for one that is unsafe."""
    try:
        if zipfile.is_zipfile(archive):
            unpack_zip(archive, folder, genres)
        else:
            unpack_tar(archive, folder, genres)
    except DAMAGED as error:
        raise UserError(f"{archive} cannot be unpacked ({error}): get it again") from error


class BoundedHeader(tarfile.TarInfo):
    """A member whose extended header is not read into memory where it is no header's size."""

    def _proc_member(self, tar):
        long = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.SOLARIS_XHDTYPE)
        if self.type in (*long, tarfile.XHDTYPE, tarfile.XGLTYPE) and self.size > LARGEST_HEADER:
            raise UserError(f"the archive holds a header of {self.size / 1e6:.0f} MB: not unpacked")
        return super()._proc_member(tar)


def unpack_tar(archive, folder, genres):
    """Unpack a tar, member by member, with Python's filter for data."""
    total = 0
    with tarfile.open(archive, tarinfo=BoundedHeader) as tar:
        for member in tar:
            path = safe_name(member.name)
            total += member.size
            check_sizes(member.name, member.size, total)
            if not (member.isreg() or member.isdir()):
                raise UserError(f"the archive holds {member.name!r}, which is a link or a device")
            if member.isreg() and is_wanted(path, genres):
                tar.extract(member, folder, filter="data")


def unpack_zip(archive, folder, genres):
    """Unpack a zip; a member that is larger than it says ends as a bad zip file."""
    total = 0
    with zipfile.ZipFile(archive) as source:
        for member in source.infolist():
            path = safe_name(member.filename)
            total += member.file_size
            check_sizes(member.filename, member.file_size, total)
            if stat.S_ISLNK(member.external_attr >> 16):
                raise UserError(f"the archive holds {member.filename!r}, which is a link")
            if not member.is_dir() and is_wanted(path, genres):
                source.extract(member, folder)


def is_there(source, target):
    """Whether a file stands at a path already, itself or its content."""
    return target.exists() and (
        target.samefile(source) or filecmp.cmp(source, target, shallow=False)
    )


def install(source, args):
    """Check the tracks of a folder and make the data set of them; returns the exit status."""
    lists = split_lists(args.genres)
    files = find_files(find_root(source, args.source), args.genres)
    faults = check(lists, files, args.num_workers)
    for reason in faults.values():
        print(f"broken: {reason}", file=sys.stderr)
    listed = sum(map(len, lists.values()))
    print(f"{listed - len(faults)} of {listed} tracks are as they should be, {len(faults)} are not")
    if faults and not args.skip_broken:
        print(
            f"nothing was written to {args.path}: replace those tracks in {args.source}, or pass "
            f"--skip_broken to leave them out. {ASK}",
            file=sys.stderr,
        )
        return 1
    kept = {s: [files[n] for n in names if n not in faults] for s, names in lists.items()}
    write_data_set(kept, args)
    counts = "/".join(str(len(paths)) for paths in kept.values())
    print(f"{args.path}: {counts} tracks for train/valid/test, {len(args.genres)} genres")
    return 0


def write_data_set(kept, args):
    """Place the tracks, paths by split, and write their lists.

    Raises `UserError` before anything is written, where other tracks or lists are there.
    """
    names = {s: [f"{p.parent.name}/{p.name}" for p in paths] for s, paths in kept.items()}
    list_texts(args.path, names, args.force)
    sources = {
        Path(args.path, path.parent.name, path.name): path
        for paths in kept.values()
        for path in paths
    }
    sources = {target: path for target, path in sources.items() if not is_there(path, target)}
    other = [str(target) for target in sources if target.exists()]
    if other and not args.force:
        raise UserError(f"{', '.join(other[:3])}: there and different; pass --force to replace")
    for target, path in sources.items():
        place(path, target)
    write_lists(args.path, names, args.force)


def parse(argv):
    """The command line's settings."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("source", help="folder or archive of your copy")
    parser.add_argument("--path", default="dataset/gtzan", help="data set to make [dataset/gtzan]")
    parser.add_argument("--genres", nargs="+", default=GENRES, choices=TABLE, metavar="GENRE",
                        help="genres to take [all but blues and rock]")  # fmt: skip
    parser.add_argument("--skip_broken", action="store_true", help="leave broken tracks out")
    parser.add_argument("--force", action="store_true", help="replace what is there")
    parser.add_argument("--num_workers", type=int, default=0, help="threads (0: one a core) [0]")
    return parser.parse_args(argv)


def main(argv=None):
    """Check a copy of GTZAN and make a data set of it."""
    args = parse(argv)
    args.genres = list(dict.fromkeys(args.genres))
    source = Path(args.source)
    if source.is_dir():
        return install(source, args)
    if not source.is_file():
        raise UserError(f"{source} is missing: name the folder or archive of your copy. {ASK}")
    folder = Path(args.path).with_name(f"{Path(args.path).name}.unpacked")
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
    try:
        folder.mkdir(parents=True)
        unpack(source, folder, args.genres)
        return install(folder, args)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    run_script(main)

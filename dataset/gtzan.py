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
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for audio, support and tracks

from audio.reading import read_audio
from dataset.make_lists import list_texts, write_lists
from support.errors import UserError, run_script
from support.files import link_or_copy
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
SUFFIXES = (".wav", ".au")
DAMAGED = (  # what reading a damaged, encrypted or unknown archive raises
    *(tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, lzma.LZMAError),
    *(zlib.error, EOFError, RuntimeError, NotImplementedError, ValueError),
)
ASK = (
    "GTZAN's own download is dead and its licence is unknown: ask its author (G. Tzanetakis, "
    "University of Victoria) or your institution for a copy"
)
LARGEST_HEADER = 2**20  # bytes of an extended tar header, which tarfile reads into memory
LARGEST_FILE = 100 * 2**20  # bytes; a track has 1.3 MB
LARGEST_ARCHIVE = 8 * 2**30  # bytes, unpacked; copies with pictures have less than 2 GB


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
    found = {root: len(find_files(root, TABLE)) for root in roots}
    if not any(found.values()):
        raise UserError(
            f"{name} has no genre folders with tracks such as jazz/jazz.00000.wav (or .au), "
            f"up to two levels down: name the folder or archive of your copy. {ASK}"
        )
    return max(found, key=lambda root: found[root])


def find_files(root: Path, genres: Iterable[str]) -> dict[str, Path]:
    """Return the tracks that exist by name, such as "jazz/jazz.00000", without ghosts (`._*`)."""
    return {
        f"{genre}/{path.stem}": path
        for suffix in (".au", ".wav")  # of two files for one track, .wav wins
        for genre in genres
        for path in root.glob(f"{genre}/{genre}.{5 * '[0-9]'}.*")
        if path.suffix.lower() == suffix
    }


def fault(path: Path) -> str:
    """Return what is wrong with a track of GTZAN, or ""."""
    try:
        y, rate = read_audio(path)
    except UserError as error:
        # without the path and the remedy, since here the remedy is to replace the file
        return str(error).removeprefix(f"{path} ").rpartition(": ")[0]
    seconds = len(y) / rate
    if y.shape[1] != 1:
        return f"has {y.shape[1]} channels, not one"
    if rate != 22050:
        return f"has a sample rate of {rate} Hz, not 22050"
    if not 29.9 <= seconds <= 30.7:
        return f"lasts {seconds:.2f} s, not 29.9 to 30.7"
    return "is silent or constant" if np.ptp(y) == 0 else ""


def check(lists: Lists, files: dict[str, Path], num_workers: int) -> dict[str, str]:
    """Return what is wrong with listed tracks, by name."""
    listed = [name for names in lists.values() for name in names]
    faults = {n: f"{n}: is missing, as .wav and as .au" for n in listed if n not in files}
    present = [name for name in listed if name in files]
    results = run_jobs(fault, [files[name] for name in present], num_workers, "Check")
    found = {n: f"{n}{files[n].suffix}: {reason}" for n, reason in zip(present, results) if reason}
    return faults | found


class Member(NamedTuple):
    """A member of an archive."""

    path: PurePosixPath
    size: int  # bytes, unpacked
    kind: str  # "file", "folder", or what else it is
    extract: Callable[..., object]

    def is_track(self, genres: Sequence[str]) -> bool:
        """Whether the member is a track of one of the genres."""
        genre, suffix = self.path.parent.name, self.path.suffix.lower()
        named = self.path.name.startswith(f"{genre}.") and suffix in SUFFIXES
        return named and genre in genres and self.kind == "file"


class BoundedHeader(tarfile.TarInfo):
    """A tar member that rejects huge extended headers before they are read into memory."""

    def _proc_member(self, tar: tarfile.TarFile) -> Any:
        long = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.SOLARIS_XHDTYPE)
        if self.type in (*long, tarfile.XHDTYPE, tarfile.XGLTYPE) and self.size > LARGEST_HEADER:
            raise UserError(f"the archive holds a header of {self.size / 1e6:.0f} MB: not unpacked")
        return super()._proc_member(tar)  # type: ignore[misc]


def posix_path(name: str) -> PurePosixPath:
    """Return the path of a member, also if its name has backslashes, as on Windows."""
    return PurePosixPath(name.replace("\\", "/"))


def read_tar(archive: Path) -> Iterator[Member]:
    """Yield the members of a tar; they are extracted with Python's filter for untrusted data."""
    with tarfile.open(archive, tarinfo=BoundedHeader) as tar:
        for info in tar:
            kind = "file" if info.isreg() else "folder" if info.isdir() else "a link or a device"
            extract = partial(tar.extract, info, filter="data")
            yield Member(posix_path(info.name), info.size, kind, extract)


def read_zip(archive: Path) -> Iterator[Member]:
    """Yield the members of a zip; zipfile rejects members larger than their header says."""
    with zipfile.ZipFile(archive) as file:
        for info in file.infolist():
            is_link = stat.S_ISLNK(info.external_attr >> 16)
            kind = "a link" if is_link else "folder" if info.is_dir() else "file"
            extract = partial(file.extract, info)
            yield Member(posix_path(info.filename), info.file_size, kind, extract)


def check_member(member: Member, total: int) -> None:
    """Raise `UserError` for an unsafe member, the last of `total` bytes so far."""
    path, name = member.path, str(member.path)
    if path.is_absolute() or ".." in path.parts or ":" in name:
        raise UserError(f"the archive holds {name!r}, which leads out of its folder: not unpacked")
    if member.size > LARGEST_FILE or total > LARGEST_ARCHIVE:
        raise UserError(
            f"the archive holds {name!r} of {member.size / 1e6:.0f} MB, {total / 1e6:.0f} MB so "
            "far: too large for GTZAN"
        )
    if member.kind not in ("file", "folder"):
        raise UserError(f"the archive holds {name!r}, which is {member.kind}")


def unpack(archive: Path, folder: Path, genres: Sequence[str]) -> None:
    """Unpack the tracks of an archive into a folder. Raises `UserError` if that is unsafe."""
    total = 0
    try:
        for member in (read_zip if zipfile.is_zipfile(archive) else read_tar)(archive):
            total += member.size
            check_member(member, total)
            if member.is_track(genres):
                member.extract(path=folder)
    except DAMAGED as error:
        raise UserError(f"{archive} cannot be unpacked ({error}): get it again") from error


def install(source: Path, args: argparse.Namespace) -> int:
    """Check the tracks in a folder and make the data set; return the exit status."""
    lists = split_lists(args.genres)
    files = find_files(find_root(source, args.source), args.genres)
    faults = check(lists, files, args.num_workers)
    for reason in faults.values():
        print(f"broken: {reason}", file=sys.stderr)
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


def write_data_set(kept: dict[str, list[Path]], folder: Path, force: bool) -> None:
    """Link or copy tracks, given by split, into a folder, and write their lists.

    Raises `UserError` before it writes anything if the folder has other tracks or lists.
    """
    names = {s: [f"{p.parent.name}/{p.name}" for p in paths] for s, paths in kept.items()}
    list_texts(folder, names, force)
    sources = {folder / p.parent.name / p.name: p for paths in kept.values() for p in paths}
    same = {t for t, p in sources.items() if t.exists() and filecmp.cmp(p, t, shallow=False)}
    other = [str(target) for target in sources if target not in same and target.exists()]
    if other and not force:
        raise UserError(
            f"{', '.join(other[:3])}: exists and differs; pass --force to replace such tracks"
        )
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
    if source.is_dir():
        return install(source, args)
    if not source.is_file():
        raise UserError(f"{source} is missing: name the folder or archive of your copy. {ASK}")
    folder = Path(args.path).with_name(f"{Path(args.path).name}.unpacked")
    shutil.rmtree(folder, ignore_errors=True)  # left by a killed run
    try:
        folder.mkdir(parents=True)
        unpack(source, folder, args.genres)
        return install(folder, args)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    run_script(main)

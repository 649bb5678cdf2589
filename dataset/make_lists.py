"""Split a folder of class folders into train, valid and test lists.

    python dataset/make_lists.py my_music
    python dataset/make_lists.py my_music --group_by "/(.+?) - "

Three fifths of each class go to train, one fifth to valid, one fifth to test, at random. All tracks
of a group (an artist, an album, a source recording) go to the same split. `--group_by` is a regular
expression for `class/track.mp3`; the group is the text that its first parentheses match.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for audio, support and tracks

import support.start  # noqa: F401 - Ctrl-C ends it quietly while modules load

import argparse
import contextlib
import re
import shlex
import unicodedata
from collections import Counter
from collections.abc import Sequence

import numpy as np

from audio.formats import OTHER_SUFFIXES
from audio.reading import SUFFIXES, files_below
from hparams import HParams
from support.errors import UserError, explain, run_script
from support.files import write_text
from support.flags import command_line
from tracks.lists import LINE, Lists, file_key, genre_of, load_lists, nfc

SHARES = {"train": 0.6, "valid": 0.2, "test": 0.2}
# what separates an artist from the rest of a name, and how many of the tracks must share theirs
# with another track: a lone - or _ is in many names
SEPARATORS = {" - ": 0.1, "_-_": 0.1, "[-_]": 0.6}
Groups = dict[str, list[str]]  # tracks by group


def find_files(folder: Path) -> tuple[list[Path], list[str]]:
    """Return the files in the class folders of a folder, and why others cannot be read.

    Raises `UserError` if the folder is missing or cannot be read.
    """
    try:
        places = sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(
            f"no folder at {folder}: name a folder that holds one folder per class"
        ) from error
    except OSError as error:
        raise UserError(explain(error, folder)) from error
    files: list[Path] = []
    faults: list[str] = []
    for place in (place for place in places if not place.name.startswith(".")):
        try:
            found = sorted(place.iterdir()) if place.is_dir() else []
            files += [path for path in found if not path.name.startswith(".") and path.is_file()]
        except OSError as error:
            faults.append(explain(error, place))
    return files, faults


def find_tracks(folder: Path, files: Sequence[Path]) -> list[str]:
    """Return the names of audio files as "class/track.wav", in Unicode's form NFC, sorted.

    Raises `UserError` if there are none, or for names that lists cannot hold.
    """
    names = [p.relative_to(folder).as_posix() for p in files if p.suffix.lower() in SUFFIXES]
    if not names:
        convert = conversion(folder, files)
        remedy = f"convert it with `{convert}`" if convert else f"put tracks into {folder}/jazz/"
        raise UserError(f"{folder} has no audio in class folders that can be read: {remedy}")
    check_names(names, folder)
    return sorted(map(nfc, names))


def conversion(folder: Path, files: Sequence[Path]) -> str:
    """Return the shell command that converts audio which libsndfile does not read, or ""."""
    present, unread = set(files), OTHER_SUFFIXES - SUFFIXES
    others = [path for path in files if path.suffix.lower() in unread]
    suffixes = sorted({p.suffix for p in others if p.with_suffix(".wav") not in present})
    # not only the quoted name, since a name such as -x would be an option
    place = shlex.quote(str(folder) if folder.is_absolute() else f"./{folder}")
    patterns = " ".join(f"{place}/*/*{suffix}" for suffix in suffixes)
    loop = f'for file in {patterns}; do ffmpeg -n -i "$file" "${{file%.*}}.wav"; done'
    return loop if suffixes else ""


def check_names(names: Sequence[str], folder: Path) -> None:
    """Raise `UserError` for a name that a list cannot hold, or that means the same file twice."""
    seen: dict[str, str] = {}
    for name in names:
        odd = {unicodedata.category(letter) for letter in name} & {"Cc", "Cs"}  # Cs: not UTF-8
        if odd or not LINE.fullmatch(name) or name != name.strip().replace("\\", "/"):
            raise UserError(
                f"{name!r} in {folder} cannot be in a list: rename it without commas, colons, "
                "backslashes, control characters and bytes that are not UTF-8, and without "
                "spaces, - or . at its ends"
            )
        if (other := seen.setdefault(file_key(name), name)) != name:
            shown = (ascii(other), ascii(name)) if nfc(other) == nfc(name) else (other, name)
            raise UserError(
                f"{' and '.join(shown)} would share one feature file: rename one of them"
            )


def group_tracks(names: Sequence[str], group_by: str) -> Groups:
    """Group tracks by a regular expression; without one, each track is its own group."""
    if not group_by:
        return {name: [name] for name in names}
    try:
        expression = re.compile(nfc(group_by))
    except re.error as error:
        raise UserError(f"--group_by {group_by}: not a regular expression ({error})") from error
    groups: Groups = {}
    for name in names:
        found = expression.search(name)
        key = found and (found.group(1) if expression.groups else found.group())
        if not key:
            raise UserError(
                f"--group_by {group_by}: matches nothing in {name}; it must match every track"
            )
        groups.setdefault(key, []).append(name)
    return groups


def suggest_groups(names: Sequence[str], seed: int) -> tuple[str, int]:
    """Return an expression for the artists that names begin with, and how many there are.

    The expression is empty if the names do not look so, or if such groups cannot be split.
    """
    number = r"\d+[ ._-]+"  # of a track, in front of its artist
    numbered = any(re.search(f"/{number}", name) for name in names)
    start = f"/(?:{number})?(.+?)" if numbered else "/(.+?)"
    for separator, least in SEPARATORS.items():
        matched = sum(bool(re.search(start + separator, name)) for name in names) / len(names)
        expression = start + (separator if matched == 1 else f"(?:{separator}|$)")
        groups = group_tracks(names, expression)
        shared = {key: len(tracks) for key, tracks in groups.items() if len(tracks) > 1}
        named = all(any(map(str.isalpha, key)) for key in shared)
        if matched >= 0.8 and named and sum(shared.values()) >= least * len(names):
            with contextlib.suppress(UserError):
                split_tracks(groups, seed)
                return expression, len(groups)
    return "", 0


def split_tracks(groups: Groups, seed: int) -> Lists:
    """Split groups of tracks, in each class by `SHARES`, in an order drawn with `seed`.

    Large groups are placed first. Each goes to the split that lacks most of its classes; among
    equals, to the split that has the least of its share of these classes. Raises `UserError` if a
    split has no track of a class.

    >>> groups = {str(i): [f"jazz/{i}.wav"] for i in range(5)}
    >>> {split: len(names) for split, names in split_tracks(groups, seed=0).items()}
    {'train': 3, 'valid': 1, 'test': 1}
    """
    counts = Counter(genre_of(name) for names in groups.values() for name in names)
    drawn = np.random.default_rng(seed).permutation(sorted(groups)).tolist()
    filled: dict[str, Counter[str]] = {split: Counter() for split in SHARES}
    lists: Lists = {split: [] for split in SHARES}
    for group in sorted(drawn, key=lambda group: -len(groups[group])):
        genres = [genre_of(name) for name in groups[group]]
        need = {
            split: (
                len(set(genres) - filled[split].keys()),
                sum(1 - filled[split][g] / (share * counts[g]) for g in genres),
            )
            for split, share in SHARES.items()
        }
        split = max(need, key=lambda split: need[split])  # the first one, train, among equals
        lists[split] += groups[group]
        filled[split].update(genres)
    for split, found in filled.items():
        if missing := sorted(counts.keys() - found.keys()):
            raise UserError(
                f"{split} would have no track of {', '.join(missing)}: a class needs at least "
                "three tracks, or three groups; if it has them, try another --seed"
            )
    return {split: sorted(names) for split, names in lists.items()}


def list_texts(folder: str | Path, lists: Lists, force: bool) -> dict[Path, str]:
    """Return the contents of the list files. Raises `UserError` if an existing one differs."""
    texts = {
        Path(folder, f"{split}_list.txt"): "".join(f"{name}\n" for name in names)
        for split, names in lists.items()
    }
    for path, text in texts.items():
        if path.exists() and path.read_bytes() != text.encode() and not force:
            raise UserError(f"{path} exists and differs: pass --force to replace the lists")
    return texts


def write_lists(folder: str | Path, lists: Lists, force: bool) -> None:
    """Write `train_list.txt` and the others. Raises `UserError` if an existing one differs."""
    for path, text in list_texts(folder, lists, force).items():
        write_text(path, text)


def print_unlisted(folder: Path, files: Sequence[Path], listed: Sequence[str]) -> None:
    """Print how many files are not in the lists because of their format or their depth."""
    found = [p.relative_to(folder).as_posix() for p in files_below(folder) if p.suffix != ".txt"]
    known = set(listed)
    if others := [name for name in found if nfc(name) not in known]:
        shown = ", ".join(map(repr, others[:3])) + (" ..." if len(others) > 3 else "")
        print(
            f"left out: {len(others)} files that libsndfile cannot read as audio, or that are not "
            f"in a class folder: {shown}"
        )
    if convert := conversion(folder, files):
        print(f"to convert what ffmpeg reads: {convert}")


def keep_lists(folder: Path, names: Sequence[str]) -> bool:
    """Whether a folder has its lists; if so, print what they hold. They can be incomplete."""
    if not all((folder / f"{split}_list.txt").exists() for split in SHARES):
        return False
    listed = {n for each in load_lists(HParams(dataset_path=str(folder))).values() for n in each}
    others = len(set(names) - listed)
    rest = f"; {others} others are in no list (--force makes new lists)" if others else ""
    print(f"{folder} keeps its lists of {len(listed)} tracks{rest}")
    return True


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the flags."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("folder", help="folder that holds one folder of tracks per class")
    parser.add_argument("--group_by", default="", help="regular expression for a track's group")
    parser.add_argument("--seed", type=int, default=0, help="seed of the split [0]")
    parser.add_argument("--force", action="store_true", help="replace existing lists")
    parser.add_argument("--keep", action="store_true", help="keep existing lists, if all exist")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Write the lists and print how many tracks each class has; return 1 for unreadable folders."""
    args = parse(argv)
    if args.seed < 0:
        raise UserError(f"--seed {args.seed}: must be 0 or more")
    folder = Path(args.folder)
    files, faults = find_files(folder)
    for fault in faults:
        print(f"broken: {fault}", file=sys.stderr)
    names = find_tracks(folder, files)
    if args.keep and keep_lists(folder, names):
        return 1 if faults else 0
    groups = group_tracks(names, args.group_by)
    lists = split_tracks(groups, args.seed)
    write_lists(folder, lists, args.force)
    print_unlisted(folder, files, names)
    print(f"{len(names)} tracks, {len(groups)} groups")
    for split, listed in lists.items():
        counts = Counter(map(genre_of, listed))
        shown = ", ".join(f"{genre} {counts[genre]}" for genre in sorted(counts))
        print(f"{split}: {len(listed)} ({shown})")
    if not args.group_by:
        print_suggestion(args, names)
    return 1 if faults else 0


def print_suggestion(args: argparse.Namespace, names: Sequence[str]) -> None:
    """Print the command that keeps artists in one split, if names look like artists."""
    expression, count = suggest_groups(names, args.seed)
    if expression:
        words = ["python", "dataset/make_lists.py", args.folder, "--group_by", expression]
        words += ["--seed", str(args.seed)] if args.seed else []
        print(
            f"the names look like artists: to keep each of {count} in one split, run "
            f"`{command_line(*words, '--force')}`"
        )


if __name__ == "__main__":
    run_script(main)

"""Split a folder of class folders into train, valid and test lists.

    python dataset/make_lists.py my_music
    python dataset/make_lists.py my_music --group_by "/(.+?) - "

Three fifths of each class go to train, one fifth to valid, one fifth to test, at random. All tracks
of a group (an artist, an album, a source recording) go to the same split. `--group_by` is a regular
expression for `class/track.mp3`; the group is the text that its first parentheses match.
"""

import argparse
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for audio, support and tracks

from audio.reading import SUFFIXES, files_below
from support.errors import UserError, run_script
from support.files import write_text
from tracks.lists import LINE, Lists, file_key, genre_of

SHARES = {"train": 0.6, "valid": 0.2, "test": 0.2}
Groups = dict[str, list[str]]  # tracks by group


def find_tracks(folder: Path) -> list[str]:
    """List the audio files in the class folders of a folder as "class/track.wav", sorted.

    Raises `UserError` if there are none, or for names that lists cannot hold.
    """
    if not folder.is_dir():
        raise UserError(f"no folder at {folder}: name a folder that holds one folder per class")
    names = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.glob("[!.]*/[!.]*")
        if path.suffix.lower() in SUFFIXES
    )
    if not names:
        raise UserError(
            f"{folder} has no audio in class folders: put tracks into folders such as "
            f"{folder}/jazz/a.wav"
        )
    check_names(names, folder)
    return names


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
            raise UserError(f"{other} and {name} would share one feature file: rename one of them")


def group_tracks(names: Sequence[str], group_by: str) -> Groups:
    """Group tracks by a regular expression; without one, each track is its own group."""
    if not group_by:
        return {name: [name] for name in names}
    try:
        expression = re.compile(group_by)
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


def print_unlisted(folder: Path, listed: Sequence[str]) -> None:
    """Print how many files are not in the lists because of their format or their depth."""
    files = {p.relative_to(folder).as_posix() for p in files_below(folder) if p.suffix != ".txt"}
    if others := sorted(files.difference(listed)):
        shown = ", ".join(map(repr, others[:3])) + (" ..." if len(others) > 3 else "")
        print(
            f"left out: {len(others)} files that libsndfile cannot read as audio, or that are not "
            f"in a class folder: {shown} (`ffmpeg -i song.m4a song.wav` converts)"
        )


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the flags."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("folder", help="folder that holds one folder of tracks per class")
    parser.add_argument("--group_by", default="", help="regular expression for a track's group")
    parser.add_argument("--seed", type=int, default=0, help="seed of the split [0]")
    parser.add_argument("--force", action="store_true", help="replace existing lists")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Write the lists and print how many tracks of each class they have."""
    args = parse(argv)
    if args.seed < 0:
        raise UserError(f"--seed {args.seed}: must be 0 or more")
    folder = Path(args.folder)
    names = find_tracks(folder)
    groups = group_tracks(names, args.group_by)
    lists = split_tracks(groups, args.seed)
    write_lists(folder, lists, args.force)
    print_unlisted(folder, names)
    print(f"{len(names)} tracks, {len(groups)} groups")
    for split, listed in lists.items():
        counts = Counter(map(genre_of, listed))
        shown = ", ".join(f"{genre} {counts[genre]}" for genre in sorted(counts))
        print(f"{split}: {len(listed)} ({shown})")


if __name__ == "__main__":
    run_script(main)

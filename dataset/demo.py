"""Synthesize the demo data set, which needs no download.

    python dataset/demo.py

Writes `dataset/demo` in the layout of GTZAN: 20 tracks of 30 s for each of the tutorial's 8 genres,
22,050 Hz mono 16-bit, split 12/4/4, and `tags.csv` with the tempo, mode, drums and instruments of
each track. The same seed gives the same files.

Each genre is a `Style` in `demo_styles.py`: grooves, bass lines, chords, tunes and sounds to draw
from. Each artist has two tracks, both in the same split. Some artists mix two genres, genres share
instruments, and their tempi overlap, so that no single rule separates the genres.
"""

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import soundfile

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for dataset, support and tracks

from dataset.demo_songs import Song, finish, perform
from dataset.demo_sounds import SAMPLE_RATE
from dataset.demo_styles import STYLES
from dataset.make_lists import write_lists
from support.errors import UserError, run_script
from support.files import write_atomic, write_text
from support.parallel import run_jobs
from tracks.tags import format_tags

TRACKS_PER_ARTIST = 2
ARTISTS = {"train": 3, "valid": 1, "test": 1}  # for every 10 tracks of a genre
TEMPI = {"slow": 95, "medium": 120, "fast": math.inf}  # beats per minute, excluded upper limits


def name_tags(song: Song) -> list[str]:
    """Return the tags of a song: tempo, mode, drums, and all audible instruments."""
    tempo = next(name for name, limit in TEMPI.items() if 60 / song.beat < limit)
    drums = "drums" if "drums" in song.heard else "no drums"
    instruments = [f"instrument:{name}" for name in sorted(song.heard - {"drums"})]
    return [f"tempo:{tempo}", f"mode:{song.mode}", f"drums:{drums}", *instruments]


def write_track(job: tuple[Path, tuple[str, int, int, float, int]]) -> list[str]:
    """Write a track, job = (path, arguments of `perform`), and return its tags."""
    path, arguments = job
    song = perform(*arguments)
    options = {"samplerate": SAMPLE_RATE, "subtype": "PCM_16", "format": "WAV"}
    write_atomic(path, lambda file: soundfile.write(file, finish(song), **options))
    return name_tags(song)


def plan(tracks_per_genre: int) -> list[tuple[str, str, int, int, int]]:
    """List (split, genre, artist, number within the artist, number within the genre)."""
    tens, rest = divmod(tracks_per_genre, 10)
    if rest or tens < 1:
        raise UserError(f"--tracks_per_genre {tracks_per_genre}: must be 10, 20, 30 ...")
    artists = [split for split, count in ARTISTS.items() for _ in range(count * tens)]
    return [
        (split, genre, artist, track, artist * TRACKS_PER_ARTIST + track)
        for genre in STYLES
        for artist, split in enumerate(artists)
        for track in range(TRACKS_PER_ARTIST)
    ]


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the flags."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--path", default="dataset/demo", help="folder to write [dataset/demo]")
    parser.add_argument("--tracks_per_genre", type=int, default=20, help="10, 20, 30 ... [20]")
    parser.add_argument("--seconds", type=float, default=30, help="duration of each track [30]")
    parser.add_argument("--seed", type=int, default=0, help="seed of the music [0]")
    parser.add_argument("--num_workers", type=int, default=0, help="threads (0: one per core) [0]")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Write the tracks, their tags, and then the lists."""
    args = parse(argv)
    if not 1 <= args.seconds <= 600:
        raise UserError(f"--seconds {args.seconds:g}: must be 1 to 600")
    for name in ("seed", "num_workers"):
        if getattr(args, name) < 0:
            raise UserError(f"--{name} {getattr(args, name)}: must be 0 or more")
    tracks = plan(args.tracks_per_genre)
    names = [f"{genre}/{genre}.{number:05d}.wav" for _, genre, _, _, number in tracks]
    jobs = [
        (Path(args.path, name), (genre, artist, track, args.seconds, args.seed))
        for name, (_, genre, artist, track, _) in zip(names, tracks)
    ]
    tags = list(run_jobs(write_track, jobs, args.num_workers, "Compose"))
    write_text(Path(args.path, "tags.csv"), format_tags(dict(zip(names, tags))))
    lists = {s: [name for name, row in zip(names, tracks) if row[0] == s] for s in ARTISTS}
    write_lists(args.path, lists, force=True)
    for split, listed in lists.items():
        print(f"{split}: {len(listed)} tracks")
    print(f"{args.path}: {len(tracks)} tracks of {args.seconds:g} s, {len(STYLES)} genres")


if __name__ == "__main__":
    run_script(main)

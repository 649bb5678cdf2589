"""Find recordings that are in two splits of a data set.

    python dataset/check_leaks.py dataset/gtzan

Reports exact duplicates (exit status 1) and near-duplicates (warnings), which differ in encoding,
gain or start. Tracks are fingerprinted as in Haitsma and Kalker, "A Highly Robust Audio
Fingerprinting System" (ISMIR 2002): 32 bits for each frame of 0.37 s, the signs of energy changes
between neighbouring bands and frames. Frames with equal bits propose an alignment of two tracks.
The tracks are near-duplicates if less than 30 % of the bits differ where they overlap.
"""

import argparse
import hashlib
import itertools
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for audio, support and tracks

from audio.features import spectra
from audio.reading import load_audio
from hparams import HParams
from support.errors import UserError, run_script
from support.parallel import run_jobs
from tracks.lists import load_lists

BANDS = np.geomspace(300, 2000, 34)  # Hz, edges of 33 bands
FINGERPRINT = HParams(sample_rate=5512, fft_size=2048, win_size=2048, hop_size=64)  # 11.6 ms
LARGEST_ERROR = 0.30  # share of differing bits; about 0.5 for unrelated tracks
SHORTEST_OVERLAP = 86  # frames, 1 s
MOST_SHARED = 30  # a code in more frames than this is too common to propose alignments
FEWEST_VOTES = 3  # frames with equal bits that propose an alignment
QUIETEST = 1e-8  # share of the largest frame energy below which bits are noise


class Fingerprint(NamedTuple):
    """A track's codes of 32 bits, whether each is audible, and a hash of the exact samples."""

    codes: NDArray[np.uint32]  # (frames,)
    audible: NDArray[np.bool_]  # (frames,)
    exact: str


Prints = dict[str, Fingerprint]  # by "split/class/track.wav"


class Match(NamedTuple):
    """Two near-duplicates: the share of differing bits, and how much later the second starts."""

    error: float
    seconds: float
    first: str
    second: str


def fingerprint(path: Path) -> Fingerprint | str:
    """Return the fingerprint of an audio file, or the reason why it has none."""
    try:
        y = load_audio(path, FINGERPRINT)
    except UserError as error:
        return str(error)
    power = np.concatenate([S**2 for S in spectra(y, FINGERPRINT)])
    edges = np.round(BANDS * FINGERPRINT.fft_size / FINGERPRINT.sample_rate).astype(int)
    energy = np.add.reduceat(power[:, : edges[-1]], edges[:-1], axis=1)  # (frames, 33)
    change = np.diff(np.diff(energy, axis=1), axis=0) > 0  # (frames - 1, 32)
    codes = np.packbits(change, axis=1).view(">u4").ravel().astype(np.uint32)  # (frames - 1,)
    total = energy.sum(axis=1)
    audible = total[1:] > QUIETEST * max(total.max(), 1e-12)
    return Fingerprint(codes, audible, hashlib.sha256(y.tobytes()).hexdigest())


def fingerprint_all(names: Sequence[str], dataset_path: str, num_workers: int) -> Prints:
    """Return the fingerprints of tracks "split/class/track.wav"; report and omit broken ones."""
    paths = [Path(dataset_path, name.partition("/")[2]) for name in names]
    prints = {}
    for name, result in zip(names, run_jobs(fingerprint, paths, num_workers, "Fingerprint")):
        if isinstance(result, str):
            print(f"broken: {result}", file=sys.stderr)
        else:
            prints[name] = result
    return prints


def alignments(prints: Prints) -> Counter[tuple[str, str, int]]:
    """Count the codes that two tracks of different splits share, by (first, second, shift)."""
    places = defaultdict(list)  # by code: (track, frame)
    for name, (codes, audible, _) in prints.items():
        for code, frame in zip(codes[audible].tolist(), np.flatnonzero(audible).tolist()):
            places[code].append((name, frame))
    return Counter(
        (a, b, second - first)
        for shared in places.values()
        if len(shared) <= MOST_SHARED
        for (a, first), (b, second) in itertools.combinations(shared, 2)
        if split_of(a) != split_of(b)
    )


def split_of(name: str) -> str:
    """Return the split of a track "split/class/track.wav"."""
    return name.partition("/")[0]


def bit_error(first: Fingerprint, second: Fingerprint, shift: int) -> float:
    """Return the share of differing bits where two tracks overlap, the second `shift` later."""
    start = max(0, -shift)
    end = max(start, min(len(first.codes), len(second.codes) - shift))
    here, there = slice(start, end), slice(start + shift, end + shift)
    both = first.audible[here] & second.audible[there]
    if both.sum() < SHORTEST_OVERLAP:
        return 1.0
    differ = first.codes[here] ^ second.codes[there]
    return float(np.unpackbits(differ[both].view(np.uint8)).mean())


def find_matches(prints: Prints) -> list[Match]:
    """Return near-duplicates in different splits, the most similar first."""
    hop = FINGERPRINT.hop_size / FINGERPRINT.sample_rate  # s
    found = [
        Match(bit_error(prints[a], prints[b], shift), shift * hop, a, b)
        for (a, b, shift), count in alignments(prints).items()
        if count >= FEWEST_VOTES
    ]
    best: dict[tuple[str, str], Match] = {}
    for match in sorted(found):
        if match.error < LARGEST_ERROR:
            best.setdefault((match.first, match.second), match)
    return list(best.values())


def find_exact(prints: Prints) -> list[tuple[str, str]]:
    """Return pairs of tracks in different splits with the same samples, except silent tracks."""
    first: dict[str, str] = {}  # the first track with each hash
    audible = {name: made for name, made in prints.items() if made.audible.any()}
    pairs = [(first.setdefault(made.exact, name), name) for name, made in audible.items()]
    return [(a, b) for a, b in pairs if split_of(a) != split_of(b)]


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the flags."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("dataset_path", help="folder of the data set and its lists")
    parser.add_argument("--num_workers", type=int, default=0, help="threads (0: one per core) [0]")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Report recordings that are in two splits; return 1 for exact duplicates and broken files."""
    args = parse(argv)
    lists = load_lists(HParams(dataset_path=args.dataset_path))
    names = [f"{split}/{name}" for split, listed in lists.items() for name in listed]
    prints = fingerprint_all(names, args.dataset_path, args.num_workers)
    exact = find_exact(prints)
    near = [m for m in find_matches(prints) if (m.first, m.second) not in exact]
    for first, second in exact:
        print(f"duplicate: {first} and {second} are the same recording")
    for match in near:
        print(
            f"warning: {match.first} and {match.second} sound the same: {match.error:.0%} of the "
            f"fingerprint differs, the second is shifted by {match.seconds:+.2f} s"
        )
    print(
        f"{len(prints)} tracks, {len(exact)} duplicates and {len(near)} near-duplicates in splits"
    )
    return 1 if exact or len(prints) < len(names) else 0


if __name__ == "__main__":
    run_script(main)

"""Looks for one recording in two splits of a data set.

    python dataset/check_leaks.py dataset/gtzan

Finds exact duplicates (status 1) and near ones (warnings): another encoding, gain or start. Each
track is fingerprinted after Haitsma and Kalker, "A Highly Robust Audio Fingerprinting System"
(ISMIR 2002): 32 bits a frame of 0.37 s, the signs of how energy changes between neighbouring bands
and frames. Frames with the same bits propose how two tracks align; they are near-duplicates where
under 30 % of the bits of the overlap differ.
"""

import argparse
import dataclasses
import hashlib
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a script sees its own folder only

from audio.features import spectra
from audio.reading import load_audio
from hparams import HParams
from support.errors import UserError, run_script
from support.parallel import run_jobs
from tracks.lists import load_lists

BANDS = np.geomspace(300, 2000, 34)  # Hz, edges of 33 bands
FINGERPRINT = HParams(sample_rate=5512, fft_size=2048, win_size=2048, hop_size=64)  # 11.6 ms
LARGEST_ERROR = 0.30  # share of differing bits; unrelated tracks have about a half
SHORTEST_OVERLAP = 86  # frames, 1 s
MOST_SHARED = 30  # a code that more frames have than this tells nothing
FEWEST_VOTES = 3  # frames with the same bits that propose an alignment
QUIETEST = 1e-8  # share of the track's largest frame energy below which bits are noise


class Fingerprint(NamedTuple):
    """What identifies a track: codes (frames,) uint32, which of them count, and an exact hash."""

    codes: np.ndarray
    audible: np.ndarray
    exact: str


class Match(NamedTuple):
    """Two tracks that are nearly the same, the share of differing bits, and by how far shifted."""

    first: str
    second: str
    error: float
    seconds: float


def fingerprint(path):
    """The `Fingerprint` of a file, or the reason why there is none."""
    try:
        y = load_audio(path, FINGERPRINT)
    except UserError as error:
        return str(error)
    power = np.concatenate([S**2 for S in spectra(y, FINGERPRINT)])
    edges = np.round(BANDS * FINGERPRINT.fft_size / FINGERPRINT.sample_rate).astype(int)
    energy = np.add.reduceat(power[:, : edges[-1]], edges[:-1], axis=1)  # (frames, 33)
    change = np.diff(np.diff(energy, axis=1), axis=0) > 0  # (frames - 1, 32)
    codes = np.packbits(change, axis=1).view(">u4").ravel().astype(np.uint32)
    total = energy.sum(axis=1)
    audible = total[1:] > QUIETEST * max(total.max(), 1e-12)
    return Fingerprint(codes, audible, hashlib.sha256(y.tobytes()).hexdigest())


def alignments(prints):
    """How often frames of two tracks share a code, by (first, second, shift in frames)."""
    if not prints:
        return Counter()
    owner = np.repeat(np.arange(len(prints)), [int(p.audible.sum()) for p in prints])
    codes = np.concatenate([p.codes[p.audible] for p in prints])
    frame = np.concatenate([np.flatnonzero(p.audible) for p in prints])
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.diff(codes[order], prepend=~codes[order[:1]])) if len(codes) else []
    votes = Counter()
    for group in np.split(order, starts[1:]) if len(starts) else []:
        if 1 < len(group) <= MOST_SHARED:
            a, b = np.triu_indices(len(group), 1)
            a, b = group[a], group[b]
            apart = owner[a] != owner[b]
            shift = frame[b] - frame[a]
            votes.update(
                zip(owner[a[apart]].tolist(), owner[b[apart]].tolist(), shift[apart].tolist())
            )
    return votes


def bit_error(first, second, shift):
    """Share of differing bits where two fingerprints overlap, the second `shift` frames later."""
    start, end = max(0, -shift), min(len(first.codes), len(second.codes) - shift)
    if end - start < SHORTEST_OVERLAP:
        return 1.0
    both = first.audible[start:end] & second.audible[start + shift : end + shift]
    differ = first.codes[start:end] ^ second.codes[start + shift : end + shift]
    if both.sum() < SHORTEST_OVERLAP:
        return 1.0
    return float(np.unpackbits(differ[both].view(np.uint8)).mean())


def find_matches(names, prints, splits):
    """The `Match`es between tracks of different splits, the closest first."""
    best = {}
    for (a, b, shift), count in alignments(prints).items():
        a, b, shift = (a, b, shift) if a < b else (b, a, -shift)
        if count < FEWEST_VOTES or splits[a] == splits[b]:
            continue
        error = bit_error(prints[a], prints[b], shift)
        if error < best.get((a, b), (LARGEST_ERROR,))[0]:
            best[a, b] = error, shift
    hop = FINGERPRINT.hop_size / FINGERPRINT.sample_rate
    found = [Match(names[a], names[b], error, s * hop) for (a, b), (error, s) in best.items()]
    return sorted(found, key=lambda match: match.error)


def find_exact(names, prints, splits):
    """Pairs of tracks of different splits with the same samples, silence apart."""
    first = {}
    pairs = []
    for name, made, split in zip(names, prints, splits):
        if made.audible.any():
            known, known_split = first.setdefault(made.exact, (name, split))
            if known_split != split:
                pairs.append((known, name))
    return pairs


def parse(argv):
    """The command line's settings."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("dataset_path", help="folder of the data set, with its lists")
    parser.add_argument("--num_workers", type=int, default=0, help="threads (0: one a core) [0]")
    return parser.parse_args(argv)


def main(argv=None):
    """Report recordings that stand in two splits; the status is 1 for exact duplicates."""
    args = parse(argv)
    lists = load_lists(dataclasses.replace(HParams(), dataset_path=args.dataset_path))
    where = [(f"{split}/{name}", split) for split, names in lists.items() for name in names]
    paths = [Path(args.dataset_path, name) for names in lists.values() for name in names]
    made = list(run_jobs(fingerprint, paths, args.num_workers, "Fingerprint"))
    for reason in (result for result in made if isinstance(result, str)):
        print(f"broken: {reason}", file=sys.stderr)
    whole = [i for i, result in enumerate(made) if isinstance(result, Fingerprint)]
    prints = [made[i] for i in whole]
    names, splits = [where[i][0] for i in whole], [where[i][1] for i in whole]
    exact = find_exact(names, prints, splits)
    for first, second in exact:
        print(f"duplicate: {first} and {second} are the same recording")
    near = [m for m in find_matches(names, prints, splits) if (m.first, m.second) not in exact]
    for match in near:
        print(
            f"warning: {match.first} and {match.second} sound the same: {match.error:.0%} of the "
            f"fingerprint differs, the second shifted by {match.seconds:+.2f} s"
        )
    print(
        f"{len(prints)} tracks, {len(exact)} duplicates and {len(near)} near-duplicates in splits"
    )
    return 1 if exact or len(prints) < len(made) else 0


if __name__ == "__main__":
    run_script(main)

"""Find recordings that are in two splits of a data set.

    python dataset/check_leaks.py dataset/gtzan

Reports exact duplicates (exit status 1) and near-duplicates (warnings), which differ in encoding,
gain or start. Warns of one recording under two labels in one split, too.

Tracks are fingerprinted as in Haitsma and Kalker, "A Highly Robust Audio Fingerprinting System"
(ISMIR 2002): 32 bits for each frame of 0.37 s, the signs of energy changes between neighbouring
bands and frames. Frames with equal bits propose an alignment of two tracks. The tracks are
near-duplicates if less than 30 % of the bits differ where they overlap.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for audio, support and tracks

import support.start  # noqa: F401 - Ctrl-C ends it quietly while modules load

import argparse
import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import soxr
from numpy.typing import NDArray

from audio.features import spectra
from audio.formats import COPY
from audio.reading import average_channels, is_silent, read_audio
from hparams import HParams
from support.errors import explain, run_script, visible
from support.parallel import run_jobs
from tracks.lists import load_lists, source_path

BANDS = np.geomspace(300, 2000, 34)  # Hz, edges of 33 bands
FINGERPRINT = HParams(sample_rate=5512, fft_size=2048, win_size=2048, hop_size=64)  # 11.6 ms
LARGEST_ERROR = 0.30  # share of differing bits; about 0.5 for unrelated tracks
SHORTEST_OVERLAP = 86  # frames, 1 s
MOST_SHARED = 30  # a code in more frames than this is too common to propose alignments
FEWEST_VOTES = 3  # frames with equal bits that propose an alignment
QUIETEST = 1e-8  # share of the largest frame energy below which bits are noise
BLOCK = 1 << 20  # codes that are compared at once
MOST_VOTES = 1 << 25  # votes, of 8 bytes each, that are counted at once
LOW = np.uint64(2**32 - 1)
NO_VOTES = np.zeros(0, dtype=np.int64)  # of silence, which has no audible code
LABELS = " under two labels"


class Fingerprint(NamedTuple):
    """A track's codes of 32 bits, whether each is audible, and a hash of the exact samples."""

    codes: NDArray[np.uint32]  # (frames,)
    audible: NDArray[np.bool_]  # (frames,)
    exact: str  # empty for silence


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
        samples, rate = read_audio(path)
        with np.errstate(over="ignore", invalid="ignore"):  # reported below
            return make_fingerprint(average_channels(samples), rate)
    except OverflowError:  # in the mix of channels
        return f"{visible(path)} holds values too large for a spectrum: {COPY}"
    except Exception as error:
        return explain(error, path)


def make_fingerprint(y: NDArray[np.float32], rate: int) -> Fingerprint:
    """Return the fingerprint of a waveform (samples,) at a sample rate. Raises `OverflowError`."""
    if is_silent(y):  # no duplicate of anything
        return Fingerprint(np.zeros(0, dtype=np.uint32), np.zeros(0, dtype=bool), "")
    peak = np.abs(y).max()
    if not np.isfinite(peak):
        raise OverflowError
    scaled = y * np.float32(2.0 ** -np.frexp(peak)[1])  # exactly; the square of 1e20 is infinite
    low = soxr.resample(scaled, rate, FINGERPRINT.sample_rate)
    power = np.concatenate([S**2 for S in spectra(low, FINGERPRINT)])
    edges = np.round(BANDS * FINGERPRINT.fft_size / FINGERPRINT.sample_rate).astype(int)
    energy = np.add.reduceat(power[:, : edges[-1]], edges[:-1], axis=1)  # (frames, 33)
    change = np.diff(np.diff(energy, axis=1), axis=0) > 0  # (frames - 1, 32)
    codes = np.packbits(change, axis=1).view(">u4").ravel().astype(np.uint32)  # (frames - 1,)
    total = energy.sum(axis=1)
    audible = total[1:] > QUIETEST * max(total.max(), 1e-12)
    return Fingerprint(codes, audible, hashlib.sha256(y.tobytes()).hexdigest())


def fingerprint_all(names: Sequence[str], dataset_path: str, num_workers: int) -> Prints:
    """Return the fingerprints of tracks "split/class/track.wav"; report and omit broken ones."""
    hparams = HParams(dataset_path=dataset_path)
    paths = [source_path(hparams, name.partition("/")[2]) for name in names]
    prints = {}
    for name, result in zip(names, run_jobs(fingerprint, paths, num_workers, "Fingerprint")):
        if isinstance(result, str):
            print(f"broken: {result}", file=sys.stderr)
        else:
            prints[name] = result
    return prints


def alignments(prints: Prints) -> Iterator[tuple[str, str, int]]:
    """Yield what FEWEST_VOTES codes propose for two tracks: (a, b, shift).

    The tracks differ in their split or in their label.

    The memory needed is 8 bytes for each code, and at most about 20 for each of MOST_VOTES.
    """
    names = list(prints)
    starts = np.cumsum([0, *(len(made.codes) for made in prints.values())])  # of tracks in a row
    places = np.unique([place_of(name) for name in names], return_inverse=True)[1]
    keys = sort_codes(prints)
    parts = 1 + sum(len(first) for first, _ in shared_codes(keys)) // MOST_VOTES
    for part in range(parts):
        shared = (count_votes(*pair, starts, places) for pair in shared_codes(keys))
        votes = np.concatenate([NO_VOTES, *(some[some % parts == part] for some in shared)])
        votes.sort()
        chosen = votes[: 1 - FEWEST_VOTES] == votes[FEWEST_VOTES - 1 :]
        for vote in np.unique(votes[: 1 - FEWEST_VOTES][chosen]).tolist():
            yield names[vote >> 44], names[vote >> 24 & 0xFFFFF], (vote & 0xFFFFFF) - 2**23


def sort_codes(prints: Prints) -> NDArray[np.uint64]:
    """Return audible codes, each with the number of its frame among all tracks', sorted."""
    keys = np.empty(sum(int(made.audible.sum()) for made in prints.values()), dtype=np.uint64)
    place = frame = 0
    for codes, audible, _ in prints.values():
        found = np.flatnonzero(audible)
        keys[place : place + len(found)] = codes[found].astype(np.uint64) << 32
        keys[place : place + len(found)] |= (found + frame).astype(np.uint64)
        place, frame = place + len(found), frame + len(codes)
    keys.sort()
    return keys


def shared_codes(keys: NDArray[np.uint64]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield pairs of frames with equal codes, unless these are too common: (pairs,) each."""
    start = 0
    while start < len(keys):
        last = keys[start : start + BLOCK][-1] | LOW
        end = int(np.searchsorted(keys, last, side="right"))  # a code's frames stay in one block
        codes, frames = keys[start:end] >> 32, (keys[start:end] & LOW).astype(np.int64)
        ends = np.flatnonzero(np.append(codes[1:] != codes[:-1], True)) + 1
        counts = np.diff(ends, prepend=0)
        left = np.repeat(np.where(counts > MOST_SHARED, 0, ends), counts) - np.arange(len(codes))
        first = np.flatnonzero(left > 1)
        for lag in range(1, MOST_SHARED):
            first = first[left[first] > lag]
            yield frames[first], frames[first + lag]
        start = end


def count_votes(
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    starts: NDArray[np.int64],
    places: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Return a number for each pair of frames of different places: two tracks and their shift."""
    a, b = (np.searchsorted(starts, frames, side="right") - 1 for frames in (first, second))
    shift = second - starts[b] - (first - starts[a])
    return (a << 44 | b << 24 | shift + 2**23 & 0xFFFFFF)[places[a] != places[b]]


def place_of(name: str) -> str:
    """Return the split and the label of a track "split/class/track.wav", such as "train/jazz"."""
    return name.rpartition("/")[0]


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
    """Return near-duplicates that differ in split or label, the most similar first."""
    hop = FINGERPRINT.hop_size / FINGERPRINT.sample_rate  # s
    found = [
        Match(bit_error(prints[a], prints[b], shift), shift * hop, a, b)
        for a, b, shift in alignments(prints)
    ]
    best: dict[tuple[str, str], Match] = {}
    for match in sorted(found):
        if match.error < LARGEST_ERROR:
            best.setdefault((match.first, match.second), match)
    return list(best.values())


def find_exact(prints: Prints) -> list[tuple[str, str]]:
    """Return pairs of tracks with the same samples, not silent, that differ in split or label."""
    first: dict[str, dict[str, str]] = {}  # for each hash: the first track of each place
    pairs = []
    for name, made in prints.items():
        if made.exact:
            others, own = first.setdefault(made.exact, {}), place_of(name)
            pairs += [(other, name) for place, other in others.items() if place != own]
            others.setdefault(own, name)
    return pairs


def is_leak(first: str, second: str) -> bool:
    """Whether two tracks that are one recording are in different splits."""
    return first.partition("/")[0] != second.partition("/")[0]


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
    near = [m for m in find_matches(prints) if prints[m.first].exact != prints[m.second].exact]
    for first, second in exact:
        kind, labels = ("duplicate", "") if is_leak(first, second) else ("warning", LABELS)
        print(f"{kind}: {first} and {second} are the same recording{labels}")
    for match in near:
        labels = "" if is_leak(match.first, match.second) else LABELS
        print(
            f"warning: {match.first} and {match.second} sound the same{labels}: {match.error:.0%} "
            f"of the fingerprint differs, the second is shifted by {match.seconds:+.2f} s"
        )
    leaks = sum(is_leak(*pair) for pair in exact)
    others = sum(is_leak(match.first, match.second) for match in near)
    print(f"{len(prints)} tracks, {leaks} duplicates and {others} near-duplicates in splits")
    return 1 if leaks or len(prints) < len(names) else 0


if __name__ == "__main__":
    run_script(main)

"""Audio to features, one `.npy` per track. The log-mel formula is in audio/features.py.

    python feature_extraction.py --dataset_path dataset/demo
    python feature_extraction.py --dataset_path dataset/demo --feature mfcc

Reads the tracks in `train_list.txt`, `valid_list.txt` and `test_list.txt`. Writes
`<feature_path>/<genre>/<track>.wav.npy`, float32 of shape (chunks, chunk_length, bins), and the
manifest `features.jsonl` (tracks/manifest.py). Features that are up to date are kept.
"""

import support.start  # noqa: F401 - Ctrl-C ends it quietly while modules load

import contextlib
import hashlib
import shutil
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from audio import chunks
from audio.chunks import resize_array as resize_array
from audio.features import extract_feature, log_mel, warn_of_empty_mels
from audio.reading import (
    SUFFIXES,
    audio_seconds,
    is_silent,
    load_audio,
    load_track,
    read_audio,
)
from hparams import HParams
from support.errors import UserError, explain, run_script, visible
from support.files import source_state
from support.parallel import run_jobs
from tracks.catalog import read_catalog
from tracks.feature_files import Entry, write_feature
from tracks.lists import Lists, source_path
from tracks.lists import load_list as load_list
from tracks.manifest import ManifestWriter, open_manifest
from training.transfer import inherit, parse_settings

LOUDEST = 100.0  # a peak that no sound has; full scale is 1


class Extracted(NamedTuple):
    """The manifest entry of a track, and the sample rate of its file (0 if it is broken)."""

    entry: Entry
    rate: int


def melspectrogram(file_name: str, hparams: HParams) -> NDArray[np.float32]:
    """Return the log-mel (frames, num_mels) of a track of the data set, as taught."""
    return log_mel(load_audio(source_path(hparams, file_name), hparams), hparams)


def no_sound(path: Path, y: NDArray[np.float32], hparams: HParams) -> str:
    """Return why the waveform (samples,) of a file has no sound, or an empty string."""
    if is_silent(y):
        samples, rate = read_audio(path)
        kept = samples[: len(y) * rate // hparams.sample_rate]  # (samples, channels)
        cancel = len(kept.T) > 1 and not all(map(is_silent, kept.T))
        return "is silent" + (" in mono: its channels cancel each other out" if cancel else "")
    middle = y[len(y) // 20 : len(y) - len(y) // 20]  # resampling rounds off both ends
    ends = np.array([middle.min(), middle.max()])
    return f"is constant ({ends[0]:.2g}), without sound" if is_silent(ends - ends.mean()) else ""


def unusual(path: Path, y: NDArray[np.float32], silence: str, hparams: HParams) -> str:
    """Return a warning about a track, or an empty string; the track is kept."""
    if len(y) < hparams.fft_size and (hparams.feature != "waveform" or not len(y)):
        return f"{path} is shorter than one frame: it is padded with zeros"
    if silence:
        return f"{path} {silence}, in the part that is kept"
    if (peak := max(y.max(), -y.min())) > LOUDEST:
        return f"{path} has samples of {peak:.2g}, but full scale is 1: scale it down"
    return ""


def extract_track(job: tuple[str, HParams]) -> Extracted:
    """Write the features of a track, given as (name, hparams), and return its manifest entry."""
    name, hparams = job
    source = source_path(hparams, name)
    try:
        state = source_state(source)  # before reading, so that a later change is noticed
        y, rate, notes = load_track(source, hparams, chunks.kept_samples(hparams))
        padded = y if len(y) else np.zeros(1, dtype=np.float32)  # resampling can leave nothing
        feature = chunks.check_finite(source, extract_feature(padded, hparams))
        stored, rows = chunks.split_chunks(feature, hparams)
        silence = no_sound(source, y, hparams)
        warnings = [unusual(source, y, silence, hparams), *(f"{source} {note}" for note in notes)]
    except Exception as error:
        return Extracted({"broken": why_broken(error, source)}, 0)
    real = feature[:rows]
    entry = {
        "warning": "; ".join(filter(None, warnings)),
        "silent": bool(silence),
        **state,
        "frames": rows,
        "hash": hashlib.sha256(np.ascontiguousarray(real).data).hexdigest()[:32],
        "sum": float(real.sum(dtype=np.float64)),
        "sum_of_squares": float(np.square(real, dtype=np.float64).sum()),
        "count": real.size,
        "crc32": write_feature(hparams, name, stored),
    }
    return Extracted(entry, rate)


def why_broken(error: Exception, source: Path) -> str:
    """Return why a track cannot be extracted, with a remedy."""
    if not isinstance(error, FileNotFoundError):
        return explain(error, source)
    reason = f"{visible(source)} is missing: put it there or remove its line from the list"
    others = map(source.with_suffix, sorted(SUFFIXES - {source.suffix}))
    if found := next((path for path in others if path.is_file()), None):
        reason += f", or list {visible(found.name)}, which is there"
    return reason


def check_space(names: list[str], hparams: HParams) -> None:
    """Print the disk space that features need. Raises `UserError` if there is not enough."""
    rows = 0
    for name in names:
        seconds = 0.0  # its length does not matter, or it is reported as broken later
        if not hparams.feature_length:
            with contextlib.suppress(UserError, OSError):
                seconds = audio_seconds(source_path(hparams, name))
        rows += chunks.kept_length(chunks.estimate_rows(seconds, hparams), hparams)
    megabytes = rows * hparams.num_bins * 4 / 1e6
    folder = hparams.feature_folder()
    free = shutil.disk_usage(folder).free / 1e6
    print(f"{len(names)} tracks to extract, {megabytes:.1f} MB on disk: {folder}")
    if megabytes > free:
        raise UserError(
            f"{folder} has {free:.0f} MB free, {megabytes:.0f} MB are needed: free some space, "
            "or pass a --feature_path on another disk"
        )


def print_lengths(hparams: HParams) -> None:
    """Print how much of each track is kept, and how much is dropped to have whole chunks."""
    unit, length = chunks.row_unit(hparams), hparams.chunk_length
    chunk = f"chunks of {length} {unit} = {chunks.seconds_of(length, hparams):.1f} s"
    if not hparams.feature_length:
        print(f"Whole tracks in {chunk}")
        return
    kept = chunks.kept_length(0, hparams)
    seconds = chunks.seconds_of(kept, hparams)
    print(f"The first {kept} {unit} = {seconds:.1f} s of a track, in {chunk}")
    if dropped := hparams.feature_length - kept:
        print(
            f"feature_length {hparams.feature_length} is not a multiple of chunk_length "
            f"{length}: {dropped} {unit} are dropped"
        )


def extract(names: list[str], manifest: ManifestWriter, hparams: HParams) -> dict[str, str]:
    """Extract tracks and add them to the manifest; return the reasons of broken tracks."""
    began, broken, rows, rates = time.monotonic(), {}, list[int](), Counter[int]()
    manifest.begin()
    jobs = [(name, hparams) for name in names]
    made = run_jobs(extract_track, jobs, hparams.num_workers, "Extract")
    for name, (entry, rate) in zip(names, made):
        if "broken" in entry:
            broken[name] = entry["broken"]
            entry |= {"skipped": hparams.skip_broken}
        else:
            rows.append(entry["frames"])
            rates[rate] += 1
            if entry["warning"]:
                print(f"warning: {entry['warning']}", file=sys.stderr)
        manifest.add(name, entry)
    print_changes(rows, rates, hparams)
    print(
        f"{len(names) - len(broken)} tracks extracted in {time.monotonic() - began:.1f} s, "
        f"{len(broken)} broken"
    )
    return broken


def print_changes(rows: Sequence[int], rates: Counter[int], hparams: HParams) -> None:
    """Print how many tracks were resampled and padded, from their sample rates and real rows."""
    changed = [rate for rate in sorted(rates) if rate != hparams.sample_rate]
    if changed:
        shown = ", ".join(f"{rate} Hz ({rates[rate]} tracks)" for rate in changed)
        print(f"Resampled to {hparams.sample_rate} Hz: {shown}")
    kept = chunks.kept_length(0, hparams)
    if short := [chunks.seconds_of(count, hparams) for count in rows if count < kept]:
        lengths = dict.fromkeys(f"{seconds:.1f}" for seconds in (min(short), max(short)))
        print(
            f"{len(short)} tracks of {' to '.join(lengths)} s are padded to "
            f"{chunks.seconds_of(kept, hparams):.1f} s: pass --feature_length 0 for whole tracks"
        )


def report_broken(broken: dict[str, str], lists: Lists, hparams: HParams) -> int:
    """Print broken tracks, the reasons and the next command; return the exit status."""
    for reason in broken.values():
        print(f"broken: {reason}", file=sys.stderr)
    if broken and not hparams.skip_broken:
        print(
            "repair them and run the same command again: it extracts only what is missing; "
            "with --skip_broken training leaves these tracks out",
            file=sys.stderr,
        )
        return 1
    for split, names in lists.items() if broken else ():
        print(f"{split}: {len(broken.keys() & set(names))} of {len(names)} tracks left out")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Extract the features of all listed tracks; return status 1 if a track is broken."""
    return extract_listed(parse_settings(argv, model=False))  # a recipe can name any model


def extract_data_set(hparams: HParams) -> int:
    """Extract the features of all listed tracks; return 1 if a track is broken, otherwise 0."""
    return extract_listed(inherit(hparams, model=False))


def extract_listed(hparams: HParams) -> int:
    """Extract by settings that have those of `init_from`; return the status."""
    hparams.validate()
    print("Extracting Feature")
    catalog = read_catalog(hparams, labels=False)
    hparams = catalog.hparams
    print_lengths(hparams)
    if hparams.feature in ("log_mel", "mfcc"):
        warn_of_empty_mels(hparams)
    names = [name for listed in catalog.lists.values() for name in listed]
    with open_manifest(hparams) as manifest:
        present, unreadable = manifest.survey(names)
        missing = [name for name in names if name not in present and name not in unreadable]
        if not missing:
            print(f"nothing to extract: all features are at {hparams.feature_folder()}")
        else:
            check_space(missing, hparams)
            if done := len(names) - len(missing):
                print(f"{done} of {len(names)} tracks are already extracted")
        broken = extract(missing, manifest, hparams)
    for name, error in unreadable.items():
        reason = why_broken(error, source_path(hparams, name))
        print(f"broken: {reason}; its features are kept", file=sys.stderr)
    status = report_broken(broken, catalog.lists, hparams)
    return 1 if unreadable and not hparams.skip_broken else status


if __name__ == "__main__":
    run_script(main)

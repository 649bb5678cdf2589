"""Audio to features: one `.npy` of chunked log-mel a track, and a manifest of them all.

    python feature_extraction.py --dataset_path dataset/demo
    python feature_extraction.py --dataset_path dataset/demo --feature mfcc

Reads the tracks that `train_list.txt`, `valid_list.txt` and `test_list.txt` name, writes
`<feature_path>/<split>/<genre>/<track>.npy`, float32 of shape (chunks, chunk_length, bins), and
`features.json`. A track whose features are there already is not extracted again.

Arrays: waveform (samples,) float32 mono in [-1, 1]; feature (frames, bins), time first.
"""

import math
import shutil
import sys
import time
from pathlib import Path

import numpy as np

from audio.chunks import kept_length, kept_samples, resize_array
from audio.features import count_frames, extract_feature, log_mel, silent_row, warn_of_empty_mels
from audio.reading import audio_seconds, is_ended, load_audio, remedy
from hparams import HParams
from support.errors import UserError, run_script
from support.files import source_state, write_atomic
from support.parallel import run_jobs
from tracks.lists import SPLITS, choose_genres, feature_file, load_lists
from tracks.manifest import Journal, hash_frames, present_tracks, write_manifest


def melspectrogram(file_name, hparams):
    """Log-mel (frames, num_mels) of a track of the data set, as taught."""
    return log_mel(load_audio(Path(hparams.dataset_path, file_name), hparams), hparams)


def what_is_odd(path, y, hparams):
    """What to look at in a track that is kept all the same; empty where nothing is."""
    if len(y) < hparams.fft_size and hparams.feature != "waveform":
        return f"{path} is shorter than one frame: it is padded with zeros"
    if np.ptp(y) == 0:
        return f"{path} is silent, as far as it is kept"
    return "" if is_ended(path) else f"{path} has no mark of its end: it may be cut short"


def extract_track(job):
    """Extract one track: (split, file name, hparams) to its manifest entry, or why it cannot be."""
    split, file_name, hparams = job
    source = Path(hparams.dataset_path, file_name)
    try:
        state = source_state(source)  # before it is read: a later change is seen as one
        y = load_audio(source, hparams, kept_samples(hparams))
        with np.errstate(over="ignore", invalid="ignore"):  # told below
            feature = extract_feature(y, hparams)
    except FileNotFoundError:
        return f"{source} is missing: put it there or take its line out of the list"
    except OSError as error:
        return f"{source} cannot be read ({error.strerror}): {remedy(source)}"
    except MemoryError:
        return f"{source} does not fit into memory: pass a smaller --num_workers, or cut it"
    except UserError as error:
        return str(error)
    if not np.isfinite(feature).all():
        return f"{source} holds values too large for a spectrum: {remedy(source)}"
    length = kept_length(len(feature), hparams)
    real = feature[:length]
    padded = resize_array(feature, length, silent_row(hparams))
    chunks = padded.reshape(-1, hparams.chunk_length, feature.shape[1])
    key = feature_file(split, file_name)
    write_atomic(hparams.feature_folder() / key, lambda file: np.save(file, chunks))
    return {
        "source": file_name,
        "warning": what_is_odd(source, y, hparams),
        **state,
        "frames": len(real),
        "hash": hash_frames(real),
        "sum": float(real.sum(dtype=np.float64)),
        "sum_of_squares": float(np.square(real, dtype=np.float64).sum()),
        "count": real.size,
    }


def estimate_rows(file_name, hparams):
    """Rows of a track's feature, told from its header alone; 0 where that cannot be read."""
    try:
        seconds = audio_seconds(Path(hparams.dataset_path, file_name))
    except (UserError, OSError):
        return 0
    if seconds == math.inf:
        return 0
    samples = int(seconds * hparams.sample_rate)
    return samples if hparams.feature == "waveform" else count_frames(samples, hparams)


def check_space(jobs, hparams):
    """Print the space that the features will take; raise `UserError` where there is less."""
    if hparams.feature_length:
        rows = len(jobs) * kept_length(0, hparams)
    else:
        rows = sum(kept_length(estimate_rows(name, hparams), hparams) for _, name, _ in jobs)
    megabytes = rows * hparams.num_bins * 4 / 1e6
    folder = hparams.feature_folder()
    free = shutil.disk_usage(folder).free / 1e6
    print(f"{len(jobs)} tracks to extract, {megabytes:.1f} MB on disk: {folder}")
    if megabytes > free:
        raise UserError(
            f"{folder} has {free:.0f} MB free, {megabytes:.0f} are needed: free some, "
            "or pass a --feature_path on another disk"
        )


def print_lengths(hparams):
    """Say how much of a track is kept, and what is dropped for want of a whole chunk."""
    raw = hparams.feature == "waveform"
    rows, hop = ("samples", 1) if raw else ("frames", hparams.hop_size)
    seconds = hop / hparams.sample_rate
    chunk = f"chunks of {hparams.chunk_length} {rows} = {hparams.chunk_length * seconds:.1f} s"
    if not hparams.feature_length:
        print(f"Whole tracks in {chunk}")
        return
    kept = kept_length(0, hparams)
    print(f"The first {kept} {rows} = {kept * seconds:.1f} s of a track, in {chunk}")
    if dropped := hparams.feature_length - kept:
        print(
            f"feature_length {hparams.feature_length} is no multiple of chunk_length "
            f"{hparams.chunk_length}: {dropped} {rows} are dropped"
        )


def main(argv=None):
    """Extract the features of all listed tracks; the status is 1 where a track is broken."""
    unread = ("copies", "comparison")  # those of training may be given to both scripts alike
    hparams = HParams().parse_argument(argv, unread)
    print("Extracting Feature")
    hparams = choose_genres(hparams)
    lists = load_lists(hparams)
    print_lengths(hparams)
    if hparams.feature in ("log_mel", "mfcc"):
        warn_of_empty_mels(hparams)
    with Journal(hparams.feature_folder()) as journal:
        tracks = present_tracks(journal, hparams)
        jobs = [
            (split, name, hparams)
            for split in SPLITS
            for name in lists[split]
            if feature_file(split, name) not in tracks
        ]
        if jobs:
            check_space(jobs, hparams)
        else:
            print(f"nothing to extract: all features are at {journal.folder}")
        listed = sum(map(len, lists.values()))
        if 0 < len(jobs) < listed:
            print(f"{listed - len(jobs)} of {listed} tracks are extracted already")
        broken = extract(jobs, tracks, journal, hparams)
    return report_broken(broken, lists, hparams)


def extract(jobs, tracks, journal, hparams):
    """Extract `jobs`, add them to `tracks` (manifest key to entry), write the manifest.

    Returns the tracks that could not be read, manifest key to reason.
    """
    began, broken = time.monotonic(), {}
    write_manifest(hparams, tracks)  # before the first file: no stale entry outlives its features
    journal.begin(hparams.feature_settings())
    for job, result in zip(jobs, run_jobs(extract_track, jobs, hparams.num_workers, "Extract")):
        key = feature_file(*job[:2])
        if isinstance(result, str):
            broken[key] = result
        else:
            tracks[key] = result
            journal.add(key, result)
            if result["warning"]:
                print(f"warning: {result['warning']}", file=sys.stderr)
    write_manifest(hparams, tracks, broken if hparams.skip_broken else ())
    journal.end()
    print(
        f"{len(jobs) - len(broken)} tracks extracted in {time.monotonic() - began:.1f} s, "
        f"{len(broken)} broken"
    )
    return broken


def report_broken(broken, lists, hparams):
    """Name the broken tracks (manifest key to reason) and what to do; returns the exit status."""
    for reason in broken.values():
        print(f"broken: {reason}", file=sys.stderr)
    if broken and not hparams.skip_broken:
        print(
            "the same command extracts what is left, once that is put right; "
            "with --skip_broken training leaves these tracks out",
            file=sys.stderr,
        )
        return 1
    for split in SPLITS if broken else ():
        lost = sum(feature_file(split, name) in broken for name in lists[split])
        print(f"{split}: {lost} of {len(lists[split])} tracks left out")
    return 0


if __name__ == "__main__":
    run_script(main)

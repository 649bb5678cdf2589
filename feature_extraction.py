"""Audio to features, one `.npy` per track. The log-mel formula is in audio/features.py.

    python feature_extraction.py --dataset_path dataset/demo
    python feature_extraction.py --dataset_path dataset/demo --feature mfcc

Reads the tracks in `train_list.txt`, `valid_list.txt` and `test_list.txt`. Writes
`<feature_path>/<genre>/<track>.wav.npy`, float32 of shape (chunks, chunk_length, bins), and the
manifest `features.jsonl` (tracks/manifest.py). Features that are up to date are kept.
"""

import contextlib
import hashlib
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audio import chunks
from audio.chunks import resize_array as resize_array
from audio.features import extract_feature, log_mel, warn_of_empty_mels
from audio.reading import audio_seconds, is_ended, load_audio, remedy
from hparams import HParams
from support.errors import UserError, run_script
from support.files import source_state, write_atomic
from support.parallel import run_jobs
from tracks.catalog import read_catalog
from tracks.lists import Lists
from tracks.lists import load_list as load_list
from tracks.manifest import Entry, ManifestWriter, feature_file, open_manifest


def melspectrogram(file_name: str, hparams: HParams) -> NDArray[np.float32]:
    """Return the log-mel (frames, num_mels) of a track of the data set, as taught."""
    return log_mel(load_audio(Path(hparams.dataset_path, file_name), hparams), hparams)


def unusual(path: Path, y: NDArray, hparams: HParams) -> str:
    """Return a warning about a track, or an empty string; the track is kept."""
    if len(y) < hparams.fft_size and hparams.feature != "waveform":
        return f"{path} is shorter than one frame: it is padded with zeros"
    if np.ptp(y) == 0:
        return f"{path} is silent in the part that is kept"
    return "" if is_ended(path) else f"{path} has no end mark: it may be cut short"


def extract_track(job: tuple[str, HParams]) -> Entry:
    """Write the features of a track, given as (name, hparams), and return its manifest entry."""
    name, hparams = job
    source = Path(hparams.dataset_path, name)
    try:
        state = source_state(source)  # before reading, so that a later change is noticed
        y = load_audio(source, hparams, chunks.kept_samples(hparams))
        feature = chunks.check_finite(source, extract_feature(y, hparams))
    except FileNotFoundError:
        return {"broken": f"{source} is missing: put it there or remove its line from the list"}
    except OSError as error:
        return {"broken": f"{source} cannot be read ({error.strerror}): {remedy(source)}"}
    except MemoryError:
        return {"broken": f"{source} does not fit into memory: lower --num_workers, or cut it"}
    except UserError as error:
        return {"broken": str(error)}
    stored, rows = chunks.split_chunks(feature, hparams)
    write_atomic(feature_file(hparams, name), lambda file: np.save(file, stored))
    real = feature[:rows]
    return {
        "warning": unusual(source, y, hparams),
        **state,
        "frames": rows,
        "hash": hashlib.sha256(np.ascontiguousarray(real).data).hexdigest()[:32],
        "sum": float(real.sum(dtype=np.float64)),
        "sum_of_squares": float(np.square(real, dtype=np.float64).sum()),
        "count": real.size,
    }


def check_space(names: list[str], hparams: HParams) -> None:
    """Print the disk space that features need. Raises `UserError` if there is not enough."""
    rows = 0
    for name in names:
        seconds = 0.0  # its length does not matter, or it is reported as broken later
        if not hparams.feature_length:
            with contextlib.suppress(UserError, OSError):
                seconds = audio_seconds(Path(hparams.dataset_path, name))
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
    began, broken = time.monotonic(), {}
    manifest.begin()
    jobs = [(name, hparams) for name in names]
    for name, entry in zip(names, run_jobs(extract_track, jobs, hparams.num_workers, "Extract")):
        if "broken" in entry:
            broken[name] = entry["broken"]
            entry |= {"skipped": hparams.skip_broken}
        elif entry["warning"]:
            print(f"warning: {entry['warning']}", file=sys.stderr)
        manifest.add(name, entry)
    print(
        f"{len(names) - len(broken)} tracks extracted in {time.monotonic() - began:.1f} s, "
        f"{len(broken)} broken"
    )
    return broken


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
    hparams = HParams().parse_argument(argv)
    print("Extracting Feature")
    catalog = read_catalog(hparams, labels=False)
    hparams = catalog.hparams
    print_lengths(hparams)
    if hparams.feature in ("log_mel", "mfcc"):
        warn_of_empty_mels(hparams)
    names = [name for listed in catalog.lists.values() for name in listed]
    with open_manifest(hparams) as manifest:
        present = manifest.present(names)
        missing = [name for name in names if name not in present]
        if not missing:
            print(f"nothing to extract: all features are at {hparams.feature_folder()}")
        else:
            check_space(missing, hparams)
            if present:
                print(f"{len(present)} of {len(names)} tracks are already extracted")
        broken = extract(missing, manifest, hparams)
    return report_broken(broken, catalog.lists, hparams)


if __name__ == "__main__":
    run_script(main)

"""Audio to features: one `.npy` of chunked log-mel a track, and a manifest of them all.

    python feature_extraction.py --dataset_path dataset/demo
    python feature_extraction.py --dataset_path dataset/demo --feature mfcc

Reads the tracks that `train_list.txt`, `valid_list.txt` and `test_list.txt` name, writes
`<feature_path>/<split>/<genre>/<track>.npy`, float32 of shape (chunks, chunk_length, bins), and
`features.json`. A track whose features are there already is not extracted again.

Arrays: waveform (samples,) float32 mono in [-1, 1]; feature (frames, bins), time first.
"""

import functools
import math
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import scipy.fft  # here, not when a thread first needs it: the others would wait

from audio import audio_seconds, is_ended, load_audio, remedy
from hparams import HParams, UserError, run_script
from lists import SPLITS, choose_genres, load_lists
from manifest import (
    Journal,
    feature_file,
    hash_frames,
    kept_length,
    present_tracks,
    source_state,
    write_atomic,
    write_manifest,
)
from parallel import run_jobs

BLOCK = 128  # frames transformed at once: few enough to stay in the cache
BAND = 32  # neighbouring mel filters applied at once


def stft(y, hparams):
    """Short-time Fourier transform of a waveform (slide "STFT"), as `librosa.stft` defines it.

    Parameters: y (samples,). Returns complex64 (fft_size // 2 + 1, frames): 1 s at 22,050 Hz gives
    513 x 44 with fft 1024 and hop 512. Frames are centred on multiples of hop_size, zeros beyond
    the ends; the window is a periodic Hann of win_size, centred in fft_size.
    """
    frames = cut_frames(y, 0, count_frames(len(y), hparams), hparams)
    return scipy.fft.rfft(frames * hann(hparams), axis=1).T


def count_frames(samples, hparams):
    """How many frames a waveform of so many samples has."""
    odd = hparams.fft_size % 2
    return 1 + max(0, samples - odd) // hparams.hop_size


def cut_frames(y, start, stop, hparams):
    """Frames `start` to `stop` of a waveform: (frames, fft_size), centred on multiples of hop_size.

    A view of it, but where frames reach beyond its ends: there are zeros.
    """
    fft_size, hop = hparams.fft_size, hparams.hop_size
    first = start * hop - fft_size // 2
    last = (stop - 1) * hop - fft_size // 2 + fft_size
    part = y[max(0, first) : max(0, last)]
    if first < 0 or last > len(y):
        part = np.pad(part, (max(0, -first), max(0, last - max(len(y), first))))
    step = part.strides[0]
    return np.lib.stride_tricks.as_strided(part, (stop - start, fft_size), (hop * step, step))


def hann(hparams):
    """A periodic Hann window of win_size, centred in fft_size: float32 (fft_size,)."""
    window = np.zeros(hparams.fft_size, dtype=np.float32)
    start = (hparams.fft_size - hparams.win_size) // 2
    window[start : start + hparams.win_size] = np.hanning(hparams.win_size + 1)[:-1]
    return window


def mel_edges(sample_rate, num_mels):
    """Where mel filters begin, peak and end: (num_mels + 2,) in Hz, a filter has three neighbours.

    Equal steps of Slaney's scale (Auditory Toolbox, 1998): 3 mels are 200 Hz up to 1 kHz, then 27
    mels are a factor of 6.4.
    """
    top = sample_rate / 2
    top_mel = top * 3 / 200 if top < 1000 else 15 + 27 * np.log(top / 1000) / np.log(6.4)
    mels = np.linspace(0, top_mel, num_mels + 2)
    return np.where(mels < 15, mels * 200 / 3, 1000 * 6.4 ** ((mels - 15) / 27))


@functools.lru_cache(maxsize=4)
def mel_filters(sample_rate, fft_size, num_mels):
    """Mel filter bank (num_mels, fft_size // 2 + 1), float32, as `librosa.filters.mel` builds it.

    Triangles of equal area between the `mel_edges`.
    """
    edges = mel_edges(sample_rate, num_mels)[:, None]
    lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]
    hz = np.fft.rfftfreq(fft_size, 1 / sample_rate)
    triangles = np.minimum((hz - lower) / (centre - lower), (upper - hz) / (upper - centre))
    return (np.maximum(0, triangles) * 2 / (upper - lower)).astype(np.float32)


@functools.lru_cache(maxsize=4)
def mel_bands(sample_rate, fft_size, num_mels):
    """The mel filter bank without most of its zeros: a list of (mels, bins, weights (bins, mels)).

    A filter is 0 but for a few bins, and neighbours share most of theirs: products over the bins
    that a slice of mels needs are a quarter of the whole product.
    """
    filters = mel_filters(sample_rate, fft_size, num_mels)
    bands = []
    for start in range(0, num_mels, BAND):
        mels = slice(start, start + BAND)
        used = np.flatnonzero(filters[mels].any(axis=0))
        bins = slice(used.min(initial=fft_size), used.max(initial=-1) + 1)
        bands.append((mels, bins, np.ascontiguousarray(filters[mels, bins].T)))
    return bands


def spectra(y, hparams):
    """Yield the magnitude STFT of a waveform in blocks (BLOCK or fewer frames, bins), float32."""
    window, frames = hann(hparams), count_frames(len(y), hparams)
    for start in range(0, frames, BLOCK):
        block = cut_frames(y, start, min(start + BLOCK, frames), hparams)
        yield np.abs(scipy.fft.rfft(block * window, axis=1))


def mel_spectrogram(y, hparams):
    """Mel filters on the magnitude STFT of a waveform: (frames, num_mels), float32."""
    bands = mel_bands(hparams.sample_rate, hparams.fft_size, hparams.num_mels)
    feature = np.empty((count_frames(len(y), hparams), hparams.num_mels), dtype=np.float32)
    for start, S in zip(range(0, len(feature), BLOCK), spectra(y, hparams)):
        mel = feature[start : start + BLOCK]
        for mels, bins, weights in bands:
            np.matmul(S[:, bins], weights, out=mel[:, mels])
    return feature


def decibels(magnitude):
    """20 log10 of magnitudes, those below 1e-5 taken as that: -100 dB."""
    return 20 * np.log10(np.maximum(magnitude, np.float32(1e-5)))


SCALES = {  # of magnitudes, by `hparams.scale`
    "tutorial": lambda magnitude: np.log10(1 + 10 * magnitude),
    "db": decibels,
    "none": lambda magnitude: magnitude,
}


def log_mel(y, hparams):
    """The tutorial's log-mel of a waveform: log10(1 + 10 * mel @ |STFT|), (frames, num_mels).

    Or the same mel spectrogram on another `hparams.scale`.
    """
    return SCALES[hparams.scale](mel_spectrogram(y, hparams))


def linear_stft(y, hparams):
    """The magnitude STFT of a waveform on `hparams.scale`: (frames, fft_size // 2 + 1)."""
    return SCALES[hparams.scale](np.concatenate(list(spectra(y, hparams))))


def mfcc(y, hparams):
    """Mel-frequency cepstral coefficients (slide "MFCC"): (frames, num_mfcc).

    The first coefficients of the orthonormal DCT-II of the mel spectrogram in dB, as
    `librosa.feature.mfcc(S=...)` takes them (Davis and Mermelstein, 1980).
    """
    return cepstra(mel_spectrogram(y, hparams), hparams)


def cepstra(mel, hparams):
    """The cepstral coefficients of a mel spectrogram: (frames, num_mels) to (frames, num_mfcc)."""
    return scipy.fft.dct(decibels(mel), axis=1, norm="ortho")[:, : hparams.num_mfcc]


def cqt(y, hparams):
    """The magnitude constant-Q transform (slide "CQT") on `hparams.scale`: (frames, num_cqt_bins).

    From C1, 32.7 Hz, `bins_per_octave` bins an octave; by librosa (Schörkhuber and Klapuri, 2010).
    """
    import librosa  # it takes seconds to load, and this feature alone needs it

    magnitude = np.abs(
        librosa.cqt(
            np.ascontiguousarray(y),
            sr=hparams.sample_rate,
            hop_length=hparams.hop_size,
            n_bins=hparams.num_cqt_bins,
            bins_per_octave=hparams.bins_per_octave,
        )
    )
    return SCALES[hparams.scale](magnitude.T.astype(np.float32))


def waveform(y, hparams):
    """The waveform itself: (samples, 1)."""
    return y[:, None]


FEATURES = {f.__name__: f for f in (log_mel, linear_stft, mfcc, cqt, waveform)}


def extract_feature(y, hparams):
    """The feature that `hparams.feature` names of a waveform (samples,): (rows, bins), float32."""
    return FEATURES[hparams.feature](y, hparams)


def melspectrogram(file_name, hparams):
    """Log-mel (frames, num_mels) of a track of the data set, as taught."""
    return log_mel(load_audio(Path(hparams.dataset_path, file_name), hparams), hparams)


def resize_array(array, length, padding=0):
    """An array cropped or padded to `length` rows: (rows, ...) to (length, ...)."""
    resized = np.full((length, *array.shape[1:]), padding, dtype=array.dtype)
    resized[: len(array)] = array[:length]
    return resized


def silent_row(hparams):
    """A row of the feature of silence (bins,), float32: in dB and of MFCCs it is not 0."""
    if hparams.feature == "mfcc":
        return cepstra(np.zeros((1, hparams.num_mels), dtype=np.float32), hparams)[0]
    scale = "none" if hparams.feature == "waveform" else hparams.scale
    return SCALES[scale](np.zeros(hparams.num_bins, dtype=np.float32))


def kept_samples(hparams):
    """How many samples of a waveform the frames kept of it depend on; None for all."""
    if not hparams.feature_length or hparams.feature == "cqt":  # whose lowest bins last a second
        return None
    if hparams.feature == "waveform":
        return hparams.feature_length
    return (hparams.feature_length - 1) * hparams.hop_size + hparams.fft_size


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


def warn_of_empty_mels(hparams):
    """Say so where mel bands are narrower than the bins of the STFT and hold nothing.

    Raises `UserError` where all of them are.
    """
    filters = mel_filters(hparams.sample_rate, hparams.fft_size, hparams.num_mels)
    if empty := int((filters.max(axis=1) == 0).sum()):
        message = (
            f"{empty} of {hparams.num_mels} mel bands are empty: "
            "lower --num_mels or raise --fft_size"
        )
        if empty == hparams.num_mels:
            raise UserError(message)
        print(f"warning: {message}")


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

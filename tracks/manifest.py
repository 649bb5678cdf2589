"""What features there are: `features.json`, the manifest beside them, and how files are written.

The manifest holds the settings that shaped the features and their fingerprint, the versions of the
libraries, and per track, by the path of its features below the folder: `source` (its line in the
list), its `size` and `mtime_ns`, `warning` (what is odd about it), `frames` (real ones, not
padding), `hash` of them, and their `sum`, `sum_of_squares` and `count` of values, from which
normalization is combined. `skipped` names the tracks left out by --skip_broken.
"""

import hashlib
import json
import platform
import re
from pathlib import Path

import numpy as np
import scipy
import soundfile
import soxr
from filelock import FileLock, Timeout

from audio.chunks import kept_length
from support.errors import UserError
from support.files import source_state, write_atomic, write_text

MANIFEST = "features.json"


ENTRY = {
    **{"source": str, "warning": str, "size": int, "mtime_ns": int, "frames": int, "hash": str},
    **{"sum": float, "sum_of_squares": float, "count": int},
}


LIBRARIES = (np, scipy, soundfile, soxr)


def hash_frames(real):
    """A hash of a track's real frames (frames, bins), to tell features from others."""
    return hashlib.sha256(np.ascontiguousarray(real)).hexdigest()[:32]


def read_manifest(folder):
    """The manifest of a feature folder, or None where it has none.

    Raises `UserError` where it is damaged.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        manifest = None
    if not is_manifest(manifest):
        raise UserError(f"{path} is damaged: delete it and extract the features again")
    return manifest


def is_manifest(value):
    """Whether a value read from JSON has the form of a manifest."""
    if not isinstance(value, dict):
        return False
    kinds = {"settings": dict, "skipped": list, "tracks": dict}
    if not all(isinstance(value.get(key), kind) for key, kind in kinds.items()):
        return False
    return all(map(is_entry, value["tracks"].values()))


def is_entry(value):
    """Whether a value read from JSON has the form of a track's entry."""
    if not isinstance(value, dict):
        return False
    return all(isinstance(value.get(key), kind) for key, kind in ENTRY.items())


def write_manifest(hparams, tracks, skipped=()):
    """Write the manifest of `tracks` (key to entry), sorted, with the settings and versions.

    `skipped` are the keys of tracks that could not be read, which training is to leave out.
    """
    manifest = {
        "settings": hparams.feature_settings(),
        "fingerprint": hparams.fingerprint(),
        "versions": {
            "python": platform.python_version(),
            **{library.__name__: library.__version__ for library in LIBRARIES},
        },
        "skipped": sorted(skipped),
        "tracks": dict(sorted(tracks.items())),
    }
    text = json.dumps(manifest, indent=1, ensure_ascii=False, allow_nan=False)
    write_text(hparams.feature_folder() / MANIFEST, text)


def present_tracks(journal, hparams):
    """Manifest entries of features already there with these settings, the source unchanged."""
    folder = hparams.feature_folder()
    manifest = read_manifest(folder)
    tracks = journal.read(hparams.feature_settings())
    if manifest and manifest["settings"] == hparams.feature_settings():
        tracks = manifest["tracks"] | tracks
    elif manifest:
        print(f"{folder} holds features of other settings: they are replaced")
    return {
        key: entry
        for key, entry in tracks.items()
        if is_whole(folder / key, entry, hparams) and is_current(entry, hparams)
    }


def is_current(entry, hparams):
    """Whether a track is as it was when the features of its manifest entry were extracted.

    Audio that is not there any more proves nothing: features may be used without it.
    """
    source = Path(hparams.dataset_path, entry["source"])
    return not source.is_file() or source_state(source).items() <= entry.items()


def is_whole(path, entry, hparams):
    """Whether a feature file has the size that its manifest entry tells, told from its header."""
    try:
        stored = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return False
    rows = kept_length(entry["frames"], hparams)
    return stored.dtype == np.float32 and stored.shape == (
        rows // hparams.chunk_length,
        hparams.chunk_length,
        hparams.num_bins,
    )


class Journal:
    """Tracks as they are finished, a line each, until the manifest is written.

    A killed extraction leaves it behind, and the next one goes on from there. Inside `with` no
    other extraction can write to the folder: that raises `UserError`.
    """

    def __init__(self, folder):
        self.folder = folder
        self.path = folder / "features.jsonl"
        self.lock = FileLock(folder / "features.lock")

    def __enter__(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self.lock.acquire(timeout=0)
        except Timeout as error:
            raise UserError(
                f"another extraction is writing to {self.folder}: wait for its end, "
                "or pass another --feature_path"
            ) from error
        return self

    def __exit__(self, *error):
        self.lock.release()

    def begin(self, settings):
        """Start an empty journal of features with these settings; clear away half-written files."""
        for partial in self.folder.rglob("*.part"):
            if re.fullmatch(r"[\d-]+\.part", partial.name):
                partial.unlink(missing_ok=True)
        write_atomic(self.path, lambda file: file.write(journal_line(settings)))

    def add(self, key, entry):
        """Note a finished track."""
        with open(self.path, "ab") as file:
            file.write(journal_line([key, entry]))

    def end(self):
        """Remove the journal: the manifest holds it all now."""
        self.path.unlink()

    def read(self, settings):
        """Manifest entries of the tracks that a killed extraction with these settings finished.

        The line that was being written when it was killed is left out.
        """
        if not self.path.is_file():
            return {}
        lines = self.path.read_bytes().split(b"\n")[:-1]
        try:
            first, *tracks = map(json.loads, lines)
        except ValueError:
            return {}
        if first != settings:
            return {}
        pairs = [track for track in tracks if isinstance(track, list) and len(track) == 2]
        return {key: entry for key, entry in pairs if isinstance(key, str) and is_entry(entry)}


def journal_line(value):
    """A value as a line of the journal."""
    return json.dumps(value).encode() + b"\n"

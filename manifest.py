"""What features there are: `features.json`, the manifest beside them, and how files are written.

The manifest holds the settings that shaped the features and their fingerprint, the versions of the
libraries, and per track, by the path of its features below the folder: `source` (its line in the
list), `size` and `mtime_ns` of that file, `frames` (real ones, not padding), `hash` of them, and
their `sum`, `sum_of_squares` and `count` of values, from which normalization is combined.
"""

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path, PurePosixPath

from hparams import UserError

MANIFEST = "features.json"
LIBRARIES = ("numpy", "scipy", "soundfile", "soxr")


def feature_file(split, file_name):
    """The path of a track's features below the feature folder, with `/`: also its manifest key."""
    return PurePosixPath(split, file_name).with_suffix(".npy").as_posix()


def source_state(path):
    """What tells whether a source file has changed: its size in bytes and modification time."""
    status = Path(path).stat()
    return {"size": status.st_size, "mtime_ns": status.st_mtime_ns}


def write_atomic(path, write):
    """Have `write(file)` fill the file at `path`, which appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with open(partial, "wb") as file:
            write(file)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read_manifest(folder):
    """The manifest of a feature folder, or None where it has none.

    Raises `UserError` where it is damaged.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        return {key: manifest[key] for key in ("settings", "versions", "tracks")}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged: delete it and extract the features again") from error


def write_manifest(hparams, tracks):
    """Write the manifest of `tracks` (key to entry), sorted, with the settings and versions."""
    manifest = {
        "settings": hparams.feature_settings(),
        "fingerprint": hparams.fingerprint(),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in LIBRARIES},
        },
        "tracks": dict(sorted(tracks.items())),
    }
    text = json.dumps(manifest, indent=1, ensure_ascii=False)
    path = hparams.feature_folder() / MANIFEST
    write_atomic(path, lambda file: file.write(text.encode()))


def present_tracks(hparams):
    """Manifest entries of features already there with these settings, the source unchanged."""
    folder = hparams.feature_folder()
    manifest = read_manifest(folder)
    if manifest is None:
        return {}
    if manifest["settings"] != hparams.feature_settings():
        print(f"{folder} holds features of other settings: they are replaced")
        return {}
    return {
        key: entry
        for key, entry in manifest["tracks"].items()
        if (folder / key).is_file() and is_current(entry, hparams)
    }


def is_current(entry, hparams):
    """Whether a track is as it was when the features of its manifest entry were extracted.

    Audio that is not there any more proves nothing: features may be used without it.
    """
    source = Path(hparams.dataset_path, entry["source"])
    return not source.is_file() or source_state(source).items() <= entry.items()

import json

import pytest

from hparams import HParams
from support.errors import UserError
from support.files import write_atomic
from tracks.lists import feature_file
from tracks.manifest import ENTRY, read_manifest, write_manifest


def test_feature_files_keep_the_tracks_name():
    assert feature_file("train", "pop/pop.00014.wav") == "train/pop/pop.00014.npy"
    assert feature_file("test", "힙합/나의 노래.mp3") == "test/힙합/나의 노래.npy"


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "a.bin"
    write_atomic(path, lambda file: file.write(b"old"))

    def half(file):
        file.write(b"ne")
        raise OSError("disk full")

    with pytest.raises(UserError, match=r"a.bin cannot be written \(disk full\)"):
        write_atomic(path, half)
    assert path.read_bytes() == b"old"
    assert [p.name for p in path.parent.iterdir()] == ["a.bin"]


def test_manifest_is_sorted_and_read_back(tmp_path):
    hparams = HParams(feature_path=str(tmp_path))
    assert read_manifest(tmp_path) is None
    entry = {key: kind() for key, kind in ENTRY.items()}
    write_manifest(hparams, {"b": entry, "a": entry}, ["c"])
    manifest = read_manifest(tmp_path)
    assert list(manifest["tracks"]) == ["a", "b"]
    assert manifest["skipped"] == ["c"]
    assert manifest["settings"]["num_mels"] == 128
    stored = json.loads((tmp_path / "features.json").read_text(encoding="utf-8"))
    assert stored["fingerprint"] == hparams.fingerprint()

import json

import pytest

from hparams import HParams
from support.errors import UserError
from tracks.manifest import ENTRY, feature_file, open_manifest, read_manifest


@pytest.fixture
def hparams(tmp_path):
    return HParams(feature_path=str(tmp_path))


def some_entry(**changed):
    return {key: kind() for key, kind in ENTRY.items()} | {"frames": 1, "count": 1} | changed


def test_feature_files_keep_the_whole_name(hparams, tmp_path):
    path = feature_file(hparams, "힙합/나의 노래.mp3")
    assert path == tmp_path / "힙합/나의 노래.mp3.npy"


def test_tracks_are_appended_and_read_back(hparams, tmp_path):
    assert read_manifest(tmp_path) is None
    with open_manifest(hparams) as writer:
        writer.begin()
        writer.add("b", some_entry(frames=3))
        writer.add("노래", {"broken": "cut short", "skipped": True})
        manifest = read_manifest(tmp_path)  # a reader sees each track as soon as it is finished
        assert manifest.tracks == {"b": some_entry(frames=3)}
        assert manifest.broken == {"노래": {"broken": "cut short", "skipped": True}}
    assert manifest.settings == hparams.feature_settings()
    first = json.loads((tmp_path / "features.jsonl").read_text().splitlines()[0])
    assert first["fingerprint"] == hparams.fingerprint()


def test_the_last_line_of_a_track_counts(hparams, tmp_path):
    broken = {"broken": "no sound", "skipped": False}
    lines = (some_entry(frames=3), broken, some_entry(frames=4), some_entry(frames=5))
    expected = (({"a": lines[0]}, {}), ({}, {"a": broken}), ({"a": lines[2]}, {}))
    with open_manifest(hparams) as writer:
        writer.begin()
        for line, (tracks, damaged) in zip(lines, expected):
            writer.add("a", line)
            assert read_manifest(tmp_path)[1:3] == (tracks, damaged)


def test_only_one_extraction_holds_a_folder(hparams):
    with open_manifest(hparams), pytest.raises(UserError, match="another extraction is writing"):
        open_manifest(hparams).__enter__()
    with open_manifest(hparams):
        pass


def test_an_unfinished_line_is_left_out_and_removed(hparams, tmp_path):
    path = tmp_path / "features.jsonl"
    with open_manifest(hparams) as writer:
        writer.begin()
        writer.add("a", some_entry())
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"track": "half a li')
    assert list(read_manifest(tmp_path).tracks) == ["a"]
    with open_manifest(hparams) as writer:
        writer.begin()
    assert path.read_bytes() == whole

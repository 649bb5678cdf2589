"""The index of a folder: always up to date, of one model, and complete at any moment."""

import os
import re
import shutil

import numpy as np
import pytest
import soundfile
from conftest import RATE, ROOT, rename_to_bytes, save_run, sine

import retrieve
from retrieve import main
from support.errors import UserError, run_script
from support.files import json_line, parse_lines
from training import index_files
from training.index import choose_index, index_folder, nearest
from training.trained_run import TrainedRun, embed_track, to_unit_length


@pytest.fixture
def indexed(weights, data_set):
    """The weights of a run, with an index of the data set."""
    assert main(["--index", "data"]) == 0
    return weights


def names_in(folder):
    return {path.name for path in folder.iterdir()}


def index_of(weights, collection=None):
    return choose_index(TrainedRun(weights, "cpu"), collection)


@pytest.mark.parametrize("block", [7, 1000])
@pytest.mark.parametrize("count", [1, 5, 100])
def test_the_nearest_are_exact_in_blocks_of_any_size(rng, monkeypatch, block, count):
    monkeypatch.setattr("training.index.BLOCK_ROWS", block)
    embeddings = np.stack([to_unit_length(x) for x in rng.standard_normal((50, 8))])
    embeddings[30] = embeddings[3]
    rows, cosines = nearest(embeddings[3], embeddings, count, [3, 20])
    every = embeddings @ embeddings[3]
    every[[3, 20]] = -np.inf
    expected = np.argsort(-every, kind="stable")[: min(count, 48)]
    assert rows.tolist() == expected.tolist()
    assert rows[0] == 30
    np.testing.assert_allclose(cosines, every[expected], atol=1e-6)


def test_only_what_is_new_or_changed_is_embedded(indexed, data_set, capsys, monkeypatch):
    before = index_of(indexed)
    soundfile.write(data_set / "jazz/new.wav", sine(500, 2), RATE)
    soundfile.write(data_set / "jazz/jazz.00001.wav", sine(600, 2), RATE)
    (data_set / "jazz/jazz.00002.wav").unlink()
    embedded = []
    monkeypatch.setattr(
        retrieve,
        "embed_track",
        lambda path, run: embedded.append(path.name) or embed_track(path, run),
    )
    assert main(["--index", "data"]) == 0
    assert embedded == ["jazz.00001.wav", "new.wav"]
    assert "2 tracks embedded, 22 were already" in capsys.readouterr().out
    after = index_of(indexed)
    names = [track["name"] for track in after.tracks]
    assert names == sorted(names)
    assert {*names} == {track["name"] for track in before.tracks} - {"jazz/jazz.00002.wav"} | {
        "jazz/new.wav"
    }
    run = TrainedRun(indexed, "cpu")
    for name, embedding in zip(names, after.embeddings):
        np.testing.assert_allclose(embedding, embed_track(data_set / name, run), atol=1e-6)
    folder = next(indexed.parent.glob("index/*"))
    assert names_in(folder) == {"index.jsonl", "embeddings-3.f32"}


def test_an_interrupted_index_continues(weights, data_set, monkeypatch, capsys):
    done = []

    def embed(path, run):
        if len(done) == 5:
            raise KeyboardInterrupt
        return done.append(path) or embed_track(path, run)

    monkeypatch.setattr(retrieve, "embed_track", embed)
    with pytest.raises(KeyboardInterrupt):
        main(["--index", "data"])
    monkeypatch.undo()
    os.chdir(data_set.parent)
    assert main(["--index", "data"]) == 0
    assert "19 tracks embedded, 5 were already" in capsys.readouterr().out


def test_other_weights_make_an_index_again(indexed, settings, capsys):
    save_run(settings, "runs/one", epoch=4)
    with pytest.raises(UserError, match=r"with another checkpoint: run `python retrieve.py --run"):
        index_of(indexed)
    assert main(["--index", "data"]) == 0
    assert "24 tracks embedded, 0 were already" in capsys.readouterr().out
    assert len(index_of(indexed).tracks) == 24


def test_an_edited_model_py_makes_an_index_again(indexed, tmp_path, monkeypatch, capsys):
    text = (ROOT / "model.py").read_text(encoding="utf-8")
    (tmp_path / "model.py").write_text(f"{text}# changed\n", encoding="utf-8")
    monkeypatch.setattr("training.checkpoint.__file__", str(tmp_path / "training/checkpoint.py"))
    query = "data/jazz/jazz.00003.wav"
    assert main([query]) == 1
    out, err = capsys.readouterr()
    assert re.search(r"made with another version of model.py: run `python .* --index .*data`", err)
    assert "0 (1.0)" not in out
    assert main(["--index", "data", query]) == 0
    out = capsys.readouterr().out
    assert "made with another version of model.py: all tracks are embedded again" in out
    assert "24 tracks embedded, 0 were already" in out


def test_an_index_without_a_hash_of_the_code_is_refused(indexed):
    path = next(indexed.parent.glob("index/*/index.jsonl"))
    first, *lines = path.read_bytes().splitlines(keepends=True)
    [values] = parse_lines([first[:-1]])
    path.write_bytes(b"".join([json_line(values | {"code": ""}), *lines]))
    with pytest.raises(UserError, match="was made with another version of model.py"):
        index_of(indexed)
    del values["code"]
    path.write_bytes(b"".join([json_line(values), *lines]))
    with pytest.raises(UserError, match=r"is damaged \(line 1: 'code'\): run `python retrieve.py"):
        index_of(indexed)


def test_a_killed_index_command_loses_one_track_at_most(indexed, capsys):
    folder = next(indexed.parent.glob("index/*"))
    path, file = folder / "index.jsonl", folder / "embeddings-1.f32"
    before = index_of(indexed)
    embeddings, lines = file.read_bytes(), path.read_bytes()
    size = len(embeddings) // 24
    last = lines.rfind(b"\n", 0, -1) + 1  # where the line of the last track begins
    for vector, line in ((size, 0), (size, 40), (size // 2, 0), (3, 0), (0, 0)):
        file.write_bytes(embeddings[: len(embeddings) - size + vector])
        path.write_bytes(lines[: last + line])
        (folder / "12-34.part").touch()
        assert len(index_of(indexed).tracks) == 23
        capsys.readouterr()
        assert main(["--index", "data"]) == 0
        assert "1 tracks embedded, 23 were already" in capsys.readouterr().out
        after = index_of(indexed)
        np.testing.assert_array_equal(after.embeddings, before.embeddings)
        assert after.tracks == before.tracks
        assert len(names_in(folder)) == 2
        shutil.rmtree(folder)
        folder.mkdir()
        file.write_bytes(embeddings)
        path.write_bytes(lines)


def test_an_index_of_an_older_version_is_replaced(weights, data_set):
    folder = index_folder(weights, "data")
    folder.mkdir(parents=True)
    for name in ("index.json", "embeddings-0123456789abcdef.npy"):
        (folder / name).write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match="has no index yet"):
        index_of(weights)
    assert main(["--index", "data"]) == 0
    assert names_in(folder) == {"index.jsonl", "embeddings-1.f32"}


def test_embeddings_of_another_length_are_made_again(indexed, data_set, capsys, monkeypatch):
    embed = TrainedRun.embed
    monkeypatch.setattr(TrainedRun, "embed", lambda run, chunks: embed(run, chunks)[:, 1:])
    query = "data/jazz/jazz.00003.wav"
    assert main([query]) == 1
    assert "was made with another version of model.py: run `python" in capsys.readouterr().err
    soundfile.write(data_set / "jazz/new.wav", sine(500, 2), RATE)
    assert main(["--index", "data", query]) == 0
    assert "25 tracks embedded, 0 were already" in capsys.readouterr().out


def test_an_index_is_read_while_another_command_writes_it(indexed, data_set, monkeypatch):
    folder, map_rows = next(indexed.parent.glob("index/*")), index_files.map_rows

    def map_late(*arguments):
        monkeypatch.setattr(index_files, "map_rows", map_rows)
        (data_set / "jazz/jazz.00003.wav").unlink()
        assert main(["--index", "data"]) == 0
        return map_rows(*arguments)

    monkeypatch.setattr(index_files, "map_rows", map_late)
    assert len(index_files.read_index(folder).tracks) == 23


def empty_out(data_set):
    for path in data_set.rglob("*.wav"):
        path.unlink()


def break_all(data_set):
    for path in data_set.rglob("*.wav"):
        path.write_text("text", encoding="utf-8")


@pytest.mark.parametrize("change", [empty_out, break_all])
def test_the_index_of_a_folder_without_tracks_is_deleted(indexed, data_set, capsys, change):
    kept = shutil.copy(data_set / "jazz/jazz.00003.wav", data_set.parent / "song.wav")
    change(data_set)
    assert main(["--index", "data"]) == 1
    out, err = capsys.readouterr()
    assert "is deleted: none of its tracks is left" in out
    assert "error: data has no " in err
    assert main([str(kept)]) == 1
    assert "has no index yet" in capsys.readouterr().err
    assert names_in(indexed.parent) == {"best.pt"}


def test_a_query_takes_the_newest_index_or_the_one_named(indexed, data_set):
    assert main(["--index", "data/jazz"]) == 0
    assert len(index_of(indexed).tracks) == 8
    assert len(index_of(indexed, "data").tracks) == 24
    with pytest.raises(UserError, match=r"no index of data/metal: run `python .* data/metal`"):
        index_of(indexed, "data/metal")


def test_a_missing_or_damaged_index_is_a_message(weights, data_set):
    with pytest.raises(UserError, match=r"no index yet: run `python retrieve.py .*--index FOLDER`"):
        index_of(weights)
    main(["--index", "data"])
    path = next(weights.parent.glob("index/*/index.jsonl"))
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    for lost in ([], lines[:9], lines[:-2], [b"[]\n"], [b"{"], [*lines, b"{}\n"], lines[::-1]):
        path.write_bytes(b"".join(lost))
        with pytest.raises(UserError, match=r"is damaged .*: run `python retrieve.py .*--index"):
            index_of(weights)
    assert main(["--index", "data"]) == 0
    assert len(index_of(weights).tracks) == 24


def test_any_changed_bit_of_an_index_is_noticed_and_only_its_track_embedded_again(
    indexed, data_set, rng, capsys
):
    folder, files = next(indexed.parent.glob("index/*")), ("index.jsonl", "embeddings-1.f32")
    whole = {name: (folder / name).read_bytes() for name in files}
    before = np.array(index_of(indexed).embeddings)
    for name in files * 100:
        changed = bytearray(whole[name])
        changed[rng.integers(len(changed))] ^= 1 << rng.integers(8)
        (folder / name).write_bytes(changed)
        with pytest.raises(UserError, match="is damaged"):
            index_of(indexed)
        (folder / name).write_bytes(whole[name])
    changed = bytearray(whole["embeddings-1.f32"])
    changed[-1] ^= 1
    (folder / "embeddings-1.f32").write_bytes(changed)
    capsys.readouterr()
    assert main(["--index", "data"]) == 0
    out = capsys.readouterr().out
    assert "is damaged (line 25): what is lost is embedded again" in out
    assert "1 tracks embedded, 23 were already" in out
    np.testing.assert_array_equal(index_of(indexed).embeddings, before)


def test_a_folder_without_audio_leaves_no_index_folder(weights, data_set, tmp_path):
    (tmp_path / "empty").mkdir()
    assert main(["--index", "empty"]) == 1
    (tmp_path / "empty/a.wav").write_text("text", encoding="utf-8")
    assert main(["--index", "empty"]) == 1
    assert names_in(weights.parent) == {"best.pt"}


def test_an_index_keeps_a_name_that_is_not_utf_8(weights, data_set, capsys):
    path = rename_to_bytes(data_set / "jazz/jazz.00000.wav")
    for words in (["--index", "data"], ["--index", "data", str(path), "--top", "100"]):
        with pytest.raises(SystemExit) as stop:
            run_script(lambda words=words: main(words))
        assert stop.value.code == 0
    out = capsys.readouterr().out
    assert "0 tracks embedded, 24 were already" in out
    assert out.count(r"caf\udce9.wav") == 1  # line 0: found by its name in the index
    assert "jazz/caf\udce9.wav" in [track["name"] for track in index_of(weights).tracks]

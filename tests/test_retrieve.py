"""Neighbours are printed as taught, never the query itself; scores use unseen test tracks only."""

import dataclasses
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import RATE, flags, save_run, sine, write_data_set

import retrieve
from feature_extraction import main as extract_main
from retrieve import main, parse, standardize
from tracks.catalog import read_catalog, summarize
from train_test import main as train_main
from training.trained_run import TrainedRun, embed_track


@pytest.fixture
def indexed(weights, data_set):
    """The weights of a run, with an index of the data set."""
    assert main(["--index", "data"]) == 0
    return weights


def save_trained(hparams, folder):
    """A run folder of `save_run` whose checkpoint names today's train and valid tracks."""
    hparams = dataclasses.replace(hparams, task="genre", tags=[]), hparams
    splits = {s: summarize(read_catalog(hparams[0]).splits[s]) for s in ("train", "valid")}
    return save_run(hparams[1], folder, splits=splits)


def edit_list(data_set, split, change):
    """Replace the lines of a list by `change(lines)`."""
    path = data_set / f"{split}_list.txt"
    names = change(path.read_text(encoding="utf-8").split())
    path.write_text("\n".join(names), encoding="utf-8")


def test_the_nearest_are_printed_as_in_the_tutorial(indexed, capsys):
    capsys.readouterr()
    query = str(Path("data/jazz/jazz.00003.wav"))
    assert main([query, "--top", "4"]) == 0
    out = capsys.readouterr().out
    lines = out.split("\n\n")[1].splitlines()
    assert lines[0] == f"0 (1.0) {query}"
    found = [re.fullmatch(r"(\d) \((0\.\d{1,4}|1\.0)\) (\w+/\w+\.\d+\.wav)", x) for x in lines[1:]]
    assert [int(match[1]) for match in found] == [1, 2, 3, 4]
    cosines = [float(match[2]) for match in found]
    assert cosines == sorted(cosines, reverse=True)
    assert "jazz/jazz.00003.wav" not in [match[3] for match in found]


def test_a_query_is_excluded_by_content_but_not_by_similarity(indexed, data_set, capsys):
    copy = data_set.parent / "song.wav"
    copy.write_bytes((data_set / "jazz/jazz.00003.wav").read_bytes())
    main([str(copy), "--top", "100"])
    assert "jazz.00003" not in capsys.readouterr().out
    y, rate = soundfile.read(data_set / "jazz/jazz.00003.wav", dtype="int16")
    soundfile.write(copy, y, rate, format="FLAC")
    main([str(copy), "--top", "1"])
    assert "1 (1.0) jazz/jazz.00003.wav" in capsys.readouterr().out


def test_a_changed_query_is_excluded_by_its_path(indexed, data_set, capsys):
    soundfile.write(data_set / "jazz/jazz.00003.wav", sine(500, 2), RATE)
    os.chdir(data_set / "jazz")
    assert main(["--run", str(data_set.parent / "runs/one"), "jazz.00003.wav", "--top", "99"]) == 0
    out = capsys.readouterr().out
    assert "jazz/jazz.00003.wav" not in out
    assert "23 (" in out


def test_unreadable_files_are_named_and_the_rest_is_indexed(weights, data_set, capsys):
    (data_set / "jazz/text.mp3").write_text("no music\n" * 1000, encoding="utf-8")
    assert main(["--index", "data", "missing.wav", str(data_set / "jazz/jazz.00000.wav")]) == 1
    out, err = capsys.readouterr()
    assert "24 tracks embedded" in out
    assert "0 (1.0)" in out
    assert "broken: data/jazz/text.mp3 " in err.replace(os.sep, "/")
    assert "broken: missing.wav is missing" in err


def test_an_empty_folder_is_a_message(weights, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert main(["--index", "empty"]) == 1
    assert capsys.readouterr().err.startswith("error: empty has no audio")
    assert main(["--index", "nowhere"]) == 1
    assert "error: --index nowhere: there is no such folder" in capsys.readouterr().err
    (tmp_path / "empty/a.wav").write_text("text", encoding="utf-8")
    assert main(["--index", "empty"]) == 1
    assert "has no readable track" in capsys.readouterr().err


def test_a_part_that_fails_does_not_stop_the_others(extracted, data_set, capsys):
    save_trained(extracted, "runs/one")
    query = "data/jazz/jazz.00003.wav"
    assert main(["--index", "data"]) == 0
    assert main([query, "--index", "nowhere", "--evaluate"]) == 1
    out, err = capsys.readouterr()
    assert "there is no such folder" in err
    assert "has no index of nowhere" in err
    assert "Test split: 6 tracks" in out
    edit_list(data_set, "test", lambda names: names[:2])
    assert main([query, "--index", "data", "--evaluate"]) == 1
    out, err = capsys.readouterr()
    assert "24 were already" in out
    assert f"0 (1.0) {query}" in out.replace(os.sep, "/")
    assert err.startswith("error: test tracks: 2, genres")


def test_evaluation_uses_the_test_split_only(extracted, tmp_path, capsys, monkeypatch):
    weights = save_trained(extracted, "runs/one")
    embedded = []
    embed = retrieve.embed_tracks
    monkeypatch.setattr(
        retrieve, "embed_tracks", lambda t, run: embedded.extend(t) or embed(t, run)
    )
    assert main(["--evaluate"]) == 0
    listed = (tmp_path / "data/test_list.txt").read_text(encoding="utf-8").split()
    assert sorted(track.name for track in embedded) == sorted(listed)
    out = capsys.readouterr().out
    assert "Test split: 6 tracks" in out
    assert "P@5, not P@10" in out
    found = json.loads((tmp_path / "runs/one/retrieval.json").read_text(encoding="utf-8"))
    assert found["scores"]["the best possible"]["precision"] == pytest.approx(0.2)
    assert found["scores"]["mean MFCC"]["mean_average_precision"] == 1  # tones an octave apart
    run = TrainedRun(weights, "cpu")
    vectors = np.stack([embed_track(tmp_path / "data" / name, run) for name in listed])
    labels, expected = np.repeat(np.arange(3), 2), []
    for i in range(6):
        others = np.delete(np.arange(6), i)
        order = others[np.argsort(-(vectors[others] @ vectors[i]))]
        expected.append(1 / (1 + np.flatnonzero(labels[order] == labels[i])[0]))
    made = found["scores"]["embeddings"]["mean_average_precision"]
    assert made == pytest.approx(np.mean(expected))


def move_to_test(data_set, split):
    moved = []
    edit_list(data_set, split, lambda names: moved.append(names[0]) or names[1:])
    edit_list(data_set, "test", lambda names: names + moved)


def swap_audio(data_set, split):
    one, other = ((data_set / f"{s}_list.txt").read_text().split()[0] for s in (split, "test"))
    (data_set / one).rename(data_set / "swapped.wav")
    (data_set / other).rename(data_set / one)
    (data_set / "swapped.wav").rename(data_set / other)


@pytest.mark.parametrize("change", [move_to_test, swap_audio])
@pytest.mark.parametrize("split", ["train", "valid"])
def test_tracks_that_the_run_has_seen_are_refused_as_test_tracks(
    extracted, data_set, capsys, change, split
):
    save_trained(extracted, "runs/one")
    change(data_set, split)
    assert extract_main(flags(extracted)) == 0
    assert main(["--evaluate"]) == 1
    err = capsys.readouterr().err
    assert re.search(rf"error: .*{split}_list.txt: its tracks or their audio have changed", err)
    assert not Path("runs/one/retrieval.json").exists()


def test_a_copy_of_a_train_track_is_refused_as_a_test_track(extracted, data_set, capsys):
    save_trained(extracted, "runs/one")
    shutil.copy(data_set / "jazz/jazz.00000.wav", data_set / "jazz/copy.wav")
    edit_list(data_set, "test", lambda names: [*names, "jazz/copy.wav"])
    assert extract_main(flags(extracted)) == 0
    assert main(["--evaluate"]) == 1
    assert "are the same recording" in capsys.readouterr().err


def test_reordered_lists_and_new_test_tracks_are_accepted(extracted, data_set, capsys):
    save_trained(extracted, "runs/one")
    edit_list(data_set, "train", lambda names: names[::-1])
    soundfile.write(data_set / "jazz/new.wav", sine(500, 2), RATE)
    edit_list(data_set, "test", lambda names: [*names, "jazz/new.wav"])
    assert extract_main(flags(extracted)) == 0
    assert main(["--evaluate"]) == 0
    assert "Test split: 7 tracks" in capsys.readouterr().out


def test_features_that_differ_by_rounding_are_accepted(extracted):
    splits = {s: summarize(read_catalog(extracted).splits[s]) for s in ("train", "valid")}
    splits["train"]["mean"] += 1e-8
    save_run(extracted, "runs/one", splits=splits)
    assert main(["--evaluate"]) == 0


def test_evaluation_needs_a_run_that_names_its_tracks(extracted, capsys):
    save_run(extracted, "runs/one")
    assert main(["--evaluate"]) == 1
    err = capsys.readouterr().err
    assert "best.pt was written by an older version and does not name the tracks of" in err
    train_main(flags(extracted, run_path="runs/two", num_epochs=1))
    assert main(["--evaluate", "--run", "runs/two"]) == 0


def test_a_window_longer_than_the_fft_does_not_stop_an_evaluation(settings):
    lengths = {"feature_length": 8192, "chunk_length": 1024}
    hparams = dataclasses.replace(settings, feature="waveform", win_size=512, **lengths)
    assert extract_main(flags(hparams)) == 0
    save_trained(hparams, "runs/one")
    assert main(["--evaluate"]) == 0


@pytest.mark.parametrize("kept", [slice(0, 2), slice(0, 6, 2)])
def test_a_test_split_that_cannot_be_scored_is_a_message(extracted, data_set, capsys, kept):
    save_trained(extracted, "runs/one")
    edit_list(data_set, "test", lambda names: names[kept])
    assert main(["--evaluate"]) == 1
    assert "retrieval is scored on two genres" in capsys.readouterr().err
    assert not Path("runs/one/retrieval.json").exists()


def test_tracks_in_one_folder_cannot_be_scored(settings, tmp_path, capsys):
    names = write_data_set(tmp_path / "flat", genres=("all",))
    lines = [f"{name},loud" for listed in names.values() for name in listed]
    (tmp_path / "flat/tags.csv").write_text("\n".join([*lines, f"{names['train'][0]},happy"]))
    changed = {"dataset_path": "flat", "genres": ["all"], "feature_path": "flat_features"}
    assert extract_main(flags(settings, **changed)) == 0
    tagging = dataclasses.replace(settings, **changed, task="tagging", tags=["loud", "happy"])
    save_trained(tagging, "runs/one")
    assert main(["--evaluate"]) == 1
    assert "test tracks: 2, genres (their folders): 1;" in capsys.readouterr().err


def test_vectors_are_standardized_by_the_train_split(rng):
    train, test = rng.standard_normal((9, 4)) * 3 + 5, rng.standard_normal((6, 4))
    train[:, 3] = 2
    made = standardize(train, test)
    scaled = (test - train.mean(0)) / [*train[:, :3].std(0), 1]
    np.testing.assert_allclose(
        made, scaled / np.linalg.norm(scaled, axis=1, keepdims=True), atol=1e-6
    )


def test_the_mfcc_baseline_is_standardized_by_the_train_split(extracted, monkeypatch):
    save_trained(extracted, "runs/one")
    taken = []
    monkeypatch.setattr(
        retrieve, "standardize", lambda a, b: taken.append([len(a), len(b)]) or standardize(a, b)
    )
    assert main(["--evaluate"]) == 0
    assert taken == [[12, 6]]


def test_evaluation_without_the_features_names_the_command(weights, capsys):
    assert main(["--evaluate"]) == 1
    err = capsys.readouterr().err
    assert "error: no features at features: run `python feature_extract" in err


def test_a_large_test_split_is_scored_by_some_of_its_tracks(extracted, capsys, monkeypatch):
    save_trained(extracted, "runs/one")
    monkeypatch.setattr("training.ranking.MOST_QUERIES", 4)
    assert main(["--evaluate"]) == 0
    assert "Test split: 6 tracks; 4 random ones compared with all" in capsys.readouterr().out
    found = json.loads(Path("runs/one/retrieval.json").read_text(encoding="utf-8"))
    assert (found["tracks"], found["queries"]) == (6, 4)


def test_the_newest_run_that_suits_the_command_is_taken(extracted, data_set, capsys):
    tagging = dataclasses.replace(extracted, task="tagging", tags=["loud"])
    save_trained(extracted, "runs/genres")
    save_run(tagging, "runs/tags")
    os.utime("runs/genres/best.pt", (1, 1))
    assert main(["--evaluate"]) == 0
    out = capsys.readouterr().out
    assert f"*** {Path('runs/tags')} is newer, but its task is tagging\n" in out
    assert "Run: runs/genres (" in out.replace(os.sep, "/")
    assert main(["--index", "data", "--run", "runs/genres"]) == 0
    capsys.readouterr()
    query = str(data_set / "jazz/jazz.00000.wav")
    assert main([query, "--collection", "data"]) == 0
    out = capsys.readouterr().out
    assert f"*** {Path('runs/tags')} is newer, but has no index of data\n" in out
    assert main([query]) == 1
    assert "has no index yet: run `python retrieve.py" in capsys.readouterr().err


def test_names_are_printed_without_control_characters(weights, tmp_path, capsys):
    folder = tmp_path / "music"
    folder.mkdir()
    for number in range(3):
        soundfile.write(folder / f"{number}\x1b[2J\u202e\n.wav", sine(300 + number, 1), RATE)
    assert main(["--index", "music", str(folder / "0\x1b[2J\u202e\n.wav")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-3].endswith(r"0\x1b[2J\u202e\n.wav")
    assert lines[-2].endswith(r"1\x1b[2J\u202e\n.wav")


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["a.wav", "--top", "0"],
        ["a.wav", "--num_mels", "64"],
        ["a.wav", "--index", "data", "--collection", "data"],
        ["--evaluate", "--collection", "data"],
    ],
)
def test_wrong_flags_end_with_a_message(weights, words):
    with pytest.raises(SystemExit):
        parse(words)

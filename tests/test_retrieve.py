"""The nearest tracks: exact, never the query itself, of an index that is up to date."""

import dataclasses
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import RATE, flags, rename_to_bytes, save_run, sine, write_data_set

import retrieve
from feature_extraction import main as extract_main
from retrieve import main, parse, standardized
from support.errors import UserError, run_script
from tracks.catalog import list_tracks, summarize
from train_test import main as train_main
from training.checkpoint import model_source
from training.index import choose_index, nearest, read_index
from training.metrics import chance, perfect, rank_scores, score_ranks
from training.trained_run import Run, embed_track, unit


@pytest.fixture
def indexed(weights, data_set):
    """The weights of a run, with an index of the data set."""
    assert main(["--index", "data"]) == 0
    return weights


def index_of(weights, collection=None):
    return choose_index(Run(weights, "cpu"), collection)


def save_trained(hparams, folder):
    """A run folder as `save_run` makes it, that tells of the tracks there are now."""
    hparams = dataclasses.replace(hparams, task="genre", tags=[]), hparams
    splits = {split: summarize(list_tracks(split, hparams[0])) for split in ("train", "valid")}
    return save_run(hparams[1], folder, splits=splits)


def edit_list(data_set, split, change):
    """Write what `change` makes of the lines of a list."""
    path = data_set / f"{split}_list.txt"
    names = change(path.read_text(encoding="utf-8").split())
    path.write_text("\n".join(names), encoding="utf-8")


@pytest.mark.parametrize("block", [7, 1000])
@pytest.mark.parametrize("count", [1, 5, 100])
def test_the_nearest_are_exact_in_blocks(rng, monkeypatch, block, count):
    monkeypatch.setattr("training.index.BLOCK", block)
    embeddings = np.stack([unit(x) for x in rng.standard_normal((50, 8))])
    embeddings[30] = embeddings[3]
    rows, cosines = nearest(embeddings[3], embeddings, count, [3, 20])
    every = embeddings @ embeddings[3]
    every[[3, 20]] = -np.inf
    expected = np.argsort(-every, kind="stable")[: min(count, 48)]
    assert rows.tolist() == expected.tolist()
    assert rows[0] == 30
    np.testing.assert_allclose(cosines, every[expected], atol=1e-6)


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


def test_the_query_is_left_out_by_its_content_but_never_for_being_alike(indexed, data_set, capsys):
    copy = data_set.parent / "song.wav"
    copy.write_bytes((data_set / "jazz/jazz.00003.wav").read_bytes())
    main([str(copy), "--top", "100"])
    assert "jazz.00003" not in capsys.readouterr().out
    y, rate = soundfile.read(data_set / "jazz/jazz.00003.wav", dtype="int16")
    soundfile.write(copy, y, rate, format="FLAC")
    main([str(copy), "--top", "1"])
    assert "1 (1.0) jazz/jazz.00003.wav" in capsys.readouterr().out


def test_the_query_is_left_out_by_its_path_though_it_has_changed(indexed, data_set, capsys):
    soundfile.write(data_set / "jazz/jazz.00003.wav", sine(500, 2), RATE)
    os.chdir(data_set / "jazz")
    assert main(["--run", str(data_set.parent / "runs/one"), "jazz.00003.wav", "--top", "99"]) == 0
    out = capsys.readouterr().out
    assert "jazz/jazz.00003.wav" not in out
    assert "23 (" in out


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
    run = Run(indexed, "cpu")
    for name, embedding in zip(names, after.embeddings):
        np.testing.assert_allclose(embedding, embed_track(data_set / name, run), atol=1e-6)
    folder = next(indexed.parent.glob("index/*"))
    assert len(list(folder.glob("*.npy"))) == 1


def test_an_interrupted_index_goes_on(weights, data_set, monkeypatch, capsys):
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


def test_an_index_of_other_weights_is_refused_and_made_again(indexed, settings, capsys):
    save_run(settings, "runs/one", epoch=4)
    with pytest.raises(UserError, match=r"with another checkpoint: run `python retrieve.py --run"):
        index_of(indexed)
    assert main(["--index", "data"]) == 0
    assert "24 tracks embedded, 0 were already" in capsys.readouterr().out
    assert len(index_of(indexed).tracks) == 24


def test_an_index_of_other_code_is_refused_and_made_again(indexed, monkeypatch, capsys):
    monkeypatch.setattr(
        "training.index.model_source", lambda network: model_source(network) + "# changed"
    )
    query = "data/jazz/jazz.00003.wav"
    assert main([query]) == 1
    out, err = capsys.readouterr()
    assert re.search(r"was made with other code of the model: run `python .* --index .*data`", err)
    assert "0 (1.0)" not in out
    assert main(["--index", "data", query]) == 0
    out = capsys.readouterr().out
    assert "made with other code of the model: all is embedded again" in out
    assert "24 tracks embedded, 0 were already" in out


def test_an_index_that_does_not_tell_of_its_code_is_made_again(indexed):
    path = next(indexed.parent.glob("index/*/index.json"))
    values = json.loads(path.read_text(encoding="utf-8"))
    del values["code"]
    path.write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(UserError, match="was made with other code of the model"):
        index_of(indexed)


def test_embeddings_of_another_width_are_made_again(indexed, data_set, capsys):
    path = next(indexed.parent.glob("index/*/*.npy"))
    np.save(path, np.load(path)[:, 1:])
    query = "data/jazz/jazz.00003.wav"
    assert main([query]) == 1
    assert "was made with other code of the model: run `python" in capsys.readouterr().err
    soundfile.write(data_set / "jazz/new.wav", sine(500, 2), RATE)
    assert main(["--index", "data", query]) == 0
    assert "25 tracks embedded, 0 were already" in capsys.readouterr().out


def test_an_index_that_is_written_meanwhile_is_read(indexed, data_set, monkeypatch):
    folder, load = next(indexed.parent.glob("index/*")), np.load

    def load_late(path, **options):
        monkeypatch.setattr(np, "load", load)
        (data_set / "jazz/jazz.00003.wav").unlink()
        assert main(["--index", "data"]) == 0
        return load(path, **options)

    monkeypatch.setattr(np, "load", load_late)
    assert len(read_index(folder).tracks) == 23


def empty_out(data_set):
    for path in data_set.rglob("*.wav"):
        path.unlink()


def break_all(data_set):
    for path in data_set.rglob("*.wav"):
        path.write_text("text", encoding="utf-8")


@pytest.mark.parametrize("change", [empty_out, break_all])
def test_a_folder_without_tracks_any_more_has_no_index(indexed, data_set, capsys, change):
    kept = shutil.copy(data_set / "jazz/jazz.00003.wav", data_set.parent / "song.wav")
    change(data_set)
    assert main(["--index", "data"]) == 1
    out, err = capsys.readouterr()
    assert "is deleted: none of its tracks is left" in out
    assert "error: data has no " in err
    assert main([str(kept)]) == 1
    assert "has no index yet" in capsys.readouterr().err
    assert not list(indexed.parent.glob("index/*/*.npy"))


def test_a_query_takes_the_newest_index_or_the_one_named(indexed, data_set):
    assert main(["--index", "data/jazz"]) == 0
    assert len(index_of(indexed).tracks) == 8
    assert len(index_of(indexed, "data").tracks) == 24
    with pytest.raises(UserError, match=r"no index of data/metal: run `python .* data/metal`"):
        index_of(indexed, "data/metal")


def test_no_index_is_a_message_and_a_damaged_one_too(weights, data_set):
    with pytest.raises(UserError, match=r"no index yet: run `python retrieve.py .*--index FOLDER`"):
        index_of(weights)
    main(["--index", "data"])
    path = next(weights.parent.glob("index/*/index.json"))
    values = json.loads(path.read_text(encoding="utf-8"))
    for text in ("[]", "{", json.dumps(values | {"tracks": values["tracks"][1:]})):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(UserError, match="is damaged"):
            index_of(weights)
    assert main(["--index", "data"]) == 0


def test_what_cannot_be_read_is_named_and_the_rest_is_indexed(weights, data_set, capsys):
    (data_set / "jazz/text.mp3").write_text("no music\n" * 1000, encoding="utf-8")
    assert main(["--index", "data", "missing.wav", str(data_set / "jazz/jazz.00000.wav")]) == 1
    out, err = capsys.readouterr()
    assert "24 tracks embedded" in out
    assert "0 (1.0)" in out
    assert "broken: data/jazz/text.mp3 " in err.replace(os.sep, "/")
    assert "broken: missing.wav is missing" in err


def test_a_name_that_is_no_utf_8_is_kept_in_an_index(weights, data_set, capsys):
    path = rename_to_bytes(data_set / "jazz/jazz.00000.wav")
    for words in (["--index", "data"], ["--index", "data", str(path), "--top", "100"]):
        with pytest.raises(SystemExit) as stop:
            run_script(lambda words=words: main(words))
        assert stop.value.code == 0
    out = capsys.readouterr().out
    assert "0 tracks embedded, 24 were already" in out
    assert out.count(r"caf\udce9.wav") == 1  # line 0: found by its name in the index
    assert "jazz/caf\udce9.wav" in [track["name"] for track in index_of(weights).tracks]


def test_an_empty_folder_is_a_message(weights, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert main(["--index", "empty"]) == 1
    assert capsys.readouterr().err.startswith("error: empty has no audio")
    assert main(["--index", "nowhere"]) == 1
    assert "error: --index nowhere: there is no such folder" in capsys.readouterr().err
    (tmp_path / "empty/a.wav").write_text("text", encoding="utf-8")
    assert main(["--index", "empty"]) == 1
    assert "has no track that can be read" in capsys.readouterr().err


def test_a_part_that_fails_keeps_no_other_back(extracted, data_set, capsys):
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


def test_precision_and_average_precision_by_hand():
    relevant = np.array([True, False, True, False, False])
    assert rank_scores(relevant, 2) == (0.5, pytest.approx((1 + 2 / 3) / 2))
    labels = np.array([0, 0, 1, 1, 1, 2])
    assert score_ranks(perfect(labels), labels, 2).tolist() == pytest.approx([(2 * 0.5 + 3) / 5, 1])


def test_chance_is_what_shuffling_gives():
    labels = np.repeat(np.arange(4), 6)
    precision, mean = chance(labels, 10, 0)
    assert precision == pytest.approx(5 / 23, abs=0.01)
    assert 5 / 23 < mean < 0.4
    assert chance(labels, 10, 0).tolist() == [precision, mean]


def test_evaluation_is_of_the_test_split_alone(extracted, tmp_path, capsys, monkeypatch):
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
    run = Run(weights, "cpu")
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
def test_tracks_that_the_run_knows_are_not_its_test(extracted, data_set, capsys, change, split):
    save_trained(extracted, "runs/one")
    change(data_set, split)
    assert extract_main(flags(extracted)) == 0
    assert main(["--evaluate"]) == 1
    err = capsys.readouterr().err
    assert re.search(rf"error: .*{split}_list.txt: its tracks, or their audio, are not those", err)
    assert not Path("runs/one/retrieval.json").exists()


def test_a_copy_of_a_train_track_is_no_test_track(extracted, data_set, capsys):
    save_trained(extracted, "runs/one")
    shutil.copy(data_set / "jazz/jazz.00000.wav", data_set / "jazz/copy.wav")
    edit_list(data_set, "test", lambda names: [*names, "jazz/copy.wav"])
    assert extract_main(flags(extracted)) == 0
    assert main(["--evaluate"]) == 1
    assert "are the same recording" in capsys.readouterr().err


def test_the_order_of_lists_and_new_test_tracks_are_no_leak(extracted, data_set, capsys):
    save_trained(extracted, "runs/one")
    edit_list(data_set, "train", lambda names: names[::-1])
    soundfile.write(data_set / "jazz/new.wav", sine(500, 2), RATE)
    edit_list(data_set, "test", lambda names: [*names, "jazz/new.wav"])
    assert extract_main(flags(extracted)) == 0
    assert main(["--evaluate"]) == 0
    assert "Test split: 7 tracks" in capsys.readouterr().out


def test_features_rounded_otherwise_are_those_of_the_run(extracted):
    splits = {split: summarize(list_tracks(split, extracted)) for split in ("train", "valid")}
    splits["train"]["mean"] += 1e-8
    save_run(extracted, "runs/one", splits=splits)
    assert main(["--evaluate"]) == 0


def test_a_run_tells_which_tracks_it_knows(extracted, capsys):
    save_run(extracted, "runs/one")
    assert main(["--evaluate"]) == 1
    assert "best.pt does not tell which tracks it was trained on" in capsys.readouterr().err
    train_main(flags(extracted, run_path="runs/two", num_epochs=1))
    assert main(["--evaluate", "--run", "runs/two"]) == 0


def test_a_window_longer_than_a_transform_is_no_hindrance(settings):
    hparams = dataclasses.replace(settings, feature="waveform", win_size=512, feature_length=8192)
    assert extract_main(flags(hparams)) == 0
    save_trained(hparams, "runs/one")
    assert main(["--evaluate"]) == 0


@pytest.mark.parametrize("kept", [slice(0, 2), slice(0, 6, 2)])
def test_genres_that_tell_nothing_are_not_scored(extracted, data_set, capsys, kept):
    save_trained(extracted, "runs/one")
    edit_list(data_set, "test", lambda names: names[kept])
    assert main(["--evaluate"]) == 1
    assert "neighbours are scored where there are two genres" in capsys.readouterr().err
    assert not Path("runs/one/retrieval.json").exists()


def test_tracks_in_one_folder_have_no_genre_to_find(settings, tmp_path, capsys):
    names = write_data_set(tmp_path / "flat", genres=("all",))
    lines = [f"{name},loud" for listed in names.values() for name in listed]
    (tmp_path / "flat/tags.csv").write_text("\n".join([*lines, f"{names['train'][0]},happy"]))
    changed = {"dataset_path": "flat", "genres": ["all"], "feature_path": "flat_features"}
    assert extract_main(flags(settings, **changed)) == 0
    tagging = dataclasses.replace(settings, **changed, task="tagging", tags=["loud", "happy"])
    save_trained(tagging, "runs/one")
    assert main(["--evaluate"]) == 1
    assert "test tracks: 2, genres (their folders): 1;" in capsys.readouterr().err


def test_vectors_are_standardized_by_those_of_train(rng):
    train, test = rng.standard_normal((9, 4)) * 3 + 5, rng.standard_normal((6, 4))
    train[:, 3] = 2
    made = standardized(train, test)
    scaled = (test - train.mean(0)) / [*train[:, :3].std(0), 1]
    np.testing.assert_allclose(
        made, scaled / np.linalg.norm(scaled, axis=1, keepdims=True), atol=1e-6
    )


def test_the_baseline_is_standardized_by_the_train_split(extracted, monkeypatch):
    save_trained(extracted, "runs/one")
    taken = []
    monkeypatch.setattr(
        retrieve, "standardized", lambda a, b: taken.append([len(a), len(b)]) or standardized(a, b)
    )
    assert main(["--evaluate"]) == 0
    assert taken == [[12, 6]]


def test_evaluation_without_the_features_names_the_command(weights, capsys):
    assert main(["--evaluate"]) == 1
    err = capsys.readouterr().err
    assert "error: no features at features: run `python feature_extract" in err


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

"""The nearest tracks: exact, never the query itself, of an index that is up to date."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import RATE, rename_to_bytes, save_run, sine

import retrieve
from hparams import UserError, run_script
from inference import Run
from retrieve import (
    chance,
    choose_index,
    embed_track,
    main,
    nearest,
    parse,
    perfect,
    rank_scores,
    score,
    unit,
)


@pytest.fixture
def indexed(weights, data_set):
    """The weights of a run, with an index of the data set."""
    assert main(["--index", "data"]) == 0
    return weights


def index_of(weights, collection=None):
    return choose_index(Run(weights, "cpu"), collection)


@pytest.mark.parametrize("block", [7, 1000])
@pytest.mark.parametrize("count", [1, 5, 100])
def test_the_nearest_are_exact_in_blocks(rng, monkeypatch, block, count):
    monkeypatch.setattr(retrieve, "BLOCK", block)
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


def test_an_empty_folder_is_a_message(weights, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty has no audio"):
        main(["--index", "empty"])
    with pytest.raises(UserError, match="--index nowhere: there is no such folder"):
        main(["--index", "nowhere"])
    (tmp_path / "empty/a.wav").write_text("text", encoding="utf-8")
    with pytest.raises(UserError, match="has no track that can be read"):
        main(["--index", "empty"])


def test_precision_and_average_precision_by_hand():
    relevant = np.array([True, False, True, False, False])
    assert rank_scores(relevant, 2) == (0.5, pytest.approx((1 + 2 / 3) / 2))
    labels = np.array([0, 0, 1, 1, 1, 2])
    assert score(perfect(labels), labels, 2).tolist() == pytest.approx([(2 * 0.5 + 3) / 5, 1])


def test_chance_is_what_shuffling_gives():
    labels = np.repeat(np.arange(4), 6)
    precision, mean = chance(labels, 10, 0)
    assert precision == pytest.approx(5 / 23, abs=0.01)
    assert 5 / 23 < mean < 0.4
    assert chance(labels, 10, 0).tolist() == [precision, mean]


def test_evaluation_is_of_the_test_split_alone(extracted, tmp_path, capsys, monkeypatch):
    weights = save_run(extracted, "runs/one")
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


def test_evaluation_without_the_features_names_the_command(weights):
    with pytest.raises(UserError, match=r"no features at features: run `python feature_extract"):
        main(["--evaluate"])


@pytest.mark.parametrize("words", [[], ["a.wav", "--top", "0"], ["a.wav", "--num_mels", "64"]])
def test_wrong_flags_end_with_a_message(weights, words):
    with pytest.raises(SystemExit):
        parse(words)

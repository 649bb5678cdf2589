"""A run from its checkpoint alone, and files of any length in chunks."""

import dataclasses
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from conftest import RATE, save_run, write_long

import model
from audio import chunks as audio_chunks
from audio import reading
from audio.chunks import counted_chunks, cut_chunks, resize_array, stream_feature, track_chunks
from audio.features import extract_feature, silent_row
from audio.reading import find_audio
from hparams import HParams
from support.errors import UserError
from training.checkpoint import find_weights
from training.trained_run import Run, make_parser, parse_flags

KINDS = [
    {},
    {"scale": "db", "feature": "linear_stft"},
    {"feature": "mfcc"},
    {"feature": "waveform"},
    {"feature": "cqt", "num_cqt_bins": 120},
    {"fft_size": 255, "win_size": 200, "hop_size": 90},
]


def all_chunks(path, hparams):
    """A file's chunks in one array, and its real rows."""
    batches, rows = zip(*track_chunks(path, hparams))
    return np.concatenate(batches), sum(rows)


@pytest.mark.parametrize("changed", KINDS)
@pytest.mark.parametrize("feature_length", [0, 512])
def test_a_long_file_in_parts_has_the_chunks_of_one_piece(
    settings, tmp_path, monkeypatch, changed, feature_length
):
    hparams = dataclasses.replace(settings, feature_length=feature_length, **changed)
    path = write_long(tmp_path / "a.wav", 20.3)
    expected, expected_rows = all_chunks(path, hparams)
    monkeypatch.setattr(audio_chunks, "LONGEST_WHOLE", 1)
    monkeypatch.setattr(reading, "PART", 30_000)
    chunks, rows = all_chunks(path, hparams)
    assert rows == expected_rows
    np.testing.assert_allclose(chunks, expected, atol=1e-5)


def test_parts_of_any_size_give_the_feature_of_the_whole(settings, rng):
    y = rng.standard_normal(5000).astype(np.float32)
    parts = np.split(y, np.sort(rng.integers(0, len(y), 40)))
    made = np.concatenate(list(stream_feature(parts, settings)))
    np.testing.assert_allclose(made, extract_feature(y, settings), atol=1e-6)


def test_of_a_long_file_no_more_is_read_than_is_kept(settings, tmp_path, monkeypatch):
    path, read = write_long(tmp_path / "a.wav", 125), []
    whole = reading.read_samples
    monkeypatch.setattr(reading, "PART", 1 << 16)
    monkeypatch.setattr(reading, "read_samples", lambda *a: read.append(whole(*a)) or read[-1])
    assert all_chunks(path, settings)[0].shape == (2, 128, 16)
    assert [len(samples) for samples in read] == [1 << 16]


def test_memory_does_not_grow_with_the_file(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "PART", 1 << 16)
    hparams, peaks = dataclasses.replace(settings, feature_length=0), []
    for seconds in (130, 520):
        path = write_long(tmp_path / "a.wav", seconds, RATE)
        tracemalloc.start()
        for _ in track_chunks(path, hparams):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


@pytest.mark.parametrize("frames", [1, 63, 64, 127, 128, 191, 192, 1000])
def test_the_chunks_that_count_are_those_of_training(frames, rng):
    hparams = HParams(num_mels=3, chunk_length=128, feature_length=0, scale="db")
    feature = rng.standard_normal((frames, 3)).astype(np.float32)
    batches, rows = zip(*cut_chunks(np.array_split(feature, 3), hparams))
    stored = -(-frames // 128)
    count = counted_chunks(frames, stored, hparams)
    whole = resize_array(feature, stored * 128, silent_row(hparams)).reshape(-1, 128, 3)
    np.testing.assert_array_equal(np.concatenate(batches), whole[:count])
    assert sum(rows) == min(frames, count * 128)


def test_batches_are_small_enough_for_large_chunks():
    hparams = HParams(feature="waveform", chunk_length=59049)
    batches = list(cut_chunks([np.zeros((59049 * 9, 1), dtype=np.float32)], hparams))
    assert [len(x) for x, _ in batches] == [4, 4, 1]


def test_a_long_file_cut_short_is_refused(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(audio_chunks, "LONGEST_WHOLE", 1)
    path = write_long(tmp_path / "a.wav", 3)
    path.write_bytes(path.read_bytes()[:50_000])
    with pytest.raises(UserError, match=r"cut short, \d+% of it is missing"):
        all_chunks(path, settings)
    soundfile.write(path, np.full(30_000, np.nan), RATE, "FLOAT")
    with pytest.raises(UserError, match="no numbers"):
        all_chunks(path, settings)


def test_the_newest_run_with_weights_is_found(settings, weights):
    newer = save_run(settings, "runs/two")
    os.utime(weights, ns=(0, 0))
    assert find_weights(None) == newer
    assert find_weights("runs/one") == find_weights("runs/one/best.pt") == weights


def test_no_run_is_a_message(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"no run in runs has weights.*`python train_test.py`"):
        find_weights(None)
    (tmp_path / "runs/classic").mkdir(parents=True)
    (tmp_path / "runs/classic/report.json").touch()
    for run in (None, "runs/classic", "nowhere"):
        with pytest.raises(UserError, match="has no weights|no run in runs has weights"):
            find_weights(run)


class Mine(torch.nn.Module):
    """A model that model.py has in some tests and lacks in others."""

    def __init__(self, hparams):
        super().__init__()
        self.head = torch.nn.Linear(hparams.num_mels, len(hparams.genres))

    def forward(self, x):
        return self.head(x.mean(1))


@pytest.fixture
def mine(settings, monkeypatch):
    """A run of a model of one's own without `embed`; returns the path of its weights."""
    monkeypatch.setattr(Mine, "__module__", "model")
    monkeypatch.setattr(model, "Mine", Mine, raising=False)
    return save_run(dataclasses.replace(settings, model="Mine"), "runs/mine")


def test_a_run_of_other_code_is_a_message(settings, mine, weights, monkeypatch):
    Run(mine, "cpu")
    monkeypatch.delattr(model, "Mine")
    with pytest.raises(UserError, match=r"of the model Mine: model.py has no Mine"):
        Run(mine, "cpu")
    other = model.build_model(dataclasses.replace(settings, num_mels=20)).state_dict()
    changed = {
        "another Baseline: put that class back .* or train again": {"model": other},
        "another version .*chunk_size: no such setting.*train again": {
            "hparams": settings.to_dict() | {"chunk_size": 1}
        },
        "another version .*hop_size 0: must be 1 or more": {
            "hparams": settings.to_dict() | {"hop_size": 0}
        },
        "no best.pt of this version": {"mean": None},
    }
    for message, parts in changed.items():
        path = save_run(settings, "runs/other", **parts)
        with pytest.raises(UserError, match=message) as caught:
            Run(path, "cpu")
        assert "\n" not in str(caught.value)


def test_a_model_without_embed_is_a_message(mine):
    chunks = np.zeros((2, 128, 16), dtype=np.float32)
    run = Run(mine, "cpu")
    assert run.probabilities(chunks).shape == (2, 3)
    with pytest.raises(UserError, match="Mine of model.py has no embed: add `def embed"):
        run.embed(chunks)


def test_chunks_are_normalized_as_the_run_was(weights, rng):
    run = Run(weights, "cpu")
    chunks = rng.standard_normal((3, 128, 16)).astype(np.float32)
    with torch.inference_mode():
        expected = run.model(torch.from_numpy((chunks - 0.1) / 0.2).float()).softmax(1)
    np.testing.assert_allclose(run.probabilities(chunks), expected, atol=1e-6)
    assert run.embed(chunks).shape == (3, 64)


def test_audio_is_found_in_folders_and_what_is_none_is_told(tmp_path):
    (tmp_path / "b/deep").mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    for name in ("b/deep/c.MP3", "b/a.wav", "b/._a.wav", "b/notes.txt"):
        (tmp_path / name).touch()
    found = find_audio([tmp_path / "b", tmp_path / "empty", tmp_path / "b/a.wav", "x.txt"])
    below = tmp_path / "b"
    assert found[:2] == [below / "a.wav", below / "deep" / "c.MP3"]
    assert "empty has no audio" in str(found[2])
    assert list(map(str, found[3:])) == ["x.txt"]


def test_audio_that_is_not_read_is_named_in_a_line(tmp_path, capsys):
    for name in ("a.wav", "b.M4A", "c.wma", "d.mp4", "e.aac", ".f.m4a", "cover.jpg"):
        (tmp_path / name).touch()
    assert find_audio([tmp_path]) == [tmp_path / "a.wav"]
    named = ", ".join(str(tmp_path / name) for name in ("b.M4A", "c.wma", "d.mp4"))
    assert capsys.readouterr().err == (
        f"left out: 4 audio files that libsndfile does not read: {named} ... "
        "(ffmpeg -i song.m4a song.wav converts)\n"
    )
    (tmp_path / "a.wav").unlink()
    assert "has no audio that libsndfile reads" in str(find_audio([tmp_path])[0])


def test_folders_behind_links_are_looked_into(tmp_path):
    (tmp_path / "music").mkdir()
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk/a.wav").touch()
    (tmp_path / "music/jazz").symlink_to(tmp_path / "disk")
    (tmp_path / "disk/loop").symlink_to(tmp_path / "music")
    assert find_audio([tmp_path / "music"]) == [tmp_path / "music/jazz/a.wav"]


@pytest.mark.parametrize(
    ("words", "files"),
    [
        (["--", "-a.wav"], ["-a.wav"]),
        (["a.wav", "--device", "cpu", "--", "-b.wav", "c.wav"], ["a.wav", "-b.wav", "c.wav"]),
        (["--device", "cpu", "--", "--device", "--"], ["--device", "--"]),
    ],
)
def test_names_behind_two_dashes_are_no_flags(words, files):
    parser = make_parser("x")
    parser.add_argument("files", nargs="+")
    assert find_audio(parse_flags(parser, words).files) == list(map(Path, files))


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--num_mels", "--num_mels: settings come from the run, {run}; leave it out"),
        ("--no-class_weights", "--no-class_weights: settings come from the run"),
        ("--feature_length=0", "--feature_length: settings come from the run"),
        ("--devise", "unknown argument --devise: did you mean --device?"),
        ("--zzz", "unknown argument --zzz: --help lists all flags"),
    ],
)
def test_settings_of_the_run_are_refused_by_name(weights, capsys, flag, message):
    with pytest.raises(SystemExit):
        parse_flags(make_parser("x"), [flag, "64"])
    assert message.format(run=weights.parent) in capsys.readouterr().err


def test_a_device_that_is_none_is_a_message(weights):
    with pytest.raises(UserError, match="--device abacus: must be 0"):
        Run(weights, "abacus")

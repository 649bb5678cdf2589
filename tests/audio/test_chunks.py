"""Which rows of a track are kept, padded and counted; files of any length in chunks."""

import dataclasses
import math
import tracemalloc

import numpy as np
import pytest
import soundfile
from conftest import RATE, write_long

from audio import chunks as audio_chunks
from audio import reading
from audio.chunks import (
    check_finite,
    counted_chunks,
    cut_chunks,
    estimate_rows,
    kept_length,
    network_feature,
    resize_array,
    row_hop,
    row_seconds,
    row_unit,
    seconds_of,
    split_chunks,
    stream_feature,
    track_chunks,
)
from audio.decoding import Decoder
from audio.features import extract_feature, silent_row
from hparams import HParams
from support.errors import UserError


def test_resize_array_crops_pads_and_keeps_type():
    array = np.arange(6, dtype=np.float32).reshape(3, 2)
    np.testing.assert_array_equal(resize_array(array, 2), array[:2])
    np.testing.assert_array_equal(resize_array(array, 4), [*array, [0, 0]])
    assert resize_array(array, 4).dtype == np.float32
    assert resize_array(np.ones(3), 5).shape == (5,)


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


def test_reading_a_long_file_stops_after_the_kept_part(settings, tmp_path, monkeypatch):
    path, read = write_long(tmp_path / "a.wav", 125), []
    whole = Decoder.blocks
    monkeypatch.setattr(reading, "PART", 1 << 16)

    def record(*file):
        return (read.append(block) or block for block in whole(*file))

    monkeypatch.setattr(Decoder, "blocks", record)
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
    count = counted_chunks(frames, hparams)
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
    with pytest.raises(UserError, match=r"cut short, it holds 0\.8 s of the 3\.0 s"):
        all_chunks(path, settings)
    soundfile.write(path, np.full(30_000, np.nan), RATE, "FLOAT")
    with pytest.raises(UserError, match="not numbers"):
        all_chunks(path, settings)


@pytest.mark.parametrize(
    ("frames", "counted"), [(1, 1), (63, 1), (64, 1), (191, 1), (192, 2), (256, 2), (320, 3)]
)
def test_a_chunk_counts_when_half_of_it_is_real(frames, counted):
    assert counted_chunks(frames, HParams(chunk_length=128)) == counted


@pytest.mark.parametrize(
    ("changed", "rows", "shape", "real"),
    [
        ({"feature_length": 300}, 400, (2, 128, 3), 256),  # 44 rows make no chunk
        ({"feature_length": 300}, 100, (2, 128, 3), 100),
        ({"feature_length": 0}, 257, (3, 128, 3), 257),
        ({"feature_length": 0}, 256, (2, 128, 3), 256),
    ],
)
def test_a_feature_is_cropped_or_padded_to_whole_chunks(changed, rows, shape, real, rng):
    hparams = HParams(num_mels=3, chunk_length=128, scale="db", **changed)
    feature = rng.standard_normal((rows, 3)).astype(np.float32)
    chunks, real_rows = split_chunks(feature, hparams)
    assert chunks.shape == shape
    assert kept_length(rows, hparams) == shape[0] * shape[1]
    assert chunks.dtype == np.float32
    assert real_rows == real
    flat = chunks.reshape(-1, 3)
    np.testing.assert_array_equal(flat[:real], feature[:real])
    np.testing.assert_allclose(flat[real:], -100, rtol=1e-6)


@pytest.mark.parametrize(
    ("feature", "unit", "hop", "rows"),
    [("mfcc", "frames", 512, 44), ("waveform", "samples", 1, 22050)],
)
def test_rows_have_a_unit_and_a_duration(feature, unit, hop, rows):
    hparams = HParams(feature=feature, sample_rate=22050, hop_size=512)
    assert row_unit(hparams) == unit
    assert row_hop(hparams) == hop
    assert row_seconds(hparams) == hop / 22050
    np.testing.assert_allclose(seconds_of(np.arange(3), hparams), [0, hop / 22050, 2 * hop / 22050])
    assert estimate_rows(1.0, hparams) == rows
    assert len(extract_feature(np.zeros(22050, np.float32), hparams)) == rows
    assert estimate_rows(math.inf, hparams) == 0


def test_values_too_large_for_a_spectrum_are_refused_by_name():
    loud = np.full(4096, 3e38, dtype=np.float32)
    feature = extract_feature(loud, HParams())
    with pytest.raises(UserError, match=r"loud\.wav holds values too large for a spectrum: copy"):
        check_finite("loud.wav", feature)


def test_a_picture_has_the_chunks_that_a_model_gets(settings, tmp_path):
    path = write_long(tmp_path / "a.wav", 1.2)
    for length in (0, 512):
        hparams = dataclasses.replace(settings, feature_length=length)
        feature, real, counted = network_feature(path, 0, hparams)
        expected, rows = all_chunks(path, hparams)
        assert counted == len(expected)
        assert min(real, counted * 128) == rows
        assert len(feature) == (length or 256)
        np.testing.assert_array_equal(feature[: counted * 128].reshape(expected.shape), expected)

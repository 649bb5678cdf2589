import re

import numpy as np
import pytest
import soundfile
from conftest import RATE, rename_to_bytes, sine

from audio import reading
from audio.formats import READ_SUFFIXES
from audio.reading import (
    audio_seconds,
    files_below,
    find_audio,
    is_silent,
    load_audio,
    read_audio,
    read_start,
    warnings_of,
)
from hparams import HParams
from support.errors import UserError


def write(path, seconds=5.0):
    rng = np.random.default_rng(0)
    tone = sine(440, seconds, 22050)
    y = tone + 0.02 * rng.standard_normal(len(tone)).astype(np.float32)
    soundfile.write(path, y, 22050)
    return path


@pytest.mark.parametrize("kind", ["wav", "flac", "mp3", "aiff", "au"])
def test_a_file_cut_short_is_refused(tmp_path, kind):
    path = write(tmp_path / f"a.{kind}")
    whole = path.read_bytes()
    assert len(read_audio(path)[0]) == pytest.approx(5 * 22050, rel=0.02)
    path.write_bytes(whole[: len(whole) // 2])
    cut = r"is cut short, it holds (\d\.\d) s of the (\d\.\d) s that its header states: copy it"
    with pytest.raises(UserError, match=cut) as error:
        read_audio(path)
    held, stated = map(float, re.search(cut, str(error.value)).groups())
    assert held == pytest.approx(2.5, abs=0.3)
    assert stated == pytest.approx(5, abs=0.1)


def test_an_ogg_cut_short_lacks_the_mark_of_its_end(tmp_path):
    path = write(tmp_path / "a.ogg")
    whole = path.read_bytes()
    assert warnings_of(path) == []
    path.write_bytes(whole[: len(whole) // 2])
    assert warnings_of(path) == [f"{path} has no end mark: it may be cut short"]
    assert warnings_of(write(tmp_path / "a.wav")) == []


def test_a_wav_from_a_pipe_of_unknown_size_is_whole(tmp_path):
    path = write(tmp_path / "a.wav")
    data = bytearray(path.read_bytes())
    data[4:8] = data[40:44] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    assert len(read_audio(path)[0]) == 5 * 22050


@pytest.mark.parametrize(("channels", "rate"), [(8, 22050), (1, 192000), (2, 8000)])
def test_channels_and_rates(tmp_path, channels, rate):
    y = np.repeat(sine(440, 1.0, rate)[:, None], channels, axis=1)
    soundfile.write(tmp_path / "a.wav", y, rate, "FLOAT")
    loaded = load_audio(tmp_path / "a.wav", HParams())
    assert loaded.shape == (22050,)
    expected = sine(440, 1.0, 22050)
    np.testing.assert_allclose(loaded[2000:-2000], expected[2000:-2000], atol=2e-3)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_samples_are_those_of_libsndfile(tmp_path, rng, subtype):
    path = tmp_path / "a.wav"
    soundfile.write(path, 0.5 * rng.uniform(-1, 1, (1000, 2)), 22050, subtype=subtype)
    expected, _ = soundfile.read(path, dtype="float32")
    np.testing.assert_array_equal(read_audio(path)[0], expected)
    np.testing.assert_allclose(load_audio(path, HParams()), expected.mean(axis=1), atol=1e-7)


def test_what_is_kept_is_resampled_as_in_the_whole(tmp_path, rng):
    path = tmp_path / "a.wav"
    soundfile.write(path, 0.1 * rng.standard_normal((4 * 44100, 2)), 44100)
    whole = load_audio(path, HParams())
    assert len(whole) == 4 * 22050
    np.testing.assert_allclose(load_audio(path, HParams(), 30000), whole[:30000], atol=1e-6)
    np.testing.assert_array_equal(load_audio(path, HParams(), 10**9), whole)


def test_a_name_that_is_no_utf_8_is_read_like_any_other(tmp_path):
    path = write(tmp_path / "a.flac")
    expected = load_audio(path, HParams())
    path = rename_to_bytes(path)
    np.testing.assert_array_equal(load_audio(path, HParams()), expected)
    assert audio_seconds(path) == 5
    path.write_text("no music", encoding="utf-8")
    with pytest.raises(
        UserError, match=r"cannot be read \(no audio: text, under the name .flac\): leave it out"
    ):
        read_audio(path)


def test_files_below_are_those_behind_links_too_each_folder_once(tmp_path):
    for name in ("a/b/1.wav", "a/.git/2.wav", "a/.3.wav", "apart/c/4.wav", "apart/5.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    links = {"a/away": "apart", "a/0": "a/b", "a/b/back": "a", "apart/c/up": "apart", "a/6": "gone"}
    for link, target in links.items():
        (tmp_path / link).symlink_to(tmp_path / target)
    (tmp_path / "a/7.wav").symlink_to(tmp_path / "apart/5.wav")
    found = [path.relative_to(tmp_path).as_posix() for path in files_below(tmp_path / "a")]
    assert found == ["a/7.wav", "a/away/5.wav", "a/away/c/4.wav", "a/b/1.wav"]


def test_load_audio_mixes_down_and_resamples(tmp_path):
    tone = sine(500, 1.0, 44100)
    soundfile.write(tmp_path / "a.flac", np.stack([tone, 0 * tone], axis=1), 44100)
    y = load_audio(tmp_path / "a.flac", HParams())
    assert y.shape == (22050,)
    assert y.dtype == np.float32
    middle = slice(2000, -2000)
    np.testing.assert_allclose(y[middle], sine(500, 1.0, 22050, 0.25)[middle], atol=1e-3)


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg", "mp3", "aiff", "au"])
def test_formats(tmp_path, kind):
    path = tmp_path / f"한글 tone.{kind}"
    soundfile.write(path, sine(440, 1.0, 22050), 22050)
    y = load_audio(path, HParams())
    loudest = np.abs(np.fft.rfft(y)).argmax() * 22050 / len(y)
    assert abs(loudest - 440) < 2


def test_audio_is_found_in_folders_and_other_names_are_kept(tmp_path):
    (tmp_path / "b/deep").mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    for name in ("b/deep/c.MP3", "b/a.wav", "b/._a.wav", "b/notes.txt"):
        (tmp_path / name).touch()
    found = find_audio([tmp_path / "b", tmp_path / "empty", tmp_path / "b/a.wav", "x.txt"])
    below = tmp_path / "b"
    assert found[:2] == [below / "a.wav", below / "deep" / "c.MP3"]
    assert "empty has no audio" in str(found[2])
    assert list(map(str, found[3:])) == ["x.txt"]


def test_audio_that_is_not_read_is_named_in_a_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(reading, "SUFFIXES", READ_SUFFIXES)  # as without ffmpeg
    for name in ("a.wav", "b.M4A", "c.wma", "d.mp4", "e.aac", ".f.m4a", "cover.jpg"):
        (tmp_path / name).touch()
    assert find_audio([tmp_path]) == [tmp_path / "a.wav"]
    named = ", ".join(str(tmp_path / name) for name in ("b.M4A", "c.wma", "d.mp4"))
    assert capsys.readouterr().err == (
        f"left out: 4 audio files that libsndfile does not read: {named} ... "
        '(`for f in *.M4A; do ffmpeg -i "$f" "${f%.*}.wav"; done` converts them)\n'
    )
    (tmp_path / "a.wav").unlink()
    assert "has no audio that libsndfile reads" in str(find_audio([tmp_path])[0])


def test_audio_is_found_behind_links(tmp_path):
    (tmp_path / "music").mkdir()
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk/a.wav").touch()
    (tmp_path / "music/jazz").symlink_to(tmp_path / "disk")
    (tmp_path / "disk/loop").symlink_to(tmp_path / "music")
    assert find_audio([tmp_path / "music"]) == [tmp_path / "music/jazz/a.wav"]


def test_of_a_long_file_only_the_first_seconds_are_read(settings, tmp_path):
    soundfile.write(tmp_path / "a.wav", sine(440, 3, 2 * RATE), 2 * RATE)
    assert len(read_start(tmp_path / "a.wav", 2, settings)) == 2 * RATE
    assert len(read_start(tmp_path / "a.wav", 0, settings)) == 3 * RATE
    with pytest.raises(UserError, match="has 800 samples, too few for a page"):
        read_start(tmp_path / "a.wav", 0.1, settings)


def test_silence_is_a_peak_below_80_db_after_the_mix_to_mono(tmp_path):
    y = sine(440)
    assert is_silent(0.9e-4 * y / np.abs(y).max())
    assert not is_silent(1.1e-4 * y / np.abs(y).max())
    assert not is_silent(-np.array([0, 0, 1.1e-4], dtype=np.float32))
    assert is_silent(np.zeros(0, dtype=np.float32))
    soundfile.write(tmp_path / "opposite.wav", np.stack([y, -y], axis=1), RATE)
    assert is_silent(load_audio(tmp_path / "opposite.wav", HParams()))

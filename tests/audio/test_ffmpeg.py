"""Reading through ffmpeg, where it is installed."""

import subprocess
import sys

import numpy as np
import pytest
import soundfile
from conftest import rename_to_bytes, sine

from audio import ffmpeg, reading
from audio.ffmpeg import find_ffmpeg
from audio.formats import OTHER_SUFFIXES
from audio.reading import find_audio, load_audio, read_audio, stream_audio, warnings_of
from hparams import HParams
from support.errors import UserError

pytestmark = pytest.mark.skipif(not find_ffmpeg(), reason="ffmpeg is not installed")


@pytest.fixture(autouse=True)
def without_ffmpeg():
    """Override the fixture of all other tests: these read through ffmpeg."""


RATE = 32000


@pytest.fixture(scope="module")
def song(tmp_path_factory):
    """A stereo song of 3 s as .m4a."""
    folder = tmp_path_factory.mktemp("song")
    y = np.stack([sine(440, 3.0, RATE), sine(660, 3.0, RATE)], axis=1)
    soundfile.write(folder / "song.wav", y, RATE)
    command = [find_ffmpeg(), "-v", "error", "-i", folder / "song.wav", folder / "song.m4a"]
    subprocess.run(command, check=True)
    return folder / "song.m4a"


def test_a_file_has_its_samples_rate_and_channels(song):
    samples, rate = read_audio(song)
    assert rate == RATE
    assert samples.shape == (pytest.approx(3 * RATE, abs=2048), 2)
    assert samples.dtype == np.float32
    expected = np.fft.rfft(sine(660, 3.0, RATE))
    assert (
        abs(np.abs(np.fft.rfft(samples[: 3 * RATE, 1])).argmax() - np.abs(expected).argmax()) <= 1
    )
    assert warnings_of(song) == []


@pytest.mark.parametrize(
    "name",
    ["a.wma", "a.mka", "a.webm", "a.wv", "a.tta", "a.ac3", "a.mp4", "a.aac", "a.mov", "a.ts"],
)
def test_many_formats(song, tmp_path, name):
    made = [find_ffmpeg(), "-v", "error", "-i", song.with_suffix(".wav"), "-ar", "48000"]
    subprocess.run([*made, tmp_path / name], check=True)
    samples, rate = read_audio(tmp_path / name)
    assert rate == 48000
    assert samples.shape == (pytest.approx(3 * 48000, abs=4000), 2)


def test_streamed_reading_gives_the_same_samples(song, monkeypatch):
    y = load_audio(song, HParams(sample_rate=8000))
    monkeypatch.setattr(reading, "PART", 10_000)
    parts = list(stream_audio(song, HParams(sample_rate=8000)))
    assert len(parts) > 8
    np.testing.assert_array_equal(np.concatenate(parts), y)


def test_ffmpeg_ends_when_no_more_is_read(song, monkeypatch):
    started, popen = [], subprocess.Popen
    monkeypatch.setattr(
        ffmpeg.subprocess, "Popen", lambda *a, **k: started.append(popen(*a, **k)) or started[-1]
    )
    monkeypatch.setattr(reading, "PART", 1000)
    parts = stream_audio(song, HParams(sample_rate=RATE))
    assert len(next(parts)) == 1000
    assert started[0].poll() is None
    parts.close()
    assert started[0].poll() is not None


@pytest.mark.parametrize("name", ["-i.m4a", "a:b %d.m4a", "http:x.mp3", "pipe:0.m4a"])
def test_any_name_is_a_file(song, tmp_path, monkeypatch, name):
    if sys.platform == "win32":
        pytest.skip("these names are not allowed there")
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(song.read_bytes())
    assert len(read_audio(name)[0]) == len(read_audio(song)[0])


def test_a_name_that_is_no_utf_8(song, tmp_path):
    (tmp_path / "a.m4a").write_bytes(song.read_bytes())
    assert read_audio(rename_to_bytes(tmp_path / "a.m4a"))[1] == RATE


def test_damaged_files_are_named(song, tmp_path):
    command = [find_ffmpeg(), "-v", "error", "-i", song, "-c", "copy", "-movflags", "faststart"]
    subprocess.run([*command, tmp_path / "header_first.m4a"], check=True)
    for path in (song, tmp_path / "header_first.m4a"):
        whole = path.read_bytes()
        for length in (40, len(whole) // 3, len(whole) * 2 // 3):
            (tmp_path / "cut.m4a").write_bytes(whole[:length])
            with pytest.raises(UserError, match=r"cut.m4a cannot be read by ffmpeg \(.+\): copy"):
                read_audio(tmp_path / "cut.m4a")


def test_a_video_without_sound_is_named(tmp_path):
    path = tmp_path / "silent.mp4"
    made = [find_ffmpeg(), "-v", "error", "-f", "lavfi", "-i", "color=d=0.2", path]
    subprocess.run(made, check=True)
    with pytest.raises(UserError, match=r"silent.mp4 cannot be read by ffmpeg \(.*\): copy it"):
        read_audio(path)


@pytest.mark.parametrize("text", ["#EXTM3U\nhttp://x/y.m4a\n", "<html>", "ffconcat version 1.0"])
def test_ffmpeg_never_sees_text(tmp_path, monkeypatch, text):
    monkeypatch.setattr(ffmpeg.subprocess, "Popen", None)
    (tmp_path / "a.m4a").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match="no audio: (a playlist|HTML|text)"):
        read_audio(tmp_path / "a.m4a")


def test_folders_have_what_ffmpeg_reads(song, capsys):
    assert find_audio([song.parent]) == [song, song.with_suffix(".wav")]
    assert capsys.readouterr().err == ""
    assert reading.SUFFIXES >= OTHER_SUFFIXES

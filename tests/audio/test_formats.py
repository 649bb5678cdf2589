"""What files are by their first bytes, and the messages for those that are not read."""

import contextlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import sine

from audio import decoding
from audio.formats import READ_SUFFIXES, conversion
from audio.reading import audio_seconds, find_audio, read_audio, warnings_of
from support.errors import UserError

MP4 = b"\0\0\0\x1cftypM4A \0\0\2\0M4A isomiso2" + bytes(500)
CONVERTED = {
    "AAC in MP4": MP4 + b"mp4a",
    "ALAC in MP4": MP4 + b"alac",
    "MP4": MP4,
    "AAC": b"\xff\xf1\x50\x80\x02\x1f\xfc" + bytes(50),
    "Windows Media": bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"),
    "Matroska or WebM": b"\x1a\x45\xdf\xa3\x01",
    "Monkey's Audio": b"MAC \x96\x0f\0\0",
    "WavPack": b"wvpk\0\0\0\0",
    "Musepack": b"MPCKSH",
    "True Audio": b"TTA1\1\0",
    "AMR": b"#!AMR\n",
    "DSD": b"DSD \x1c\0\0\0",
    "AC-3": b"\x0b\x77\1\2\3",
    "DTS": b"\x7f\xfe\x80\1",
    "WAV with a rare codec": b"RIFF\0\1\0\0WAVEfmt \x10\0\0\0\0\x20\2\0" + bytes(50),
    "Ogg with video or a rare codec": b"OggS\0\2" + bytes(22) + b"\x80theora",
    "video": b"RIFF\0\1\0\0AVI LIST",
}
NO_AUDIO = {
    "HTML, under the name .wav): download it again": b"\r\n<!DOCTYPE html><html>",
    "a Git LFS pointer, under the name .wav): run `git lfs pull`": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 5\n"
    ),
    "JSON, under the name .wav): leave it out": b'{"error": 404}',
    "a playlist, under the name .wav): name its tracks": b"#EXTM3U\nhttp://x/y.m4a\n",
    "text, under the name .wav)": "Über die Musik\n".encode(),
    "an archive, under the name .wav): unpack it": b"PK\3\4\x14\0",
    "a picture, under the name .wav)": b"\x89PNG\r\n\x1a\n",
    "PDF, under the name .wav)": b"%PDF-1.7\n",
    "a NumPy array, under the name .wav)": b"\x93NUMPY\1\0",
    "MIDI (notes without sound), under the name .wav)": b"MThd\0\0\0\6",
    "only zeros, under the name .wav): copy it again": bytes(5000),
    "empty, under the name .wav): copy it again": b"",
    "unknown data, under the name .wav): copy it again": b"\x90\x91\x92\3\4" * 99,
}


@pytest.fixture(autouse=True)
def without_ffmpeg(monkeypatch):
    monkeypatch.setattr(decoding, "find_ffmpeg", str)


@pytest.mark.parametrize("kind", CONVERTED)
def test_what_ffmpeg_converts_is_named_with_the_command(tmp_path, kind):
    path = tmp_path / "song.mp3"
    path.write_bytes(CONVERTED[kind])
    with pytest.raises(UserError) as error:
        read_audio(path)
    assert f"(it is {kind}, under the name .mp3): `ffmpeg -i {path} " in str(error.value)
    assert f"{path.with_suffix('.wav')}` converts it" in str(error.value)


@pytest.mark.parametrize("kind", NO_AUDIO)
def test_what_is_no_audio_is_named_with_what_helps(tmp_path, kind):
    path = tmp_path / "song.wav"
    path.write_bytes(NO_AUDIO[kind])
    with pytest.raises(UserError, match=re.escape(f"cannot be read (no audio: {kind}")):
        read_audio(path)


def test_a_name_that_fits_is_not_spoken_of(tmp_path):
    path = tmp_path / "song.M4A"
    path.write_bytes(MP4 + b"mp4a")
    with pytest.raises(UserError, match=r"song.M4A cannot be read \(it is AAC in MP4\): `ffmpeg"):
        read_audio(path)


@pytest.mark.parametrize("name", ["a b.m4a", "$(touch hacked).m4a", "-y.m4a", "`x`;'\"\n.m4a"])
def test_a_shell_runs_nothing_of_a_name(tmp_path, monkeypatch, name):
    if sys.platform == "win32":
        pytest.skip("these names are not allowed there")
    monkeypatch.chdir(tmp_path)
    command = conversion(Path(name))[1:].rpartition("`")[0]
    names = name, name[:-4] + ".wav"
    safe = [f"./{each}" if each.startswith("-") else each for each in names]
    assert shlex.split(command) == ["ffmpeg", "-i", *safe]
    (tmp_path / "ffmpeg").write_text("#!/bin/sh\n", encoding="utf-8")
    (tmp_path / "ffmpeg").chmod(0o755)
    subprocess.run(["sh", "-c", f"PATH=.:$PATH; {command}"], check=True)
    assert [path.name for path in tmp_path.iterdir()] == ["ffmpeg"]


@pytest.mark.parametrize("suffix", sorted(READ_SUFFIXES | {".raw", ".vox", ".gsm"}))
def test_headerless_junk_is_refused_whatever_its_name(tmp_path, suffix, rng):
    path = tmp_path / f"a{suffix}"
    for _ in range(5):
        path.write_bytes(rng.bytes(5000))
        with pytest.raises(UserError, match="no audio: unknown data"):
            read_audio(path)


@pytest.mark.parametrize("kind", sorted(set(soundfile.available_formats()) - {"RAW", "SD2"}))
def test_all_formats_of_libsndfile_are_known_by_their_bytes(tmp_path, kind):
    path, rate = tmp_path / "a", 8000 if kind == "WVE" else 44100
    soundfile.write(path, sine(440, 1.0, rate), rate, format=kind)
    samples, found = read_audio(path)
    assert len(samples) == pytest.approx(rate, abs=2400)
    assert found == pytest.approx(rate, rel=0.005)  # an HTK states the period, rounded
    assert audio_seconds(path) == pytest.approx(1, abs=0.06)
    assert warnings_of(path) == []


def test_an_mp3_in_a_wav_is_read(tmp_path):
    soundfile.write(tmp_path / "a.mp3", sine(440), 8000)
    mp3 = (tmp_path / "a.mp3").read_bytes()
    header = b"RIFF\0\0\0\0WAVEfmt \x1e\0\0\0\x55\0\1\0" + bytes(26) + b"data\0\0\0\0"
    (tmp_path / "a.wav").write_bytes(header + mp3)
    expected, _ = read_audio(tmp_path / "a.mp3")
    np.testing.assert_array_equal(read_audio(tmp_path / "a.wav")[0], expected)


def test_a_name_of_255_bytes_is_read(tmp_path):
    path = tmp_path / ("a" * 252 + ".au")
    soundfile.write(path, sine(440), 8000)
    assert len(read_audio(path)[0]) == 8000
    path.write_bytes(b"junk")
    with pytest.raises(UserError, match="no audio: text"):
        read_audio(path)


def test_what_is_no_file_is_refused(tmp_path):
    (tmp_path / "live.wav").mkdir()
    with pytest.raises(UserError, match="live.wav is not a file: leave it out"):
        read_audio(tmp_path / "live.wav")
    with pytest.raises(UserError, match="gone.wav is missing: put it there"):
        read_audio(tmp_path / "gone.wav")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.wav")
        with pytest.raises(UserError, match="pipe.wav is not a file"):
            read_audio(tmp_path / "pipe.wav")


def test_folders_that_cannot_be_read_are_named(tmp_path, monkeypatch):
    (tmp_path / "music/locked").mkdir(parents=True)
    (tmp_path / "music/a.wav").touch()
    whole = os.scandir

    def scandir(path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return whole(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found = find_audio([tmp_path / "music"])
    assert found[0] == tmp_path / "music/a.wav"
    assert re.search("locked cannot be read .Permission denied.", str(found[1]))
    assert len(found) == 2


def test_libmpg123_prints_nothing_of_damaged_frames(tmp_path, capfd, rng):
    path = tmp_path / "a.mp3"
    soundfile.write(path, 0.3 * rng.standard_normal(20000), 16000)
    whole = path.read_bytes()
    for _ in range(20):
        data = bytearray(whole)
        for at in rng.integers(300, len(data), 40):
            data[at] ^= 1 << rng.integers(0, 8)
        path.write_bytes(data)
        with contextlib.suppress(UserError):  # too many frames are lost
            read_audio(path)
    os.write(2, b"but others can print\n")
    assert capfd.readouterr().err == "but others can print\n"

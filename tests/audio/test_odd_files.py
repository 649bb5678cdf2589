"""Files as they are found: tags and junk, headers that lie, joined and cut streams."""

import io
import re
import struct

import numpy as np
import pytest
import soundfile
from conftest import sine

from audio import decoding
from audio.reading import load_audio, read_audio, stream_audio, warnings_of
from hparams import HParams
from support.errors import UserError

ROUNDS = 200
RATE = 16000
SIZE_FIELDS = {  # where the size of the samples is, from their start; struct; bytes that it adds
    "WAV": (-4, "<I", 0),
    "AIFF": (-4, ">I", 0),
    "W64": (-8, "<Q", 24),
    "CAF": (-12, ">q", 0),  # four bytes belong to the chunk
    "AU": (-16, ">I", 0),
}


@pytest.fixture(scope="module")
def clips():
    """Clips by (format, sample rate, channels, number): samples and the bytes of a file."""
    made = {}

    def clip(kind, rate=RATE, channels=2, number=0, seconds=0.6, **options):
        key = (kind, rate, channels, number, seconds, *options.items())
        if key not in made:
            rng = np.random.default_rng(number)
            tone = sine(300 + 100 * number, seconds, rate)
            y = np.stack([tone] * channels, axis=1)
            y = y + 0.05 * rng.standard_normal(y.shape)
            data = io.BytesIO()
            soundfile.write(data, y, rate, format=kind, **options)
            made[key] = data.getvalue()
        return made[key]

    return clip


def read(path, data):
    """Write a file; return its samples, which both ways of reading have to agree on, and notes."""
    path.write_bytes(data)
    samples, rate = read_audio(path)
    parts = list(stream_audio(path, HParams(sample_rate=rate)))
    np.testing.assert_array_equal(
        np.concatenate(parts), load_audio(path, HParams(sample_rate=rate))
    )
    return samples, warnings_of(path)


def tag_in_front(rng):
    """An ID3 tag with a cover."""
    cover = b"\xff\xd8\xff" + rng.bytes(int(rng.integers(0, 30_000))).replace(b"\xff", b"\xff\0")
    sizes = [len(cover) >> shift & 127 for shift in (21, 14, 7, 0)]
    return b"ID3\4\0\0" + bytes(sizes) + cover


def tag_behind(rng):
    """An APE tag with a cover, and an ID3 tag of the first version."""
    cover = rng.bytes(int(rng.integers(0, 30_000)))
    header = struct.pack("<8s4I8x", b"APETAGEX", 2000, len(cover) + 32, 1, 0xA0000000)
    footer = struct.pack("<8s4I8x", b"APETAGEX", 2000, len(cover) + 32, 1, 0x80000000)
    return header + cover + footer + b"TAG" + bytes(125)


def junk(rng):
    """Text, zeros or random bytes."""
    count = int(rng.integers(0, 20_000))
    return (b"<html>404 not found</html>\r\n" * 800, bytes(count), rng.bytes(count))[
        rng.integers(0, 3)
    ][:count]


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
def test_tags_and_junk_around_an_mp3_change_nothing(tmp_path, clips, mode):
    rng = np.random.default_rng(0)
    whole = clips("MP3", bitrate_mode=mode)
    expected, _ = read(tmp_path / "a.mp3", whole)
    for _ in range(ROUNDS // 2):
        front = (tag_in_front, junk)[rng.integers(0, 2)](rng)
        behind = tag_behind(rng) if rng.random() < 0.5 else b""
        samples, notes = read(tmp_path / "b.mp3", front + whole + behind)
        np.testing.assert_array_equal(samples, expected)
        assert notes == []


@pytest.mark.parametrize("kind", SIZE_FIELDS)
def test_a_header_is_compared_with_what_is_there(tmp_path, clips, kind):
    rng, whole = np.random.default_rng(1), clips(kind)
    path = tmp_path / f"a.{kind.lower()}"
    expected, _ = read(path, whole)
    frame, field = 4, SIZE_FIELDS[kind]  # 16 bits, stereo
    start = len(whole) - frame * len(expected)
    if kind == "AIFF":
        start -= 8  # offset and block size belong to the chunk
    place = start + field[0]
    (stated,) = struct.unpack_from(field[1], whole, place)
    for _ in range(ROUNDS // len(SIZE_FIELDS)):
        more = int(
            rng.choice([0, rng.integers(1, 300), rng.integers(10_000, 10**6), -stated + field[2]])
        )
        lie = bytearray(whole)
        struct.pack_into(field[1], lie, place, stated + more)
        if more > 10_000 - 1:
            seconds = (stated + more) / frame / RATE
            with pytest.raises(UserError, match=rf"holds 0\.6 s of the {seconds:.1f} s that its"):
                read(path, bytes(lie))
            continue
        samples, notes = read(path, bytes(lie))
        np.testing.assert_array_equal(samples, expected)
        assert notes == []


@pytest.mark.parametrize("kind", ["WAV", "AU", "AIFF"])
@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000, 0x80000000, 0xFFFFFFFF - 36])
def test_a_file_that_was_written_to_a_pipe_is_whole(tmp_path, clips, kind, size):
    whole = bytearray(clips(kind))
    expected, _ = read(tmp_path / "a", bytes(whole))
    place = len(whole) - 4 * len(expected) + SIZE_FIELDS[kind][0] - 8 * (kind == "AIFF")
    struct.pack_into(SIZE_FIELDS[kind][1], whole, place, size)
    np.testing.assert_array_equal(read(tmp_path / "b", bytes(whole))[0], expected)


def state_samples(flac, count):
    """A FLAC whose header states another number of samples."""
    numbers = int.from_bytes(flac[18:26], "big")
    return flac[:18] + (numbers >> 36 << 36 | count).to_bytes(8, "big") + flac[26:]


def test_a_flac_is_read_to_its_end_whatever_its_header_states(tmp_path, clips):
    rng, whole, path = np.random.default_rng(2), clips("FLAC"), tmp_path / "a.flac"
    expected, _ = read(path, whole)
    for _ in range(ROUNDS // 4):
        lies = [
            0,
            rng.integers(1, len(expected)),
            len(expected) + rng.integers(1, 90),
            10**6,
            2**36 - 1,
        ]
        lie = int(lies[rng.integers(0, len(lies))])
        data = state_samples(whole, lie) + (b"TAG" + bytes(125)) * int(rng.integers(0, 2))
        if lie < 10**6:
            np.testing.assert_array_equal(read(path, data)[0], expected)
        else:
            with pytest.raises(
                UserError, match=rf"holds 0\.6 s of the {lie / RATE:.1f} s that its"
            ):
                read(path, data)


def state_frames(mp3, count):
    """An MP3 whose Xing frame states another number of frames."""
    place = max(mp3.find(b"Xing"), mp3.find(b"Info")) + 8
    return mp3[:place] + struct.pack(">I", count) + mp3[place + 4 :]


def test_an_mp3_is_read_to_its_end_whatever_its_xing_frame_states(tmp_path, clips):
    whole, path = clips("MP3", bitrate_mode="VARIABLE"), tmp_path / "a.mp3"
    expected, _ = read(path, whole)
    for count in (0, 1, 5, 10, 15):
        samples, _ = read(path, state_frames(whole, count))
        assert len(samples) >= len(expected)  # where the sound ends in the last frame is not known
        np.testing.assert_array_equal(samples[: len(expected)], expected)
    with pytest.raises(UserError, match=r"holds 0\.\d s of the 5\.4 s that its header states"):
        read(path, state_frames(whole, 150))


def test_an_mp3_without_a_xing_frame_has_all_its_frames(tmp_path, clips):
    whole, path = clips("MP3", seconds=2.0, bitrate_mode="VARIABLE"), tmp_path / "a.mp3"
    with_xing, _ = read(path, whole)
    tag = max(whole.find(b"Xing"), whole.find(b"Info"))
    second = whole.find(whole[:2], tag)
    samples, _ = read(path, whole[second:])
    assert 0 <= len(samples) - len(with_xing) < 3 * 1152
    delay = np.argmax(np.correlate(samples[:4000, 0], with_xing[:2000, 0], "valid"))
    np.testing.assert_allclose(
        samples[delay:][: len(with_xing)], with_xing[: len(samples) - delay], atol=1e-4
    )


JOINED = {
    "WAV": {},
    "AIFF": {},
    "AU": {},
    "FLAC": {},
    "OGG": {},
    "MP3": {"bitrate_mode": "CONSTANT"},
}


@pytest.mark.parametrize("kind", JOINED)
def test_joined_files_are_read_one_after_the_other(tmp_path, clips, kind):
    rng, path = np.random.default_rng(3), tmp_path / f"a.{kind.lower()}"
    for _ in range(ROUNDS // len(JOINED)):
        numbers = rng.integers(0, 3, rng.integers(2, 4))
        parts = [clips(kind, number=int(number), **JOINED[kind]) for number in numbers]
        wholes = [read(path, part)[0] for part in parts]
        samples, notes = read(path, b"".join(parts))
        assert notes == []
        if kind == "MP3":  # joined frames keep the silence that encoders put around the sound
            assert 0 <= len(samples) - sum(map(len, wholes)) <= 2400 * len(parts)
            np.testing.assert_allclose(samples[:8000], wholes[0][:8000], atol=1e-6)
        else:
            np.testing.assert_array_equal(samples, np.concatenate(wholes))


@pytest.mark.parametrize("kind", JOINED)
@pytest.mark.parametrize("other", [{"rate": 22050}, {"channels": 1}])
def test_what_is_joined_in_another_format_is_left_out_and_said(tmp_path, clips, kind, other):
    path = tmp_path / f"a.{kind.lower()}"
    first, second = clips(kind, **JOINED[kind]), clips(kind, **other, **JOINED[kind])
    expected, _ = read(path, first)
    samples, notes = read(path, first + second)
    assert len(samples) == pytest.approx(len(expected), abs=1152)
    [note] = notes
    kinds = f"({other.get('rate', RATE)} Hz, {other.get('channels', 2)} channels)"
    assert re.search("holds 2 recordings, .* from number 2 on they are left out", note)
    assert kinds in note
    assert f"`ffmpeg -i {path} " in note


@pytest.mark.parametrize("kind", ["WAV", "AIFF", "AU", "W64", "RF64", "CAF", "FLAC", "OGG", "MP3"])
def test_a_cut_file_gives_its_start_or_says_how_much_it_holds(tmp_path, clips, kind):
    rng, whole, path = np.random.default_rng(4), clips(kind, seconds=1.2), tmp_path / "a"
    expected, _ = read(path, whole)
    for _ in range(ROUNDS // 9):
        cut = int(rng.integers(len(whole) // 10, len(whole)))
        try:
            samples, notes = read(path, whole[:cut])
        except UserError as error:
            held = re.search(r"cut short, it holds (\d\.\d) s of the 1\.[234] s", str(error))
            assert held or re.search("cannot be read|holds no sample", str(error))
            assert not held or float(held[1]) == pytest.approx(1.2 * cut / len(whole), abs=0.4)
            continue
        if kind == "OGG":
            assert notes == [f"{path} has no end mark: it may be cut short"]
        else:
            assert len(samples) > len(expected) - 0.13 * RATE
        start = len(samples) - 2 * 1152
        np.testing.assert_allclose(samples[:start], expected[:start], atol=1e-6)


def test_a_sample_rate_that_would_make_a_small_file_huge_is_refused(tmp_path, clips):
    lie = bytearray(clips("WAV"))
    struct.pack_into("<I", lie, 24, 1)
    with pytest.raises(UserError, match="its header states 1 Hz, less than 1000"):
        read(tmp_path / "a.wav", bytes(lie))


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3"])
def test_reading_without_descriptors_gives_the_same_samples(tmp_path, clips, monkeypatch, kind):
    front = b"ID3\4\0\0\0\0\0\x0a" + bytes(10)
    for number, data in enumerate([clips(kind), front + clips(kind)]):
        path = tmp_path / f"{number}.{kind.lower()}"
        monkeypatch.setattr(decoding, "HAS_DESCRIPTORS", True)
        expected, _ = read(path, data)
        monkeypatch.setattr(decoding, "HAS_DESCRIPTORS", False)
        np.testing.assert_array_equal(read(path, data)[0], expected)

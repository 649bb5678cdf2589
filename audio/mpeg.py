"""Find the frames of MPEG audio (MP3) in a file, between tags and junk, without decoding them.

libsndfile takes the length of an MP3 from its Xing frame, or estimates it from its first frame, and
reads no further. The frames themselves say how much there is.
"""

import struct
from itertools import groupby
from typing import BinaryIO, NamedTuple

from audio.containers import BLOCK, Contents, Damaged, Part, Stream, describe_junk, read_at

SURE = 4  # frames in a row that are no accident
LARGEST = 1 << 13  # bytes; `SURE` frames have fewer
INFO = {b"Xing", b"Info", b"VBRI"}  # tags of a first frame that states a length
SYNC = 0xFFE00000  # a header is at least this: its first 11 bits are 1
SAME = 0xFFFE0C00  # bits that all headers of a stream share: sync, version, layer, sample rate
MONO = 0xC0  # the bits of the mode, all 1 for mono
HEADER = SAME | MONO
DECODER_DELAY = 529  # samples; decoders drop them at the start, in addition to the encoder's delay
TAGS = (b"ID3", b"TAG", b"APETAGEX", b"LYRICSBEGIN")
RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
KILOBITS = {  # by (whether it is MPEG-1, layer)
    (True, 1): range(0, 449, 32),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


class Header(NamedTuple):
    """What the four bytes at the start of a frame say."""

    layer: int
    rate: int  # Hz
    samples: int  # per channel
    size: int  # bytes of the frame
    info: int  # where in the frame a tag of `INFO` would be


class Run(NamedTuple):
    """Frames of one kind that follow each other without a gap."""

    start: int
    end: int
    frames: int
    word: int  # the first header


class Info(NamedTuple):
    """A first frame without sound that states how long the stream is."""

    frame: bytes
    tag: int  # where in the frame the tag is
    frames: int
    is_xing: bool  # and states frames and bytes; libmpg123 does not know VBRI


def parse_header(word: int) -> Header | None:
    """Return what a frame's header says; None if it is not one, or does not state a size."""
    version, layer = word >> 19 & 3, 4 - (word >> 17 & 3)
    bitrate, rate = word >> 12 & 15, word >> 10 & 3
    if word < SYNC or version == 1 or layer == 4 or bitrate in (0, 15) or rate == 3:
        return None
    first, hertz = version == 3, RATES[version][rate]
    samples = 384 if layer == 1 else 576 if layer == 3 and not first else 1152
    slot = 4 if layer == 1 else 1  # bytes
    slots = samples * KILOBITS[first, layer][bitrate] * 125 // (hertz * slot)
    side = ((17, 9), (32, 17))[first][word & MONO == MONO]  # bytes of side information
    return Header(layer, hertz, samples, (slots + (word >> 9 & 1)) * slot, 4 + side)


def header_of(word: int) -> Header:
    """Return what a frame's header says."""
    header = parse_header(word)
    assert header
    return header


def frame_sizes() -> list[int]:
    """Return the bytes of a frame by bits 9 to 20 of its header; 0 for what is no header."""
    found = (parse_header(SYNC | bits << 9) for bits in range(1 << 12))
    return [header.size if header else 0 for header in found]


SIZES = frame_sizes()
read_word = struct.Struct(">I").unpack_from


def kind_of(word: int) -> tuple[int, bool]:
    """Return what all frames of a stream share: bits of the header, and whether it is mono."""
    return word & SAME, word & MONO == MONO


def walk(data: bytes, at: int, left: int) -> tuple[int, int, bool]:
    """Return where whole frames of one kind that start in data at `at` end, and their number.

    The last value is whether the file ends there, or in the next frame. `left` is the bytes from
    the start of data to the end of the file. A frame with a tag of `INFO` ends them.
    """
    if at + 4 > len(data):
        return at, 0, at + 4 > left
    (word,) = read_word(data, at)
    same, mono = kind_of(word)
    modes = (3,) if mono else (0, 1, 2)
    known = {same | mode << 6 for mode in modes}  # what the next headers can be
    header = parse_header(word)
    tag = header.info if header else 0
    count, last = 0, len(data) - 4
    while at <= last:
        (word,) = read_word(data, at)
        size = SIZES[word >> 9 & 0xFFF]
        if word & HEADER not in known or not size:
            return at, count, False
        if at + size > left:
            return at, count, True
        if count and data[at + tag : at + tag + 4] in INFO:
            return at, count, False
        at, count = at + size, count + 1
    return at, count, at + 4 > left


def is_run(data: bytes, at: int, left: int, last: Run | None = None) -> bool:
    """Whether frames start in data at `at`: `SURE` of them, or all that is left of the file.

    `last` is the run before them, if there is one: less than `SURE` have to be of its kind.
    """
    if at + 4 > len(data) or (word := read_word(data, at)[0]) < SYNC:
        return False
    end, count, ended = walk(data[at : at + LARGEST], 0, left - at)
    fits = not last or kind_of(last.word) == kind_of(word)
    return count >= SURE or (count > 0 and fits and (ended or data.startswith(TAGS, at + end)))


def find_frames(data: bytes, at: int, left: int, last: Run | None = None) -> int:
    """Return where in data, from `at`, frames start; -1 if nowhere. Values are as for `is_run`."""
    while (at := data.find(b"\xff", at)) >= 0 and at + 4 <= len(data):
        if is_run(data, at, left, last):
            return at
        at += 1
    return -1


def find_tag(frame: bytes) -> int:
    """Return where a frame has a Xing, Info or VBRI tag; 0 if it has none."""
    header = parse_header(read_word(frame)[0])
    places = (header.info, 36) if header else ()  # the second: of VBRI
    return next((place for place in places if frame[place : place + 4] in INFO), 0)


def id3_size(data: bytes) -> int:
    """Return the bytes of an ID3 tag that data starts with, or 0."""
    if len(data) < 10 or not data.startswith(b"ID3") or max(data[6:10]) > 127:
        return 0
    size = data[6] << 21 | data[7] << 14 | data[8] << 7 | data[9]
    return size + (20 if data[5] & 16 else 10)  # the second header is at its end


def find_runs(file: BinaryIO, at: int, size: int) -> tuple[list[Run], int]:
    """Return the runs of frames from `at` in a file of `size` bytes, and how many bytes are junk.

    A frame with a Xing, Info or VBRI tag starts a run; a last frame that is cut short is left out.
    """
    runs: list[Run] = []
    junk, tagged = 0, False
    while at + 4 <= size and len(data := read_at(file, at, BLOCK)) >= 4:
        run = next_run(data, at, size, runs[-1] if runs else None)
        if run and runs and run.start == runs[-1].start:
            runs[-1] = run
        elif run:
            runs.append(run)
        if run:
            at, tagged = run.end, False
            continue
        tagged = tagged or data.startswith(TAGS)
        skipped = find_frames(data, 1, size - at, runs[-1] if runs else None)
        if skipped < 0:  # frames can start near the end of data that are not sure there
            skipped = max(1, len(data) - LARGEST) if at + len(data) < size else len(data)
        at, junk = at + skipped, junk + (0 if tagged else skipped)
    return runs, junk


def next_run(data: bytes, at: int, size: int, last: Run | None) -> Run | None:
    """Return the run that starts in a file with data at `at`, or the last one, extended."""
    end, count, _ = walk(data, 0, size - at)
    (word,) = read_word(data)
    follows = last and last.end == at and kind_of(last.word) == kind_of(word)
    if last and count and follows and not find_tag(data[:LARGEST]):
        return last._replace(end=at + end, frames=last.frames + count)
    return Run(at, at + end, count, word) if is_run(data, 0, size - at, last) else None


def read_info(file: BinaryIO, run: Run) -> Info | None:
    """Return what the first frame of a run states, if it is one that has no sound."""
    frame = read_at(file, run.start, SIZES[run.word >> 9 & 0xFFF])
    tag = find_tag(frame)
    if not tag:
        return None
    if frame[tag : tag + 4] == b"VBRI":
        return Info(frame, tag, read_word(frame, tag + 14)[0], False)
    has_both = frame[tag + 7] & 3 == 3
    return Info(frame, tag, read_word(frame, tag + 8)[0] if has_both else 0, has_both)


def correct_info(info: Info, frames: int, size: int) -> bytes:
    """Return a Xing frame that states `frames`, in `size` bytes, and keeps the encoder's delay."""
    frame, tag = bytearray(info.frame), info.tag
    struct.pack_into(">2I", frame, tag + 8, frames, size + len(frame))
    lame = tag + 16 + 100 * (frame[tag + 7] >> 2 & 1) + 4 * (frame[tag + 7] >> 3 & 1)
    if lame + 24 <= len(frame):
        # 12 bits say where in the last frames the sound ends, which is no longer known
        frame[lame + 22] = frame[lame + 22] & 0xF0 | DECODER_DELAY >> 8
        frame[lame + 23] = DECODER_DELAY & 0xFF
    return bytes(frame)


def inspect_mpeg(file: BinaryIO, at: int, size: int) -> Contents:
    """Look at MPEG audio from `at`; what differs in rate or channels is another stream.

    Raises `Damaged` if there is none.
    """
    runs, junk = find_runs(file, at, size)
    if not runs:
        raise Damaged("no frame of MP3 is in it")
    groups = [list(group) for _, group in groupby(runs, lambda run: kind_of(run.word))]
    found = [mpeg_stream(file, group) for group in groups]
    contents = Contents([stream for stream, _, _ in found], notes=describe_junk(junk, size))
    _, frames, stated = found[0]
    if len(found) == 1 and stated:
        contents.share = min(1.0, frames / stated)
        contents.held = frames * header_of(runs[0].word).samples
    return contents


def mpeg_stream(file: BinaryIO, runs: list[Run]) -> tuple[Stream, int, int]:
    """Return the stream of runs of one kind, its frames, and how many it states (0: unknown)."""
    infos = [read_info(file, run) for run in runs]
    first, start, header = infos[0], runs[0].start, header_of(runs[0].word)
    frames = sum(run.frames - bool(info) for run, info in zip(runs, infos))
    stated = sum(info.frames for info in infos if info) if first else 0
    if len(runs) == 1 and first and first.is_xing and first.frames == frames:
        return Stream([(start, runs[0].end)], at=start), frames, stated
    # frames that state lengths are left out
    starts = [run.start + (len(info.frame) if info else 0) for run, info in zip(runs, infos)]
    parts: list[Part] = [(start, run.end) for start, run in zip(starts, runs)]
    count = sum(run.end for run in runs) - sum(starts)
    if first and first.is_xing:
        return Stream([correct_info(first, frames, count), *parts]), frames, stated
    # libmpg123 takes all frames to be as long as the first: zeros make the file that long
    parts.append(max(0, frames * (header.size + 1) - count))
    at = start if len(runs) == 1 and not first else None
    return Stream(parts, at, samples=frames * header.samples), frames, stated


def estimate_seconds(file: BinaryIO, at: int) -> float:
    """Return the duration by the first frame from `at`: what it states, or by its bitrate."""
    at += id3_size(read_at(file, at, 10))
    size = file.seek(0, 2) - at
    data = read_at(file, at, BLOCK)
    start = find_frames(data, 0, size)
    if start < 0:
        return 0.0
    (word,) = read_word(data, start)
    header, info = header_of(word), read_info(file, Run(at + start, at + start, 0, word))
    frames = info.frames if info and info.frames else (size - start) / header.size
    return frames * header.samples / header.rate

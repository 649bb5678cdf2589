"""Where the audio streams of a file lie, and which share of its stated length is there.

libsndfile believes the lengths in headers. Here they are compared with the bytes that are there.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import BinaryIO, NamedTuple

BLOCK = 1 << 18  # bytes read at once
FEW = 1 << 12  # bytes; fewer that are no audio are not worth a word
# programs that write to a pipe state 2 or 4 GiB, less the bytes of a header
PIPED = [range((1 << bits) - FEW, (1 << bits) + 1) for bits in (31, 32)]
FAR = 1 << 40  # bytes; where a header that lies points to, systems can refuse to go
TAIL = 1 << 16  # bytes at the end of a FLAC that hold the start of its last frame
REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))  # the bits of each byte
Part = bytes | int | tuple[int, int]  # bytes, a number of zeros, or where in a file bytes are


class Damaged(Exception):
    """A file is damaged; the message says how."""


class Stream(NamedTuple):
    """An audio stream, as libsndfile has to see it."""

    parts: list[Part]  # what it consists of; a header that is wrong or missing is replaced
    at: int | None = None  # where libsndfile can start in the file itself, which is faster
    samples: int = 0  # per channel, where libsndfile can be wrong; 0: it is right


@dataclass
class Contents:
    """The audio streams of a file, and which share of its stated length is there."""

    streams: list[Stream]
    share: float = 1.0  # how much of what the file states is there
    held: int = 0  # samples per channel that are there; 0: libsndfile is right about them
    stated: int = 0  # samples per channel to be compared with those read; 0: they are not stated
    notes: list[str] = field(default_factory=list)  # what a user should know: "has ..."


def read_at(file: BinaryIO, at: int, count: int) -> bytes:
    """Return up to `count` bytes of a file from `at`."""
    file.seek(min(at, FAR))
    return file.read(count)


def part_size(part: Part) -> int:
    """Return how many bytes a part has."""
    if isinstance(part, tuple):
        return part[1] - part[0]
    return part if isinstance(part, int) else len(part)


def file_size(file: BinaryIO) -> int:
    """Return how many bytes an open file has."""
    return file.seek(0, 2)


def describe_junk(count: int, size: int) -> list[str]:
    """Return a note if many of a file's bytes are no audio."""
    return [f"has {count:,} bytes that are no audio"] if count > max(FEW, size // 100) else []


class Form(NamedTuple):
    """How a family of containers stores its chunks."""

    first: int  # where the first one is
    header: str  # the id and size of a chunk, for struct
    samples: tuple[bytes, ...]  # ids of the chunk with the samples
    align: int  # each chunk starts at a multiple of this
    counted: int = 0  # bytes of the chunk's header that its size includes


FORMS = {
    b"RIFF": Form(12, "<4sI", (b"data",), 2),
    b"RIFX": Form(12, ">4sI", (b"data",), 2),
    b"RF64": Form(12, "<4sI", (b"data",), 2),
    b"FORM": Form(12, ">4sI", (b"SSND", b"BODY"), 2),
    b"riff": Form(40, "<16sQ", (b"data" + bytes.fromhex("f3acd3118cd100c04f8edb8a"),), 8, 24),
    b"caff": Form(8, ">4sq", (b"data",), 1),
}
AU = {b".snd": ">II", b"dns.": "<II"}  # where the samples start, and how many bytes they are


class Chunk(NamedTuple):
    """A chunk of a file."""

    name: bytes
    start: int  # of its content
    size: int  # bytes of that, as stated


class Samples(NamedTuple):
    """Where the samples of a file are, and what it states of them."""

    start: int
    stated: int  # bytes; negative: unknown
    field: int  # where it states them
    format: str  # and how, for struct
    counted: int = 0  # bytes that the statement adds


def read_chunk(file: BinaryIO, at: int, form: Form) -> Chunk | None:
    """Return the chunk at `at`; None if there is none."""
    header = read_at(file, at, struct.calcsize(form.header))
    if len(header) < struct.calcsize(form.header) or not re.match(rb"[ -~]{4}", header):
        return None
    name, size = struct.unpack(form.header, header)
    return Chunk(name, at + len(header), size - form.counted)


def next_chunk(begin: int, end: int, form: Form) -> int:
    """Return where the chunk after one that ends at `end` is, in a file that begins at `begin`."""
    return end + -(end - begin) % form.align


def find_samples(file: BinaryIO, begin: int) -> Samples | None:
    """Return where the samples of a file that begins at `begin` are."""
    magic, wide = read_at(file, begin, 4), None
    if magic in AU:
        start, stated = struct.unpack(AU[magic], read_at(file, begin + 4, 8).ljust(8, b"\0"))
        return Samples(begin + start, stated, begin + 8, AU[magic][:2])
    form = FORMS[magic]
    at, size_format = begin + form.first, form.header[0] + form.header[-1]
    while (chunk := read_chunk(file, at, form)) and (chunk.size >= 0 or chunk.name in form.samples):
        if chunk.name == b"ds64":  # an RF64 states its sizes here
            stated = int.from_bytes(read_at(file, chunk.start + 8, 8), "little")
            wide = Samples(0, stated, chunk.start + 8, "<Q")
        elif chunk.name in form.samples:
            if wide and chunk.size == (1 << 32) - 1:
                return wide._replace(start=chunk.start)
            size_at = chunk.start - struct.calcsize(size_format)
            return Samples(chunk.start, chunk.size, size_at, size_format, form.counted)
        at = next_chunk(begin, chunk.start + chunk.size, form)
    return None


def find_end(file: BinaryIO, begin: int, end: int, size: int) -> int:
    """Return where the file that begins at `begin`, and whose samples end at `end`, ends."""
    magic = read_at(file, begin, 4)
    while magic in FORMS and read_at(file, end, 4) != magic:
        at = next_chunk(begin, end, FORMS[magic])
        if read_at(file, at, 4) == magic:
            return at
        chunk = read_chunk(file, at, FORMS[magic])
        if not chunk or not 0 <= chunk.size <= size - chunk.start:
            break
        end = chunk.start + chunk.size
    return end


def is_open(samples: Samples, size: int, end: int) -> bool:
    """Whether a file of `size` bytes does not state where its samples end.

    `end` is where it would end by what it states.
    """
    there = size - samples.start
    if samples.stated == 0:  # a recorder that lost power does not fill it in
        return samples.start == end < size
    narrow = samples.format[-1] == "I"  # four bytes do not hold more than 4 GiB
    piped = narrow and samples.stated > there and any(samples.stated in sizes for sizes in PIPED)
    return piped or samples.stated < 0 or (narrow and size - end >= PIPED[1].start)


def chunked_stream(file: BinaryIO, begin: int, size: int) -> tuple[Stream, float, int]:
    """Return the stream of a file of chunks, or an AU, that begins at `begin`.

    Also returns which share of the stated length is there, and where the stream ends.
    """
    samples = find_samples(file, begin)
    if not samples or samples.start > size:  # libsndfile says what is wrong
        return Stream([(begin, size)]), 1.0, size
    there = size - samples.start
    end = min(size, find_end(file, begin, samples.start + max(0, samples.stated), size))
    if is_open(samples, size, end):
        end, stated = size, there
    else:
        stated = samples.stated
    if stated == samples.stated and stated <= there:
        return Stream([(begin, end)]), 1.0, end
    field_end = samples.field + struct.calcsize(samples.format)
    most = (1 << 8 * struct.calcsize(samples.format) - 1) * 2 - 1
    size_bytes = struct.pack(samples.format, min(there + samples.counted, most))
    parts: list[Part] = [(begin, samples.field), size_bytes, (field_end, size)]
    return Stream(parts), min(1.0, there / stated) if stated else 1.0, size


def inspect_chunks(file: BinaryIO, begin: int, size: int) -> Contents:
    """Look at a WAV, RF64, W64, AIFF, CAF or AU, or at several that were joined."""
    contents, end, magic = Contents([]), begin, read_at(file, begin, 4)
    while end < size and read_at(file, end, 4) == magic:
        stream, contents.share, end = chunked_stream(file, end, size)
        contents.streams.append(stream)
    contents.notes = describe_junk(size - end, size)
    if contents.streams == [Stream([(0, end)])]:
        contents.streams = [Stream([(0, size)], at=0)]
    return contents


def inspect_flac(file: BinaryIO, begin: int, size: int) -> Contents:
    """Look at a FLAC, or at several that were joined."""
    end = size - 128 if read_at(file, max(0, size - 128), 3) == b"TAG" else size  # ID3
    stream, stated = flac_stream(file, begin, end)
    if stream.samples != stated or is_joined(file, begin, end):
        starts = [begin, *find_all(file, rb"fLaC[\x00\x80]\x00\x00\x22", begin + 1, end)]
        if len(starts) > 1:
            found = [flac_stream(file, *ends) for ends in pairwise([*starts, end])]
            return Contents([stream for stream, _ in found])
    share = min(1.0, stream.samples / stated) if stated and stream.samples else 1.0
    return Contents([stream], share, held=stream.samples, stated=stated)


def is_joined(file: BinaryIO, begin: int, end: int) -> bool:
    """Whether frame numbers of a FLAC go back, or another FLAC starts near its ends."""
    probes = (begin + (end - begin) * eighth // 8 for eighth in range(1, 8))
    frames = (next(find_frames(read_at(file, at, TAIL), 1), None) for at in probes)
    numbers = [frame.first for frame in frames if frame]
    ends = read_at(file, begin + 4, TAIL), read_at(file, max(begin + 4, end - TAIL), TAIL)
    return numbers != sorted(numbers) or any(b"fLaC" in data for data in ends)


def find_all(file: BinaryIO, pattern: bytes, begin: int, end: int) -> Iterator[int]:
    """Yield where a pattern of 8 bytes is in the bytes `begin` to `end` of a file."""
    for at in range(begin, end, BLOCK):
        data = read_at(file, at, min(BLOCK + 7, end - at))
        yield from (at + found.start() for found in re.finditer(pattern, data))


def flac_stream(file: BinaryIO, begin: int, end: int) -> tuple[Stream, int]:
    """Return a FLAC in the bytes `begin` to `end` of a file, and the samples that it states."""
    head = read_at(file, begin, 26).ljust(26, b"\0")
    block, numbers = int.from_bytes(head[10:12]), int.from_bytes(head[18:26])
    stated = numbers & (1 << 36) - 1
    start = max(begin, end - TAIL)
    tail = read_at(file, start, end - start)
    *_, last = None, *find_frames(tail, block)
    if last and last.end == stated:
        return Stream([(begin, end)], begin, stated), stated
    # 0 means unknown: libFLAC reads on to the end
    parts: list[Part] = [(begin, begin + 18), (numbers - stated).to_bytes(8), (begin + 26, end)]
    if not last:
        return Stream(parts), stated
    is_whole = crc(tail[last.at : -2], 16, 0x18005) == int.from_bytes(tail[-2:])
    return Stream(parts, samples=last.end if is_whole else last.first), stated


class Frame(NamedTuple):
    """A frame of a FLAC: where it is, and the number of its first sample and of the next one's."""

    at: int
    first: int
    end: int


def find_frames(data: bytes, block: int) -> Iterator[Frame]:
    """Yield the frames of a FLAC that start in data; `block` is how many samples they have."""
    for found in re.finditer(rb"\xff[\xf8\xf9]", data):
        if frame := read_frame(data, found.start(), block):
            yield frame


def read_frame(data: bytes, start: int, block: int) -> Frame | None:
    """Return the frame of a FLAC whose header is in data at `start`; None if it is not one."""
    header = data[start : start + 16].ljust(16, b"\0")
    length = 8 - (header[4] ^ 0xFF).bit_length()  # the number is coded as UTF-8 codes characters
    at = 4 + max(1, length)
    number = header[4] & 0x7F >> length
    for byte in header[5:at]:
        number = number << 6 | byte & 0x3F
    size, rate = header[2] >> 4, header[2] & 15
    if not size:
        return None
    wide = size - 5 if size in (6, 7) else 0  # bytes that state the size
    code = int.from_bytes(header[at : at + wide]) + 1
    samples = code if wide else 192 if size == 1 else 576 << size - 2 if size < 6 else 1 << size
    at += wide + {12: 1, 13: 2, 14: 2}.get(rate, 0)
    if crc(header[:at], 8, 0x107) != header[at]:
        return None
    first = number if header[1] & 1 else number * block
    return Frame(start, first, first + samples)


def crc(data: bytes, bits: int, polynomial: int) -> int:
    """Return a checksum of data as FLAC uses it."""
    value = 0
    for byte in data:
        value ^= byte << bits - 8
        for _ in range(8):
            value = value << 1 ^ (polynomial if value >> bits - 1 else 0)
    return value


class Page(NamedTuple):
    """A page of an Ogg file."""

    start: int
    end: int
    flags: int  # 2: the first of its stream, 4: the last


def read_pages(file: BinaryIO, at: int, size: int) -> Iterator[Page]:
    """Yield the pages of an Ogg file from `at`, without a last one that is cut short.

    Raises `Damaged` if the checksum of a page does not match.
    """
    while at < size:
        data, i = read_at(file, at, BLOCK), 0
        while len(data) >= i + 27 and data[i : i + 4] == b"OggS":
            start = i + 27 + data[i + 26]
            end = start + sum(data[i + 27 : start])
            if end > len(data):
                break
            if page_crc(data[i:end]) != int.from_bytes(data[i + 22 : i + 26], "little"):
                raise Damaged(f"a checksum does not match after {at + i:,} bytes")
            yield Page(at + i, at + end, data[i + 5])
            i = end
        if i == 0:  # junk, or the file ends within the page
            i = data.find(b"OggS", 1)
            i = len(data) - 3 if i < 0 else i
        at += max(1, i)


def page_crc(page: bytes) -> int:
    """Return the checksum of an Ogg page."""
    # Ogg takes the bits of a byte in the other order than zlib, and starts from 0
    data = (page[:22] + bytes(4) + page[26:]).translate(REVERSED)
    crc = zlib.crc32(data, 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{crc:032b}"[::-1], 2)


def inspect_ogg(file: BinaryIO, begin: int, size: int) -> Contents:
    """Look at an Ogg file, which can be a chain of streams."""
    starts, last = [begin], None
    for page in read_pages(file, begin, size):
        if last and page.flags & 2 and not last.flags & 2:  # several can start at once
            starts.append(page.start)
        elif last and page.start != last.end:
            raise Damaged(f"{page.start - last.end:,} bytes after {last.end:,} are no Ogg")
        last = page
    if not last:
        return Contents([Stream([(begin, size)])])
    links = pairwise([*starts, last.end])
    contents = Contents([Stream([link]) for link in links])
    if not last.flags & 4:
        contents.notes = ["has no end mark: it may be cut short"]
    elif last.end < size:
        contents.notes = describe_junk(size - last.end, size)
    if contents.streams == [Stream([(0, size)])]:
        contents.streams = [Stream([(0, size)], at=0)]
    return contents

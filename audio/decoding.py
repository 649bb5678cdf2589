"""Decode audio files: read to the end of what is there, then compare it with what they state."""

import bisect
import contextlib
import itertools
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray

from audio.containers import (
    AU,
    BLOCK,
    FORMS,
    Contents,
    Damaged,
    Part,
    Stream,
    file_size,
    inspect_chunks,
    inspect_flac,
    inspect_ogg,
    part_size,
    read_at,
)
from audio.ffmpeg import FfmpegDecoder, find_ffmpeg, open_ffmpeg
from audio.formats import COPY, MP3, READ, Kind, conversion, refusal, sniff
from audio.mpeg import estimate_seconds, inspect_mpeg
from audio.quiet import quiet
from support.errors import UserError

HAS_DESCRIPTORS = os.name != "nt"  # that libsndfile can read from
LOWEST_RATE = 1000  # Hz
UNKNOWN_FRAMES = 1 << 40  # what libsndfile states of a FLAC of unknown length is more
STEP = 1 << 18  # 16-bit values that are converted at once, so that they stay in the cache
TAG = 128  # bytes of an ID3 tag at the end of a file
WIDE = 8  # channels; blocks of more have fewer samples


class SoundFile(soundfile.SoundFile):  # type: ignore[misc]
    """A `soundfile.SoundFile` that is only read forwards, and as far as libsndfile goes."""

    def seekable(self) -> bool:
        """Return that it cannot: soundfile would seek after each read, and not all formats can."""
        return False


class Spliced:
    """A file made of bytes and of parts of another file."""

    def __init__(self, file: BinaryIO, parts: list[Part]) -> None:
        self.file, self.parts = file, parts
        # of the parts; the last is the end
        self.starts = [0, *itertools.accumulate(map(part_size, parts))]
        self.place = self.block_start = 0
        self.block = b""
        self.error: OSError | None = None  # libsndfile passes no exceptions on

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place, as files do."""
        self.place = offset + (0, self.place, self.starts[-1])[whence]
        return self.place

    def tell(self) -> int:
        """Return the place."""
        return self.place

    def readinto(self, buffer: memoryview) -> int:
        """Fill a buffer from here on; return how many bytes there were."""
        done = 0
        while done < len(buffer) and 0 <= self.place < self.starts[-1]:
            start = self.place - self.block_start
            data = self.block[start : start + len(buffer) - done] if start >= 0 else b""
            if not data and not self.load(len(buffer) - done):
                break
            buffer[done : done + len(data)] = data
            done, self.place = done + len(data), self.place + len(data)
        return done

    def load(self, count: int) -> bool:
        """Load a block of bytes from here on, `count` if the part has them; whether there are."""
        index = bisect.bisect(self.starts, self.place) - 1
        part, offset = self.parts[index], self.place - self.starts[index]
        self.block_start, self.block = self.place, b""
        if isinstance(part, bytes):
            self.block = part[offset:]
            return True
        count = min(max(count, BLOCK), part_size(part) - offset)
        if isinstance(part, int):  # nothing but a tag at its end is looked for there
            self.block = bytes(count if self.starts[-1] - self.place <= TAG else 0)
            return bool(self.block)
        try:
            self.block = read_at(self.file, part[0] + offset, count)
        except OSError as error:
            self.error = error
        return bool(self.block)


class Decoder:
    """The samples of a file, as libsndfile decodes them; `notes` say what is odd about it."""

    def __init__(self, path: Path, file: BinaryIO, contents: Contents) -> None:
        self.path, self.file, self.contents = path, file, contents
        self.notes, self.streams = list(contents.notes), contents.streams
        if len(self.streams) > 1:
            self.leave_out_others()
        first = self.open(self.streams[0])
        self.samplerate, self.channels = first.samplerate, first.channels
        if self.samplerate < LOWEST_RATE:  # resampling would make a small file huge
            reason = f"its header states {self.samplerate} Hz, less than {LOWEST_RATE}"
            raise UserError(f"{path} cannot be read ({reason}): {COPY}")
        # samples per channel, if it is known how many there are
        self.expected = self.streams[0].samples or first.frames
        self.first: SoundFile | None = first  # until it is read
        if contents.share < 1:
            self.check_length(contents.held or first.frames, contents.share)

    def open(self, stream: Stream) -> SoundFile:
        """Open a stream with libsndfile."""
        with explain_errors(self.path), quiet():
            if stream.at is not None and HAS_DESCRIPTORS:
                os.lseek(self.file.fileno(), stream.at, os.SEEK_SET)
                direct = SoundFile(self.file.fileno(), closefd=False)
                if direct.frames >= stream.samples:
                    return direct
                direct.close()
            return SoundFile(Spliced(self.file, stream.parts))

    def close(self) -> None:
        """Close the first stream if it was not read."""
        if self.first:
            self.first.close()

    def leave_out_others(self) -> None:
        """Leave out streams from the first on that has another sample rate or channels."""
        formats = []
        for stream in self.streams:
            with self.open(stream) as file:
                formats.append((file.samplerate, file.channels))
        same = len(list(itertools.takewhile(lambda each: each == formats[0], formats)))
        if same < len(formats):
            self.notes.append(
                f"holds {len(formats)} recordings, one after the other: from number {same + 1} on "
                "they are left out, for another sample rate or number of channels "
                f"({formats[same][0]} Hz, {formats[same][1]} channels); {conversion(self.path)}"
            )
        self.streams = self.streams[:same]

    def blocks(self, rows: int) -> Iterator[NDArray[np.float32]]:
        """Yield the samples in blocks (rows or fewer, channels), until no more comes.

        Raises `UserError` if they are damaged, not finite, or clearly fewer than the file states.
        """
        read, rows = 0, max(1, rows * WIDE // max(WIDE, self.channels))
        for stream in self.streams:
            with self.first or self.open(stream) as file:
                self.first = None
                for block in self.read_stream(file, stream, rows):
                    read += len(block)
                    yield block
        if not read:
            raise UserError(f"{self.path} holds no sample: {COPY}")
        if self.contents.stated:
            self.check_length(read, read / self.contents.stated)

    def read_stream(
        self, file: SoundFile, stream: Stream, rows: int
    ) -> Iterator[NDArray[np.float32]]:
        """Yield the samples of a stream in blocks (rows or fewer, channels)."""
        done, counted = 0, stream.samples or file.frames
        # libsndfile fills with zeros what it is asked for beyond the end
        while done < counted and len(block := self.read_block(file, min(rows, counted - done))):
            yield block
            done += len(block)
        if stream.at is None:  # more can come; what cannot be read is junk behind the end
            with contextlib.suppress(UserError):
                while done < file.frames and len(block := self.read_block(file, rows)):
                    yield block
                    done += len(block)

    def read_block(self, file: SoundFile, rows: int) -> NDArray[np.float32]:
        """Return the next samples (rows or fewer, channels) of an open file."""
        with explain_errors(self.path), quiet():
            if file.subtype == "PCM_16":
                block = read_16_bit(file, rows)
            else:
                block = file.read(rows, dtype="float32", always_2d=True)
        if isinstance(file.name, Spliced) and file.name.error:
            raise file.name.error
        if file.subtype != "PCM_16" and not np.isfinite(block).all():
            raise UserError(f"{self.path} holds samples that are not numbers (NaN): {COPY}")
        return block

    def check_length(self, rows: int, share: float) -> None:
        """Raise `UserError` if what is there, this share of what is stated, is clearly less."""
        held = rows / self.samplerate
        if share < 0.99 and held / max(share, 1e-9) - held > 0.1:
            stated = (
                f"the {held / share:.1f} s that its header states" if held else "what it states"
            )
            raise UserError(f"{self.path} is cut short, it holds {held:.1f} s of {stated}: {COPY}")


def read_16_bit(file: SoundFile, rows: int) -> NDArray[np.float32]:
    """Return the next samples (rows or fewer, channels) of a 16-bit file."""
    # NumPy converts them in a sixth of libsndfile's time; memory that is used again is fast
    samples = np.empty((rows, file.channels), dtype=np.float32)
    step = np.empty((min(rows, max(1, STEP // file.channels)), file.channels), dtype=np.int16)
    done = 0
    while done < rows and (count := len(read := file.read(out=step[: rows - done]))):
        np.multiply(read, np.float32(2**-15), out=samples[done : done + count])
        done += count
    return samples[:done]


@contextlib.contextmanager
def explain_errors(path: Path) -> Iterator[None]:
    """Turn errors of libsndfile, and signs of damage, inside `with` into `UserError`."""
    try:
        yield
    except (soundfile.SoundFileError, Damaged) as error:
        reason = getattr(error, "error_string", "") or str(error) or "its data are damaged"
        reason = reason.removeprefix("Error : ").rstrip(".")
        raise UserError(f"{path} cannot be read ({reason}): {COPY}") from error


def inspect(file: BinaryIO, kind: Kind, at: int) -> Contents:
    """Return what is in a file of a kind that libsndfile reads, and that starts at `at`."""
    size, magic = file_size(file), read_at(file, at, 4)
    if kind.name.startswith("MP3"):
        return inspect_mpeg(file, at, size)
    if magic == b"fLaC":
        return inspect_flac(file, at, size)
    if magic == b"OggS":
        return inspect_ogg(file, at, size)
    if magic in FORMS or magic in AU:
        return inspect_chunks(file, at, size)
    return Contents([Stream([(at, size)], at=at)])


@contextlib.contextmanager
def open_audio(path: str | Path) -> Iterator[Decoder | FfmpegDecoder]:
    """Open an audio file inside `with`; raises `UserError` if it is missing or not readable."""
    path = Path(path)
    if not path.is_file():
        remedy = "is not a file: leave it out"
        missing = "is missing: put it there, or leave it out"
        raise UserError(f"{path} {remedy if path.exists() else missing}")
    with open(path, "rb", buffering=0) as file:  # libsndfile reads from its descriptor
        kind, at = sniff(file)
        if kind in READ or kind is MP3:
            with explain_errors(path):
                contents = inspect(file, kind, at)
            with contextlib.closing(Decoder(path, file, contents)) as decoder:
                yield decoder
            return
    if kind.remedy or not find_ffmpeg():
        raise refusal(path, kind)
    with open_ffmpeg(path) as other:
        yield other


def audio_seconds(path: str | Path) -> float:
    """Return the duration in a file's header, for estimates only; infinite if it is not stated."""
    with open(path, "rb", buffering=0) as file, explain_errors(Path(path)), quiet():
        kind, at = sniff(file)
        if kind.name.startswith("MP3"):
            return estimate_seconds(file, at)
        if kind not in READ:
            return math.inf
        with SoundFile(Spliced(file, [(at, file_size(file))])) as opened:
            known = opened.frames < UNKNOWN_FRAMES
            return opened.frames / opened.samplerate if known else math.inf

"""Read audio through ffmpeg, where it is installed: by a pipe, in memory that does not grow."""

import contextlib
import functools
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from audio.formats import COPY
from support.errors import UserError


@functools.cache
def find_ffmpeg() -> str:
    """Return the path of ffmpeg, the system's or that of imageio-ffmpeg; "" if there is none."""
    found = shutil.which("ffmpeg")
    if found or not find_spec("imageio_ffmpeg"):
        return found or ""
    from imageio_ffmpeg import get_ffmpeg_exe  # optional

    with contextlib.suppress(RuntimeError):  # there is no binary for this system
        return str(get_ffmpeg_exe())
    return ""


class FfmpegDecoder:
    """The samples of a file, as ffmpeg decodes them."""

    notes: tuple[str, ...] = ()
    expected = 1 << 62  # samples per channel: unknown

    def __init__(self, path: Path, output: IO[bytes], errors: IO[bytes]) -> None:
        self.path, self.output, self.errors = path, output, errors
        header = output.read(24)  # of an AU file
        if len(header) < 24:
            self.fail()
        _, start, _, _, self.samplerate, self.channels = struct.unpack(">4s5I", header)
        output.read(start - 24)

    def blocks(self, rows: int) -> Iterator[NDArray[np.float32]]:
        """Yield the samples in blocks (rows or fewer, channels)."""
        while data := self.output.read(rows * self.channels * 4):
            yield np.frombuffer(data, ">f4").astype(np.float32).reshape(-1, self.channels)
        self.errors.seek(0)
        if self.errors.read(1):
            self.fail()

    def fail(self) -> None:
        """Raise `UserError` with the first line that ffmpeg printed."""
        self.errors.seek(0)
        lines = self.errors.read(1 << 12).decode(errors="replace").splitlines()
        reason = lines[0].rpartition("] ")[2] if lines else "it has no audio"
        raise UserError(f"{self.path} cannot be read by ffmpeg ({reason}): {COPY}")


@contextlib.contextmanager
def open_ffmpeg(path: Path) -> Iterator[FfmpegDecoder]:
    """Decode a file with ffmpeg inside `with`; it ends there, also if not all was read."""
    command: list[str | bytes] = [
        find_ffmpeg(),
        "-nostdin",
        "-v",
        "error",
        "-protocol_whitelist",
        "file",
    ]
    # the name is a path, whatever it looks like; bytes, since not every name is UTF-8
    command += ["-i", b"file:" + os.fsencode(path)]
    command += ["-map", "0:a:0", "-c:a", "pcm_f32be", "-f", "au", "-"]
    with tempfile.TemporaryFile() as errors:  # a pipe that nobody reads could fill up
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors)
        assert process.stdout
        try:
            yield FfmpegDecoder(path, process.stdout, errors)
        finally:
            process.kill()
            process.stdout.close()
            process.wait()

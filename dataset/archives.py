"""Unpack files of an archive, tar or zip, of which nothing is trusted.

A tar is read as a stream to its very end, where the checksum of its compression is. What headers
state is checked before it is believed, and bounded: sizes, paths, kinds of files. Files are written
here, not by `tarfile` or `zipfile`, so that owners, modes and times of the archive have no effect.
"""

import bz2
import errno
import gzip
import lzma
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

from support.errors import UserError

OPENERS: dict[bytes, Callable[[Path], Any]] = {  # by the first bytes
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\0": lzma.open,
    b"]\0\0": lzma.open,
}
EXTENDED = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME)
IGNORED = (tarfile.XGLTYPE, tarfile.GNUTYPE_LONGLINK)
BLOCK = tarfile.BLOCKSIZE
PART = 1 << 20  # bytes of a file in memory at once
LATEST = 2**36  # seconds since 1970, or before
LARGEST_HEADER = 2**16  # bytes of an extended tar header, which is read into memory
LARGEST_FILE = 100 * 2**20  # bytes; a track of GTZAN has 1.3 MB
LARGEST_ARCHIVE = 8 * 2**30  # bytes, unpacked; copies of GTZAN with pictures have less than 2 GB
LARGEST_END = 2**24  # bytes of the zeros at the end of a tar; at most 2**20 are usual
LARGEST_RATIO = 50  # of unpacked to packed bytes, beyond LARGEST_FILE; music has 1 to 2


class Member(NamedTuple):
    """A member of an archive."""

    path: PurePosixPath
    size: int  # bytes, unpacked
    kind: str  # "file", "folder", or what else it is
    content: Iterator[bytes]


class Stream:
    """A file that is read in exact amounts, up to a limit in bytes."""

    def __init__(self, file: IO[bytes], limit: int) -> None:
        self.file, self.left = file, limit

    def read(self, size: int) -> bytes:
        """Return the next `size` bytes. Raises `EOFError` if there are fewer."""
        self.left -= size
        if self.left < 0:
            raise UserError("the archive unpacks to far more than its size: too large for GTZAN")
        data = self.file.read(size)
        if len(data) < size:
            raise EOFError("it is cut short")
        return data

    def parts(self, size: int) -> Iterator[bytes]:
        """Yield the next `size` bytes in parts, then skip the rest of their block."""
        for start in range(0, size, PART):
            yield self.read(min(PART, size - start))
        self.read(-size % BLOCK)

    def check_end(self) -> None:
        """Read to the end, which meets the checksum. Raises `ReadError` for other than zeros."""
        left = LARGEST_END
        while data := self.file.read(PART):
            left -= len(data)
            if left < 0 or data.count(0) < len(data):
                raise tarfile.ReadError("data follow its end mark")


def read_tar(archive: Path, start: bytes, limit: int) -> Iterator[Member]:
    """Yield the members of a tar that begins with `start`, one after another."""
    plain: Callable[[Path], Any] = partial(open, mode="rb")
    opener = next((OPENERS[key] for key in OPENERS if start.startswith(key)), plain)
    with opener(archive) as file:
        stream = Stream(file, 2 * limit + LARGEST_HEADER)  # headers and padding come on top
        extended: dict[str, str] = {}
        while any(header := stream.read(BLOCK)):  # zeros are the end mark
            info = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
            if info.size < 0 or abs(info.mtime) > LATEST:
                raise tarfile.ReadError(f"it states {info.size} bytes of the time {info.mtime}")
            if info.type in (*EXTENDED, *IGNORED):
                extended |= read_extension(info, stream)
                continue
            member = tar_member(info, extended, stream)
            yield member
            for _ in member.content:  # what was not used
                pass
            extended = {}
        stream.check_end()


def read_extension(info: tarfile.TarInfo, stream: Stream) -> dict[str, str]:
    """Return what an extended header states of the next member, such as its path."""
    if info.size > LARGEST_HEADER:
        raise UserError(f"the archive holds a header of {info.size / 1e6:.0f} MB: not unpacked")
    data = b"".join(stream.parts(info.size))
    if info.type in IGNORED:
        return {}
    if info.type == tarfile.GNUTYPE_LONGNAME:
        return {"path": data.partition(b"\0")[0].decode(errors="surrogateescape")}
    values, at = {}, 0
    while at < len(data):  # records such as b"18 path=jazz/a.wav\n"
        length = int(data[at : data.index(b" ", at)])
        if length < 1:
            raise ValueError("a record of an extended header has no length")
        key, _, value = data[at : at + length - 1].decode(errors="surrogateescape").partition("=")
        values[key.partition(" ")[2]] = value
        at += length
    return values


def tar_member(info: tarfile.TarInfo, extended: dict[str, str], stream: Stream) -> Member:
    """Return the member of a header and what the extended headers before it state."""
    regular = info.type in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
    sparse = any(key.startswith("GNU.sparse") for key in extended)
    size = int(extended.get("size", info.size)) if regular else 0
    kind = "folder" if info.isdir() else "file" if regular and not sparse else "a link or a device"
    if size < 0:
        raise tarfile.ReadError(f"it states {size} bytes")
    return Member(posix_path(extended.get("path", info.name)), size, kind, stream.parts(size))


def posix_path(name: str) -> PurePosixPath:
    """Return the path of a member, also if its name has backslashes, as on Windows."""
    return PurePosixPath(name.replace("\\", "/"))


def read_zip(archive: Path) -> Iterator[Member]:
    """Yield the members of a zip; `zipfile` compares names and checksums where content is read."""
    with zipfile.ZipFile(archive) as file:
        for info in file.infolist():
            is_link = stat.S_ISLNK(info.external_attr >> 16)
            kind = "a link" if is_link else "folder" if info.is_dir() else "file"
            yield Member(posix_path(info.filename), info.file_size, kind, zip_content(file, info))


def zip_content(file: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    """Yield the content of a member of a zip in parts. Raises `BadZipFile` if its size differs."""
    size = 0
    with file.open(info) as content:
        while part := content.read(PART):
            yield part
            size += len(part)
    if size != info.file_size:
        raise zipfile.BadZipFile(f"{info.filename!r} has {size} bytes, not {info.file_size}")


def check_member(member: Member, total: int, limit: int) -> None:
    """Raise `UserError` for an unsafe member, the last of `total` bytes so far."""
    path, name = member.path, str(member.path)
    if path.is_absolute() or ".." in path.parts or ":" in name:
        raise UserError(f"the archive holds {name!r}, which leads out of its folder: not unpacked")
    if member.size > LARGEST_FILE or total > limit:
        raise UserError(
            f"the archive holds {name!r} of {member.size / 1e6:.0f} MB, {total / 1e6:.0f} MB so "
            "far: too large for GTZAN"
        )
    if member.kind not in ("file", "folder"):
        raise UserError(f"the archive holds {name!r}, which is {member.kind}")


def unpack(archive: Path, folder: Path, is_wanted: Callable[[PurePosixPath], bool]) -> None:
    """Unpack the wanted files of an archive into a folder.

    Raises `UserError` if the archive is unsafe or damaged; what was unpacked until then is useless.
    """
    limit = min(LARGEST_ARCHIVE, LARGEST_FILE + LARGEST_RATIO * archive.stat().st_size)
    total = 0
    try:
        with open(archive, "rb") as file:
            start = file.read(6)
        is_zip = start.startswith((b"PK\3\4", b"PK\5\6"))
        for member in read_zip(archive) if is_zip else read_tar(archive, start, limit):
            total += member.size
            check_member(member, total, limit)
            if member.kind == "file" and is_wanted(member.path):
                (folder / member.path).parent.mkdir(parents=True, exist_ok=True)
                with open(folder / member.path, "wb") as file:
                    file.writelines(member.content)
    except UserError:
        raise
    except Exception as error:  # of many kinds: zlib, lzma, zipfile, struct ...
        number = getattr(error, "errno", None)
        full = number and number != errno.EINVAL  # `zipfile` may seek to where nothing can be
        remedy = "free some space, or pass another --path" if full else "get it again"
        reason = str(error) or type(error).__name__
        raise UserError(f"{archive} cannot be unpacked ({reason}): {remedy}") from error

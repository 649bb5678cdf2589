"""Helpers for files: atomic writes, JSON with a hash, links, hashes, locks, free names."""

import contextlib
import hashlib
import json
import os
import platform
import re
import shutil
import stat
import sys
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock, Timeout

from support.errors import UserError, visible

END = 1 << 16  # bytes at each end of a source that are hashed
HASH = "sha256"  # the key of a JSON file's own hash
KEY = b', "line_crc32": "'
CHECKSUM = KEY + b'%08x"}'  # the end of a line of a file of lines

PARTIAL = re.compile(r"\d+-\d+\.part")  # the names that `partial_path` gives


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    # a file name in the text can have bytes that are not UTF-8: they are escaped, as JSON does
    data = text.encode(errors="backslashreplace")
    write_atomic(path, lambda file: file.write(data))


def write_atomic(path: Path, write: Callable[[BinaryIO], object], durable: bool = True) -> None:
    """Create a file with `write(file)`; it appears whole or not at all.

    Without `durable` this holds for a killed process, but not for a power failure. Raises
    `UserError` if it cannot be written, for example because the disk is full.
    """
    partial = partial_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "wb") as file:
            write(file)
            if durable:  # after a power failure the file is the old or the new one
                file.flush()
                os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror or error}): free some space, or choose "
            "another name or folder; finished files are whole"
        ) from error
    finally:
        with contextlib.suppress(OSError):  # its folder can be a file
            partial.unlink()


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write values as JSON, atomically, with a hash of them that `read_json` checks."""
    signed = values | {HASH: hash_values(values)}
    write_text(path, json.dumps(signed, indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Return the values that `write_json` wrote; files of older versions have no hash.

    Raises `ValueError` if the file is damaged, `FileNotFoundError` if it is missing.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError("too many brackets") from error
    if not isinstance(values, dict):
        raise ValueError("not a JSON object")
    stated = values.pop(HASH, None)
    if stated is not None and stated != hash_values(values):
        raise ValueError("its content does not match its hash")
    return values


def json_line(value: dict[str, Any]) -> bytes:
    """Return values as one line of JSON, whose last value is a checksum of the line before it."""
    line = json.dumps(value, allow_nan=False).encode()[:-1]
    return line + CHECKSUM % zlib.crc32(line) + b"\n"


def parse_lines(lines: list[bytes]) -> list[Any]:
    """Return the values of lines without their ends; None for a line that is damaged."""
    parts = [line.rpartition(KEY) for line in lines]
    checked = [
        part[0] + b"}" if part[1] + part[2] == CHECKSUM % zlib.crc32(part[0]) else b"null"
        for part in parts
    ]
    with contextlib.suppress(ValueError, RecursionError):
        if len(values := json.loads(b"[" + b",".join(checked) + b"]")) == len(lines):
            return list(values)
    if len(lines) == 1:
        return [None]
    return [value for line in lines for value in parse_lines([line])]


def hash_values(values: Any) -> str:
    """Return a hash of plain values, as 32 hex digits."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:32]


def place_name(folder: str | Path) -> str:
    """Return a folder's name with a hash of its path, since folders can share a name."""
    path = Path(folder).resolve()
    return f"{path.name}-{hashlib.sha256(os.fsencode(path)).hexdigest()[:8]}"


@contextlib.contextmanager
def explain_damage(path: Path, remedy: str) -> Iterator[None]:
    """Turn any error of reading a damaged file inside `with` into a `UserError` with a remedy."""
    try:
        yield
    except (UserError, OSError):
        raise
    except Exception as error:
        what = visible(f"{type(error).__name__}: {error}")[:200]
        raise UserError(f"{path} is damaged ({what}): {remedy}") from error


def own_path(folder: Path, name: str) -> Path:
    """Return `folder/name`, a file to write or delete.

    Raises `UserError` if a link leads from there to another folder, whose files are not ours.
    """
    path = folder / name
    if path.parent.resolve() != (folder.resolve() / name).parent:
        raise UserError(
            f"{path.parent} leads out of {folder}, to {path.parent.resolve()}: remove that link, "
            "or choose another folder"
        )
    return path


def partial_path(path: Path) -> Path:
    """Return the temporary path of a file that this thread writes."""
    # not the file's name with a suffix: the name can already be as long as the system allows
    return path.with_name(f"{os.getpid()}-{threading.get_ident()}.part")


def delete_partials(folder: Path, below: bool = True) -> None:
    """Delete the temporary files that killed processes left in a folder, and `below` it."""
    for path in folder.glob("**/*.part" if below else "*.part"):
        if PARTIAL.fullmatch(path.name):  # others belong to the user
            path.unlink(missing_ok=True)


def link_or_copy(source: Path, target: Path) -> None:
    """Hard-link a file, or copy it if that fails; the target appears whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_path(target)
    try:
        os.link(source.resolve(), partial)
        partial.replace(target)
    except OSError:
        with open(source, "rb") as original:
            write_atomic(target, lambda file: shutil.copyfileobj(original, file))
    finally:
        partial.unlink(missing_ok=True)  # `replace` does nothing if both are links to one file


def hash_file(path: str | Path) -> str:
    """Return a hash of a file's content, as 32 hex digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]


def source_state(path: str | Path) -> dict[str, Any]:
    """Return what identifies a file's content: size, times, and a hash of both ends.

    Raises `FileNotFoundError`, or `UserError` if it is not a regular file.
    """
    status = os.stat(path)  # noqa: PTH116 - a Path takes three times as long
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for its writer
        raise UserError(f"{path} is not a file: leave it out")
    return {
        "size": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "ctime_ns": status.st_ctime_ns,
        "ends": hash_ends(path, status.st_size),
    }


def is_unchanged(path: str | Path, state: dict[str, Any]) -> bool:
    """Whether a file is the one that `source_state` saw. Raises `FileNotFoundError`."""
    status = os.stat(path)  # noqa: PTH116
    if (status.st_size, status.st_mtime_ns) != (state["size"], state["mtime_ns"]):
        return False
    # any change of a file changes its ctime, and so do a copy and a link to it
    return (
        status.st_ctime_ns == state["ctime_ns"] or hash_ends(path, status.st_size) == state["ends"]
    )


def hash_ends(path: str | Path, size: int) -> str:
    """Return a hash of the first and last 64 KiB of a file, as 32 hex digits."""
    with open(path, "rb") as file:
        data = file.read(END)
        file.seek(max(END, size - END))
        data += file.read(END)
    return hashlib.sha256(data).hexdigest()[:32]


@contextlib.contextmanager
def lock(path: Path, message: str, wait: bool = False, delete: bool = False) -> Iterator[None]:
    """Hold a lock file inside `with`, so that no other process works on the same files.

    If another process holds it, raises `UserError(message)`, with its holder, or with `wait` prints
    that and waits. With `delete` the file is deleted at the end.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file_lock, owner = FileLock(path), path.with_name(f"{path.name}.owner")
    try:
        held = file_lock.acquire(timeout=0)
    except Timeout as error:
        with contextlib.suppress(OSError):  # its holder can end at any moment
            message += f" (held by {visible(owner.read_text(encoding='utf-8'))})"
        if not wait:
            raise UserError(message) from error
        print(message, flush=True)
        held = file_lock.acquire()
    with held:
        script = Path(sys.argv[0]).name or "python"
        owner.write_text(f"{script}, process {os.getpid()} on {platform.node()}", encoding="utf-8")
        try:
            yield
        finally:
            # while it is held: others that have it open notice that it is gone, and make a new one
            for file in [owner, path] if delete else [owner]:
                with contextlib.suppress(OSError):  # Windows deletes no open file
                    file.unlink()


def newest(paths: Iterable[Path]) -> Path | None:
    """Return the path that was modified last, or None if there are no paths."""
    return max(paths, key=lambda path: path.stat().st_mtime_ns, default=None)


def free_name(path: Path, taken: set[Path]) -> Path:
    """Return `path`, or name-2, name-3 ... if that is taken, and add it to `taken`."""
    free, number = path, 2
    while free in taken:
        free, number = path.with_name(f"{path.stem}-{number}{path.suffix}"), number + 1
    taken.add(free)
    return free

"""Helpers for files: atomic writes, links, hashes, locks, free names."""

import contextlib
import hashlib
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout

from support.errors import UserError

PARTIAL = re.compile(r"\d+-\d+\.part")  # the names that `partial_path` gives


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    # a file name in the text can have bytes that are not UTF-8: they are escaped, as JSON does
    data = text.encode(errors="backslashreplace")
    write_atomic(path, lambda file: file.write(data))


def write_atomic(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Create a file with `write(file)`; it appears whole or not at all.

    Raises `UserError` if it cannot be written, for example because the disk is full.
    """
    partial = partial_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "wb") as file:
            write(file)
        partial.replace(path)
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror or error}): free some space, or choose "
            "another name or folder; finished files are whole"
        ) from error
    finally:
        with contextlib.suppress(OSError):  # its folder can be a file
            partial.unlink()


def partial_path(path: Path) -> Path:
    """Return the temporary path of a file that this thread writes."""
    # not the file's name with a suffix: the name can already be as long as the system allows
    return path.with_name(f"{os.getpid()}-{threading.get_ident()}.part")


def delete_partials(folder: Path) -> None:
    """Delete the temporary files that killed processes left in a folder and below it."""
    for path in folder.rglob("*.part"):
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


def source_state(path: str | Path) -> dict[str, int]:
    """Return a file's size in bytes and modification time, to notice when it changes."""
    status = os.stat(path)  # noqa: PTH116 - a Path takes three times as long
    return {"size": status.st_size, "mtime_ns": status.st_mtime_ns}


@contextlib.contextmanager
def lock(path: Path, message: str, wait: bool = False) -> Iterator[None]:
    """Hold a lock file inside `with`, so that no other process works on the same files.

    If another process holds it, raises `UserError(message)`, or with `wait` prints the message and
    waits.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file_lock = FileLock(path)
    try:
        held = file_lock.acquire(timeout=0)
    except Timeout as error:
        if not wait:
            raise UserError(message) from error
        print(message, flush=True)
        held = file_lock.acquire()
    with held:
        yield


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

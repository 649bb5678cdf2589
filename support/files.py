"""Files that appear whole or not at all, hashes of files, links."""

import contextlib
import hashlib
import os
import shutil
import threading
from pathlib import Path

from support.errors import UserError


def write_text(path, text):
    r"""Write a text file, UTF-8, that appears whole or not at all.

    Bytes of a file's name that are no UTF-8 are escaped, \udce9 for one, as JSON does it too.
    """
    data = text.encode(errors="backslashreplace")
    write_atomic(path, lambda file: file.write(data))


def hash_file(path):
    """A hash of a file's content, to tell the same file by."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]


def source_state(path):
    """What tells whether a source file has changed: its size in bytes and modification time."""
    status = Path(path).stat()
    return {"size": status.st_size, "mtime_ns": status.st_mtime_ns}


def write_atomic(path, write):
    """Have `write(file)` fill the file at `path`, which appears whole or not at all.

    Raises `UserError` where that cannot be, on a full disk, say.
    """
    # one of this thread's own, and short: the name itself may be as long as names can be
    partial = path.with_name(f"{os.getpid()}-{threading.get_ident()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "wb") as file:
            write(file)
        partial.replace(path)
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror or error}): make room, or choose another "
            "name or folder; what was finished before is whole"
        ) from error
    finally:
        with contextlib.suppress(OSError):  # where its folder is a file, say
            partial.unlink()


def place(source, target):
    """Link a file, or copy it where links do not reach, to a path that it appears at whole."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{os.getpid()}-{threading.get_ident()}.part")
    try:
        os.link(source.resolve(), partial)
        partial.replace(target)
    except OSError:
        with open(source, "rb") as original:
            write_atomic(target, lambda file: shutil.copyfileobj(original, file))
    finally:
        partial.unlink(missing_ok=True)  # stays behind where the target was this file already

"""Keep off the terminal what libmpg123, in libsndfile, prints of damaged MP3s.

Its notes name no file, and libsndfile cannot turn them off. Only the C library's own `stderr` is
turned away: Python, and other processes, print to the same descriptor as before.
"""

import contextlib
import ctypes
import sys
import threading
from collections.abc import Iterator

lock = threading.Lock()
users = 0


def find_streams() -> tuple[ctypes.c_void_p, int | None, int | None] | None:
    """Return the C library's variable `stderr`, its value, and a stream that leads nowhere.

    Returns None where it is no variable: with other libraries than glibc and that of macOS.
    """
    name = {"linux": "stderr", "darwin": "__stderrp"}.get(sys.platform)
    libc = ctypes.CDLL(None) if name else None
    if not name or not libc or (name == "stderr" and not hasattr(libc, "gnu_get_libc_version")):
        return None
    variable = ctypes.c_void_p.in_dll(libc, name)
    libc.fopen.restype = ctypes.c_void_p
    nowhere = libc.fopen(b"/dev/null", b"w")  # never closed, since a thread can hold it
    return (variable, variable.value, nowhere) if nowhere else None


STREAMS = find_streams()


def count_user(more: int) -> None:
    """Count who needs quiet: the first turns `stderr` away, the last turns it back."""
    global users
    if STREAMS:
        variable, terminal, nowhere = STREAMS
        with lock:
            users += more
            variable.value = nowhere if users else terminal


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Let C libraries print nothing inside `with`."""
    count_user(1)
    try:
        yield
    finally:
        count_user(-1)

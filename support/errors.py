"""`UserError`, for what a user can fix, and what becomes of errors: of one item, or of a script."""

import contextlib
import os
import re
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn, TextIO, TypeVar

LOG = "errors.log"
# control and bidirectional characters, line separators, and bytes that are not UTF-8
UNSEEN = re.compile("[\0-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
Item = TypeVar("Item")
Result = TypeVar("Result")


class UserError(Exception):
    """An error that the user can fix; its message has the value, the rule and the next command."""


def visible(text: object) -> str:
    r"""Return text with control and bidirectional characters as escapes, for names in messages.

    >>> print(visible("a\nb\x1b[2J"))
    a\nb\x1b[2J
    """
    return UNSEEN.sub(lambda found: found.group().encode("unicode_escape").decode(), str(text))


def explain(error: Exception, subject: object) -> str:
    """Return the message for an item, such as a track, that failed with any error.

    The traceback of an unexpected error, which is a bug, is appended to `errors.log`.
    """
    name = visible(subject)
    if isinstance(error, UserError):
        return visible(error)
    if isinstance(error, FileNotFoundError):
        return f"{name} is missing: put it there, or leave it out"
    if isinstance(error, OSError):
        reason = error.strerror or error
        return f"{name} cannot be read ({reason}): check its permissions and disk, or leave it out"
    if isinstance(error, MemoryError):
        return f"{name} does not fit into memory: lower --num_workers, or cut it"
    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}"
    log = log_traceback(error, name)
    return f"{name}: unexpected {where} ({visible(error)}): a bug; the traceback is in {log}"


def log_traceback(error: Exception, subject: str) -> Path:
    """Append the traceback of an error to `errors.log`; return the path of the log."""
    lines = traceback.format_exception(error)
    text = f"{time.strftime('%Y-%m-%d %H:%M:%S')} {subject}\n{''.join(lines)}\n"
    for folder in (Path(), Path(tempfile.gettempdir())):  # the current folder can be read-only
        with (
            contextlib.suppress(OSError),
            open(folder / LOG, "a", encoding="utf-8", errors="backslashreplace") as file,
        ):
            file.write(text)
            break
    return folder / LOG


def continue_past_errors(
    function: Callable[[Item], Result], items: Iterable[Item | UserError], failed: list[str]
) -> Iterator[Result]:
    """Yield `function(item)` for each item, for example the paths of `find_audio`.

    Any error of one item is printed and its message added to `failed`; the others still run.
    """
    for item in items:
        try:
            if isinstance(item, UserError):
                raise item
            result = function(item)
        except BrokenPipeError:  # the reader of our output, such as `head`, has ended
            raise
        except Exception as error:
            failed.append(explain(error, item))
            print(f"broken: {failed[-1]}", file=sys.stderr)
        else:
            yield result


class VisibleStream:
    """A text stream that shows control characters as escapes, so that no file name acts on it."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        if hasattr(stream, "reconfigure"):  # the console's encoding can lack characters of a path
            stream.reconfigure(errors="backslashreplace")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Write text; line feeds, carriage returns and tabs stay."""
        parts = re.split("([\n\r\t])", text)
        return self.stream.write("".join(p if p in "\n\r\t" else visible(p) for p in parts))


def stop(number: int, _: object) -> NoReturn:
    """Handle a signal as Ctrl-C is handled, so that what is done is written."""
    raise KeyboardInterrupt(number)


def handle_signals() -> None:
    """Let SIGTERM, and SIGHUP unless it is ignored (`nohup`), end the script like Ctrl-C."""
    for name in ("SIGTERM", "SIGHUP"):  # Windows lacks the second
        number = getattr(signal, name, None)
        if number and signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, stop)


def run_script(main: Callable[[], int | None]) -> NoReturn:
    """Run `main` and exit with its status; an error prints one line and exits with 1."""
    handle_signals()
    out, err = (VisibleStream(stream) for stream in (sys.stdout, sys.stderr))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main()
            sys.stdout.flush()  # here, so that a broken pipe is noticed
        except BrokenPipeError:  # `python predict.py music | head` is no error
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Python flushes once more at its end
            status = 128 + 13  # as if ended by SIGPIPE
        except (UserError, OSError) as error:
            status = fail(str(error))
        except KeyboardInterrupt as error:
            print("interrupted", file=sys.stderr)
            status = 128 + (error.args[0] if error.args else signal.SIGINT)
        except Exception as error:
            status = fail(explain(error, Path(sys.argv[0]).name))
    sys.exit(status)


def fail(message: str) -> int:
    """Print an error; return the exit status."""
    print(f"error: {message}", file=sys.stderr)
    return 1

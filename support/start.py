"""Imported first by each script: a script can be stopped while its modules load.

Ctrl-C then prints no traceback; and it stops a script wherever it comes, also in a finalizer. A
process started by another one with `END_WITH_PARENT` set, and a pipe as its standard input, ends
when that process ends, however that happens.
"""

import _thread
import os
import signal
import sys
import threading
from types import TracebackType
from typing import Any

END_WITH_PARENT = "END_WITH_PARENT"


def report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print an error that nothing caught; `KeyboardInterrupt` without its traceback."""
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


def send_again(dropped: Any) -> None:
    """Let a Ctrl-C come again that came where Python drops it: in a finalizer or a callback."""
    if not issubclass(dropped.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(dropped)
        return
    number = dropped.exc_value.args if dropped.exc_value else ()
    # later, since here Python would drop it too
    timer = threading.Timer(0.05, _thread.interrupt_main, number or [signal.SIGINT])
    timer.daemon = True
    timer.start()


def wait_for_parent() -> None:
    """End this process when the other end of standard input is closed."""
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


sys.excepthook, sys.unraisablehook = report, send_again
if os.environ.pop(END_WITH_PARENT, ""):  # not for the children of this process
    threading.Thread(target=wait_for_parent, daemon=True).start()

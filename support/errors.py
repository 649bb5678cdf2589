"""`UserError`, for what a user can fix, and `run_script`, which prints it and exits."""

import sys
from collections.abc import Callable
from typing import NoReturn


class UserError(Exception):
    """An error that the user can fix; its message has the value, the rule and the next command."""


def run_script(main: Callable[[], int | None]) -> NoReturn:
    """Run `main` and exit with its status; a `UserError` prints one line and exits with 1."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # a path can have characters that the console's encoding lacks
            stream.reconfigure(errors="backslashreplace")
    try:
        sys.exit(main())
    except (UserError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)

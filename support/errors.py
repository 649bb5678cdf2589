"""Errors that speak to a person."""

import sys


class UserError(Exception):
    """Something its user can put right; the message holds the value, the rule and the next step."""


def run_script(main):
    """Run a script's `main`; what its user can put right is one message and exit status 1."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a console may lack letters of a path
    try:
        sys.exit(main())
    except UserError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)

"""What `pip install .` finds in pyproject.toml: it ends with one line instead of a wrong package.

The scripts work with files of the repository, such as recipes, and their modules have everyday
names (`model`, `audio`): installed among other packages, they would be in the way.
"""

import sys
from typing import NoReturn


def refuse(*_: object) -> NoReturn:
    """End the build."""
    sys.exit("this project is not installed, but run in its folder: make demo (see README.md)")


# the names that pip and other frontends call (PEP 517, PEP 660)
get_requires_for_build_wheel = get_requires_for_build_editable = refuse
get_requires_for_build_sdist = refuse
build_wheel = build_editable = build_sdist = refuse

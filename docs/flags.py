"""Write docs/flags.md: every setting of the pipeline, from the fields of `HParams`.

    python docs/flags.py

A test fails if the page is out of date.
"""

import dataclasses
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from hparams import HParams

PAGE = ROOT / "docs" / "flags.md"
INTRODUCTION = """\
# Flags

<!-- Written by `python docs/flags.py`. Edit the fields of `HParams` in hparams.py instead. -->

These are the settings of the pipeline. Each is a field of `HParams` in `hparams.py`, and a flag of
the scripts that read it:

- `feature_extraction.py` and `train_test.py` take all of them, so that both take the same recipe.
- `classic.py` takes all except those for training and augmentation.
- The other scripts take the settings that they read.
- A flag that a script does not read is an unknown flag, and an error.

`--genres blues rock` and `--genres blues,rock` are the same. `--skip_broken` and `--no-skip_broken`
switch a setting on and off. `@my.args` reads flags from a file, in which `#` begins a comment;
write a path in it with `/`, or in quotes.

    python hparams.py --help

This prints the list below. Some scripts have flags of their own: see
[copies](augmentation.md#copies) for `data_augment.py`, [comparing](comparing.md) for `compare.py`,
[predicting and retrieval](predicting.md) for `predict.py` and `retrieve.py`, and
[pictures](pictures.md) for `visualize.py`.
"""


def format_page() -> str:
    """The page as Markdown: a section per group, a row per setting."""
    groups: dict[str, list[str]] = {}
    for field in dataclasses.fields(HParams):
        value = getattr(HParams(), field.name)
        default = "" if value in ("", []) else f"`{value}`"
        row = f"| `--{field.name}` | {default} | {field.metadata['help']} |"
        groups.setdefault(field.metadata["group"], []).append(row)
    sections = [
        f"\n## {group.capitalize()}\n\n| flag | default | what it is |\n|---|---|---|\n"
        + "".join(f"{row}\n" for row in rows)
        for group, rows in groups.items()
    ]
    return INTRODUCTION + "".join(sections)


if __name__ == "__main__":
    PAGE.write_text(format_page(), encoding="utf-8", newline="\n")
    print(f"Written: {PAGE.relative_to(ROOT)}")

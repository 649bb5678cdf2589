"""Runs every benchmark and writes RESULTS.md beside this file.

python benchmarks/run.py
"""

import subprocess
import sys
from pathlib import Path

from side_by_side import ROOT, machine

sys.path.insert(0, str(ROOT))
from support.files import write_text

HERE = Path(__file__).parent
HEAD = f"""# Benchmarks

Made by `make bench` on {machine()}.

Each pair of runs is one of the tutorial's way, kept as plain as its slides, and one of ours, right
after each other; times are medians over the pairs, the ratio is the median of the pairs' ratios.
Data are synthesized. Times differ from machine to machine and from minute to minute: quote the
ratios.
"""


def main():
    """Write RESULTS.md once all of them are through."""
    parts = [HEAD]
    for name in ("extraction", "augmentation", "loading", "training", "retrieval"):
        command = [sys.executable, HERE / f"bench_{name}.py"]
        parts.append(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    write_text(HERE / "RESULTS.md", "\n".join(parts))


if __name__ == "__main__":
    main()

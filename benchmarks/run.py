"""Run every benchmark and write RESULTS.md next to this file.

python benchmarks/run.py
"""

import subprocess
import sys
from pathlib import Path

from side_by_side import machine

from support.files import write_text

HERE = Path(__file__).parent
HEAD = f"""# Benchmarks

Made by `make bench` on {machine()}.

Each pair is one run the tutorial's way, as plain as on its slides, and one run our way right after.
Times are medians over the pairs, ratios are medians of the pairs' ratios. All data are synthesized.
Times vary between machines and from minute to minute: quote the ratios.
"""


def main() -> None:
    """Write RESULTS.md after all benchmarks have succeeded."""
    parts = [HEAD]
    for name in ("extraction", "augmentation", "loading", "startup", "training", "retrieval"):
        # processes of their own, so that each starts with empty memory
        command = [sys.executable, str(HERE / f"bench_{name}.py")]
        parts.append(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    write_text(HERE / "RESULTS.md", "\n".join(parts))


if __name__ == "__main__":
    main()

"""compare.py as a command that starts others."""

from pathlib import Path

import test_compare
from conftest import run

recipes = test_compare.recipes  # the fixture


def test_failures_are_named_with_their_log(recipes, data_set):
    (data_set / "jazz/jazz.00000.wav").write_bytes(b"no audio")
    words = [*test_compare.DATA, "--recipes", "svm.args", "--num_seeds", "1"]
    done = run("compare.py", *words, cwd=".")
    assert done.returncode == 1
    assert "*** svm: feature_extraction.py failed: " in done.stdout
    assert Path("runs/compare/data/svm-features.log").read_text(encoding="utf-8")
    assert done.stderr.startswith("error: svm: failed, see above")
    words += ["--skip_broken", "--max_minutes", "20"]  # which classic.py does not read
    done = run("compare.py", *words, cwd=".")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| svm --max_minutes 20.0 | 1 |" in done.stdout

"""The project from Python: docs/python.md runs, and what leads nowhere says where to go."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
import torch
from conftest import RATE, ROOT, sine
from sklearn.metrics import accuracy_score

PAGE = (ROOT / "docs/python.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def notebook_folder(tmp_path, monkeypatch):
    """The folder of a notebook: tracks in `my_music`, a song, and the page's recipe, shortened."""
    monkeypatch.chdir(tmp_path)
    for number, genre in enumerate(("folk", "jazz")):
        Path("my_music", genre).mkdir(parents=True)
        for track in range(5):
            y = sine((300 + 10 * track) * 3**number, 3.2 + track / 10)
            soundfile.write(f"my_music/{genre}/{track}.wav", y, RATE)
    soundfile.write("song.mp3", sine(310, 4, 22050), 22050)
    shutil.copytree(ROOT / "recipes", "recipes")
    with open("recipes/compact1d.args", "a", encoding="utf-8") as file:
        file.write("--num_epochs 3 --batch_size 4 --device 0 --num_workers 1\n")


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_the_page_goes_from_a_folder_to_a_run_a_prediction_and_a_loop(notebook_folder, capsys):
    names = {}
    lines = [line for line in BLOCKS[0].splitlines() if line and not line.startswith("from ")]
    assert len(lines) == 5
    for block in BLOCKS:
        exec(block, names)
    finished, (predicted, *losses) = names["run"], capsys.readouterr().out.splitlines()[-4:]
    assert len({path.name for path in finished.folder.iterdir()}) == 8
    rows = finished.report["tracks"]
    right = accuracy_score([r["genre"] for r in rows], [r["predicted"] for r in rows])
    assert finished.report["track_accuracy"] == right
    assert "'folk': " in predicted and "'jazz': " in predicted
    assert sum(names["prediction"].probabilities) == pytest.approx(1)
    # the loop is that of the run
    history = (finished.folder / "history.csv").read_text(encoding="utf-8").splitlines()[1:]
    for line, row in zip(losses, history, strict=True):
        assert re.findall(r"[\d.e-]+", line) == row.split(",")[1:]
    scripted, x = torch.jit.load("model.ts"), torch.zeros(1, 128, 128)
    assert torch.equal(scripted(x), names["trained"].model(x))


@pytest.mark.parametrize("words", [["."], ["--editable", "."]])
def test_pip_answers_with_one_clear_line(words, tmp_path):
    left_out = shutil.ignore_patterns(".*", "runs", "feature", "demo", "tests", "docs", "tutorial")
    checkout = shutil.copytree(ROOT, tmp_path / "checkout", ignore=left_out)
    command = [sys.executable, "-m", "pip", "install", "--target", str(tmp_path / "to"), *words]
    offline = os.environ | {"PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = subprocess.run(command, cwd=checkout, env=offline, capture_output=True, encoding="utf-8")
    assert done.returncode != 0
    (line,) = [each for each in done.stderr.splitlines() if "make demo" in each]
    assert line.strip() == (
        "this project is not installed, but run in its folder: make demo (see README.md)"
    )
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "to").exists() or not list((tmp_path / "to").iterdir())

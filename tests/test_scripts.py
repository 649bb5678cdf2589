"""The scripts as a user runs them: processes, messages, exit status."""

import shutil

import pytest
from conftest import GENRES, ROOMS, ROOT, flags, run, write_data_set


def test_extract_then_train_in_hangul_folders_on_two_threads(settings, tmp_path):
    folder = tmp_path / "내 음악"
    write_data_set(folder / "데이터", genres=("재즈", "록"))
    words = flags(settings, dataset_path="데이터", genres=[], feature_path="", num_workers=2)
    done = run("feature_extraction.py", *words, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "16 tracks extracted" in done.stdout
    done = run("train_test.py", *words, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "Test Track Accuracy:" in done.stdout
    assert "재즈" in done.stdout
    assert list(folder.glob("runs/데이터-Baseline-*/confusion_matrix.png"))
    assert list(folder.glob("dataset/feature/데이터-*-log_mel-*/록/*.wav.npy"))


def test_a_class_pasted_at_the_end_of_model_py_trains(extracted, tmp_path):
    for path in (*ROOT.glob("*.py"), *(ROOT / room for room in ROOMS)):
        copy = shutil.copytree if path.is_dir() else shutil.copy
        copy(path, tmp_path / path.name)
    with open(tmp_path / "model.py", "a", encoding="utf-8") as file:
        file.write(
            "\n\nclass Mine(nn.Module):\n"
            "    def __init__(self, hparams):\n"
            "        super().__init__()\n"
            "        self.head = nn.Linear(hparams.num_mels, len(hparams.classes))\n\n"
            "    def forward(self, x):\n"
            "        return self.head(x.mean(1))\n"
        )
    done = run(tmp_path / "train_test.py", *flags(extracted, model="Mine"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Parameters: 51\n" in done.stdout


@pytest.mark.parametrize(
    ("script", "arguments", "status", "message"),
    [
        ("train_test.py", [], 1, "error: no data set at dataset"),
        ("train_test.py", ["--num_mel", "64"], 2, "did you mean --num_mels?"),
        ("feature_extraction.py", ["--dataset_path", "data", "--genres", "blues"], 1, GENRES[0]),
        ("dataset/demo.py", ["--tracks_per_genre", "7"], 1, "must be 10, 20, 30"),
    ],
)
def test_bad_input_is_one_message_and_a_status(data_set, script, arguments, status, message):
    done = run(script, *arguments, cwd=data_set.parent)
    assert done.returncode == status
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 2


def test_a_gpu_that_is_not_there_is_an_error(extracted):
    done = run("train_test.py", *flags(extracted, device="cuda:99"), cwd=".")
    assert done.returncode == 1
    assert "error: --device cuda:99 does not exist. GPUs present: " in done.stderr


def test_a_console_without_hangul_shows_the_message(tmp_path):
    words = ("--dataset_path", "없는 데이터")
    done = run("feature_extraction.py", *words, cwd=tmp_path, PYTHONIOENCODING="ascii")
    assert done.returncode == 1
    assert r"no data set at \uc5c6" in done.stderr


def test_an_unwritable_place_is_a_message(settings, data_set):
    (data_set.parent / "taken").write_text("a file", encoding="utf-8")
    done = run("feature_extraction.py", *flags(settings, feature_path="taken"), cwd=".")
    assert done.returncode == 1
    assert "taken" in done.stderr
    assert "Traceback" not in done.stderr

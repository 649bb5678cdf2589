"""The house stands: imports run one way, files stay short, and each file is read once."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from conftest import ROOMS, ROOT, flags

import classic
import compare
import feature_extraction
import train_test
from hparams import CLASSICAL

sys.path.insert(0, str(ROOT / "docs"))
import house

MODULES = house.read_modules(ROOT)
ARROWS = house.find_arrows(MODULES)


def imports_of(name):
    """Files of the project that a file imports."""
    return {end for start, end in ARROWS if start == name}


def test_imports_run_one_way():
    assert len(ARROWS) > 100
    assert [arrow for arrow in ARROWS if house.is_back_edge(arrow, MODULES)] == []


def test_no_file_imports_itself_by_way_of_others():
    assert house.find_circles(ARROWS) == []


def test_the_measure_sees_back_edges_and_circles():
    arrows = {("audio.chunks", "audio.reading"), ("audio.reading", "audio.chunks")}
    assert house.find_circles(arrows) == ["audio.chunks", "audio.reading"]
    assert house.is_back_edge(("audio.chunks", "tracks.lists"), MODULES)
    assert house.is_back_edge(("data_manager", "train_test"), MODULES)
    assert house.is_back_edge(("predict", "dataset.demo"), MODULES)
    assert not house.is_back_edge(("tracks.lists", "audio.chunks"), MODULES)


def test_rooms_import_only_settings_and_models_from_the_top():
    for room in ROOMS:
        for name in (name for name in MODULES if name.startswith(f"{room}.")):
            assert {end for end in imports_of(name) if "." not in end} <= {"hparams", "model"}, name


def test_models_import_torch_alone():
    text = (ROOT / "model.py").read_text(encoding="utf-8")
    found = {line.split()[1].split(".")[0] for line in text.splitlines() if "import " in line[:7]}
    assert found <= {"torch", "math", "difflib", "itertools"}
    assert not imports_of("model")


def test_there_are_twelve_files_at_the_top_and_none_is_long():
    assert len(list(ROOT.glob("*.py"))) == 12
    long = {name: m.text.count("\n") for name, m in MODULES.items() if m.text.count("\n") > 400}
    assert not long


@pytest.mark.parametrize("room", ["support", "audio", "tracks"])
def test_rooms_before_training_load_without_torch(room):
    names = [name for name in MODULES if name.startswith(f"{room}.")]
    code = f"import sys, {', '.join(names)}; sys.exit(str({{'torch'}} & set(sys.modules) or ''))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr.strip() == ""


def test_extraction_of_log_mel_loads_neither_torch_nor_librosa():
    code = (
        "import sys, numpy, feature_extraction; from hparams import HParams; "
        "feature_extraction.extract_feature(numpy.zeros(9000, 'float32'), HParams()); "
        "sys.exit(str({'torch', 'librosa', 'sklearn', 'matplotlib'} & set(sys.modules) or ''))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr.strip() == ""


OPENED = []
sys.addaudithook(lambda event, arguments: OPENED.append(arguments) if event == "open" else None)


def count_reads(main, words):
    """How often a command opens each list, manifest and `tags.csv`, by file name."""
    OPENED.clear()
    main(words)
    watched = ("_list.txt", "features.jsonl", "tags.csv")
    read = [Path(path) for path, mode, _ in OPENED if isinstance(path, str) and "r" in str(mode)]
    return Counter(path.name for path in read if str(path).endswith(watched))


LISTS = dict.fromkeys(("train_list.txt", "valid_list.txt", "test_list.txt"), 1)


@pytest.mark.parametrize(
    ("main", "groups", "changed", "tags"),
    [
        (feature_extraction.main, (), {}, {}),
        (train_test.main, (), {"num_epochs": 1}, {}),
        (train_test.main, (), {"num_epochs": 1, "task": "tagging"}, {"tags.csv": 1}),
        (classic.main, CLASSICAL, {"model": "knn"}, {}),
    ],
)
def test_each_file_of_the_data_set_is_read_once(extracted, data_set, main, groups, changed, tags):
    lines = (data_set / "train_list.txt").read_text(encoding="utf-8").split()
    text = "".join(f"{name},{'loud' if i % 2 else 'soft'}\n" for i, name in enumerate(lines))
    for split in ("valid", "test"):
        lines = (data_set / f"{split}_list.txt").read_text(encoding="utf-8").split()
        text += "".join(f"{name},{'loud' if i % 2 else 'soft'}\n" for i, name in enumerate(lines))
    (data_set / "tags.csv").write_text(text, encoding="utf-8")
    read = count_reads(main, flags(extracted, *groups, **changed))
    assert read == LISTS | {"features.jsonl": 1} | tags


def test_a_comparison_reads_each_file_of_the_data_set_once(extracted, monkeypatch):
    def call(script, words, log):
        before = list(OPENED)  # other scripts are other processes
        {"feature_extraction.py": feature_extraction, "classic.py": classic}[script].main(words)
        OPENED[:] = before

    monkeypatch.setattr(compare, "call", call)
    words = flags(extracted, *CLASSICAL[:3])
    for model in ("knn", "svm"):
        Path(f"{model}.args").write_text(f"--model {model}", encoding="utf-8")
    words += ["--num_seeds", "1", "--recipes", "knn.args", "svm.args"]
    assert count_reads(compare.main, words) == LISTS | {"features.jsonl": 1}

"""Imports run one way: a stage knows only the stages before it."""

import ast
import subprocess
import sys

import pytest
from conftest import ROOT

MODULES = {path.stem for path in ROOT.glob("*.py")}
STREET = ["feature_extraction", "data_manager", "train_test"]


def imports_of(name):
    """Names that a module of the project imports, anywhere in it."""
    tree = ast.parse((ROOT / f"{name}.py").read_text(encoding="utf-8"))
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module.split(".")[0])
    return found


def reachable(name):
    """Modules of the project that a module needs, directly or not."""
    seen, waiting = set(), [name]
    while waiting:
        for module in imports_of(waiting.pop()) & MODULES - seen:
            seen.add(module)
            waiting.append(module)
    return seen


@pytest.mark.parametrize("name", sorted(MODULES))
def test_no_module_needs_itself(name):
    assert name not in reachable(name)


@pytest.mark.parametrize("name", ["hparams", "model"])
def test_settings_and_models_import_nothing_of_the_project(name):
    assert not imports_of(name) & MODULES


def test_settings_import_neither_torch_nor_librosa():
    assert not imports_of("hparams") & {"torch", "librosa", "numpy"}


def test_models_import_torch_alone():
    assert imports_of("model") <= {"torch", "math", "difflib", "itertools"}


@pytest.mark.parametrize("name", sorted(MODULES))
def test_nobody_imports_a_script_of_a_later_stage(name):
    later = STREET[STREET.index(name) :] if name in STREET else []
    assert not reachable(name) & set(later)
    assert not reachable(name) & {"train_test", "classic", "predict", "retrieve", "visualize"}


def test_extraction_of_log_mel_loads_neither_torch_nor_librosa():
    code = (
        "import sys, numpy, feature_extraction as f; from hparams import HParams; "
        "f.extract_feature(numpy.zeros(9000, 'float32'), HParams()); "
        "sys.exit(str({'torch', 'librosa', 'sklearn', 'matplotlib'} & set(sys.modules) or ''))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr.strip() == ""

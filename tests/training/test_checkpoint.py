import importlib
import pickle
import sys

import pytest
import torch

from support.errors import UserError
from training.checkpoint import load_checkpoint, load_weights, model_source, save_checkpoint


class Harmful:
    def __reduce__(self):
        return print, ("run",)


def test_what_is_saved_is_loaded(tmp_path):
    weights = {"w": torch.randn(2, 3)}
    save_checkpoint(tmp_path / "a.pt", model=weights, hparams={"genres": ["a"]}, mean=0.5)
    loaded = load_checkpoint(tmp_path / "a.pt")
    assert torch.equal(loaded.pop("model")["w"], weights["w"])
    assert loaded == {"hparams": {"genres": ["a"]}, "mean": 0.5}
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


def test_code_in_a_checkpoint_is_not_run(tmp_path, capsys):
    torch.save({"model": Harmful()}, tmp_path / "bad.pt")
    with pytest.raises(UserError, match="holds more than plain values and tensors: it is not load"):
        load_checkpoint(tmp_path / "bad.pt")
    assert "run" not in capsys.readouterr().out


def test_a_failed_save_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.pt"
    save_checkpoint(path, model={}, epoch=1)
    with pytest.raises((AttributeError, pickle.PicklingError)):
        save_checkpoint(path, model={}, epoch=lambda: 2)
    assert load_checkpoint(path) == {"model": {}, "epoch": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.pt"]


def test_a_truncated_checkpoint_is_a_message(tmp_path):
    path = tmp_path / "a.pt"
    save_checkpoint(path, model={"w": torch.zeros(100)})
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"text"):
        path.write_bytes(content)
        with pytest.raises(UserError, match="is damaged, or holds more than"):
            load_checkpoint(path)


def test_what_is_no_checkpoint_of_ours_is_a_message(tmp_path):
    torch.save([1, 2], tmp_path / "a.pt")
    with pytest.raises(UserError, match="it holds no weights"):
        load_checkpoint(tmp_path / "a.pt")
    with pytest.raises(UserError, match="is missing: the run did not get so far"):
        load_checkpoint(tmp_path / "b.pt")


def test_weights_of_another_model_are_a_message(tmp_path):
    save_checkpoint(tmp_path / "a.pt", model=torch.nn.Linear(2, 3).state_dict())
    with pytest.raises(UserError, match="holds the weights of another Linear"):
        load_weights(torch.nn.Linear(2, 4), tmp_path / "a.pt")


NETWORKS = """
def block(): return "a"
class Base:
    def embed(self, x): return block()
class Mine(Base): pass
class Other: pass
"""


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("class Mine(Base): pass", "class Mine(Base): size = 3", False),
        ('return "a"', 'return "b"', False),
        ("return block()", "return 2 * block()", False),
        ("class Other: pass", "class Other: size = 3", True),
    ],
)
def test_the_source_of_a_model_is_all_that_it_is_made_of(tmp_path, monkeypatch, old, new, same):
    monkeypatch.syspath_prepend(tmp_path)
    found = []
    for name, text in (("before", NETWORKS), ("after", NETWORKS.replace(old, new))):
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
        found.append(model_source(importlib.import_module(name).Mine))
        del sys.modules[name]
    assert (found[0] == found[1]) is same

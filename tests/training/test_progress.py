import io
import re
import sys
import time

import pytest
from test_train_test import train

from hparams import HParams
from support.errors import UserError
from training.progress import label_epoch, progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def watched(monkeypatch, extracted, folder, **changed):
    """What training shows on a terminal's standard error."""
    monkeypatch.setattr(sys, "stderr", Terminal())
    train(extracted, folder, **changed)
    return sys.stderr.getvalue()


class SlowLoader:
    """Batches of 4 labels out of 8, a tenth of a second each."""

    dataset = range(8)

    def __iter__(self):
        for _ in range(2):
            time.sleep(0.11)  # a bar is drawn ten times a second at most
            yield [0] * 4, [0] * 4


def test_a_terminal_shows_a_bar_with_rate_and_time_left(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert len(list(progress(SlowLoader(), "Epoch 1/3"))) == 2
    shown = sys.stderr.getvalue()
    assert re.search(r"Epoch 1/3:  50%.* 4/8 \[00:00<00:00, +\d+\.\d+ chunks/s\]", shown), shown
    assert not re.split(r"[\r\n]", shown.rstrip("\r"))[-1].strip()  # it is gone


def test_every_epoch_has_its_bar_and_its_line(extracted, tmp_path, monkeypatch, capsys):
    shown = watched(monkeypatch, extracted, tmp_path / "run")
    assert "Epoch 1/2: " in shown  # before an epoch has ended nobody knows how long one takes
    assert re.search(r"Epoch 2/2 \(run: \d\d:\d\d left at most\): ", shown), shown
    assert "left at most), valid: " in shown
    assert len(re.findall(r"^\[Epoch \d/2\] .*\]$", capsys.readouterr().out, re.MULTILINE)) == 2


def test_the_time_left_follows_from_past_epochs():
    label = label_epoch(4, 30.0, HParams(num_epochs=10))
    assert label == "Epoch 4/10 (run: 01:10 left at most)"


def test_without_a_terminal_there_is_no_bar(extracted, tmp_path, capsys):
    train(extracted, tmp_path / "run")
    captured = capsys.readouterr()
    assert "chunks/s" not in captured.out + captured.err


def test_a_missing_tensorboard_is_reported_before_anything_is_written(
    extracted, tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UserError, match="--tensorboard: .*pip install tensorboard"):
        train(extracted, tmp_path / "run", tensorboard=True)
    assert not (tmp_path / "run").exists()

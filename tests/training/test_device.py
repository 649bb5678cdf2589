"""Devices by the tutorial's numbers."""

import re

import pytest
import torch

from support.errors import UserError
from training.device import device_name, find_device, machine_name


@pytest.mark.parametrize(
    ("device", "name"),
    [(0, "CPU"), (1, "GPU:0"), (2, "GPU:1"), ("cpu", "CPU"), ("cuda", "GPU:0")]
    + [("cuda:1", "GPU:1"), ("mps", "MPS")],
)
def test_device_names_are_the_tutorials(device, name):
    assert device_name(device) == name


def pretend_gpus(monkeypatch, count):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda i: f"Card{i}")


def test_devices_where_there_are_two_gpus(monkeypatch):
    pretend_gpus(monkeypatch, 2)
    found = [str(find_device(d)) for d in (0, 1, 2, "cpu", "cuda", "cuda:1")]
    assert found == ["cpu", "cuda:0", "cuda:1", "cpu", "cuda:0", "cuda:1"]
    for absent in (3, "cuda:2"):
        with pytest.raises(UserError, match=r"1 \(cuda:0, Card0\), 2 \(cuda:1, Card1\)"):
            find_device(absent)


def test_devices_where_there_is_no_gpu(monkeypatch, capsys):
    pretend_gpus(monkeypatch, 0)
    assert find_device(1).type == "cpu"
    assert "*** device 1 is the first GPU" in capsys.readouterr().out
    for absent in (2, "cuda", "cuda:0"):
        with pytest.raises(UserError, match="GPUs present: none; 0 is the CPU"):
            find_device(absent)


def test_a_machine_is_its_processor_its_cores_and_the_gpu_in_use(monkeypatch):
    pretend_gpus(monkeypatch, 2)
    here = machine_name()
    assert re.fullmatch(r".{4,}, \d+ cores", here)
    assert machine_name(torch.device("cpu")) == here
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"Card{device.index}")
    assert machine_name(torch.device("cuda", 1)) == f"{here}, Card1"

"""Choose the device: 0 is the CPU, 1 the first GPU, 2 the second."""

import contextlib
import os
import platform
from pathlib import Path

import torch

from support.errors import UserError


def device_name(device: int | str) -> str:
    """Name a device as the tutorial does.

    Parameters
    ----------
    device : int or str
        0 (CPU), 1 (first GPU), 2 ..., or 'cpu', 'cuda', 'cuda:1', 'mps'.

    Returns
    -------
    str

    Examples
    --------
    >>> device_name(0), device_name(1), device_name("cuda:1")
    ('CPU', 'GPU:0', 'GPU:1')
    """
    if device in (0, "cpu"):
        return "CPU"
    return "MPS" if device == "mps" else f"GPU:{gpu_index(device)}"


def gpu_index(device: int | str) -> int:
    """Index of a GPU: 0 for 1, 'cuda' and 'cuda:0'."""
    return device - 1 if isinstance(device, int) else int(device.partition(":")[2] or 0)


def find_device(device: int | str) -> torch.device:
    """Find the torch device for a setting.

    Device 1, the default, falls back to the CPU with a warning if there is no GPU.

    Parameters
    ----------
    device : int or str
        As in `device_name`.

    Returns
    -------
    torch.device

    Raises
    ------
    UserError
        If the device is missing; the message lists the GPUs present.

    Examples
    --------
    >>> find_device(0)
    device(type='cpu')
    """
    if device in (0, "cpu"):
        return torch.device("cpu")
    if device == "mps" and torch.backends.mps.is_available():
        return torch.device("mps")
    # numbers are for CUDA GPUs; mps has a name only
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    if device != "mps" and gpu_index(device) < len(gpus):
        return torch.device("cuda", gpu_index(device))
    if device == 1:  # the default works on every machine
        hint = " (--device mps uses this Mac's)" if torch.backends.mps.is_available() else ""
        print(f"*** device 1 is the first GPU, and PyTorch finds no CUDA GPU: using the CPU{hint}")
        return torch.device("cpu")
    present = ", ".join(f"{i + 1} (cuda:{i}, {name})" for i, name in enumerate(gpus)) or "none"
    raise UserError(f"--device {device} does not exist. GPUs present: {present}; 0 is the CPU")


def machine_name(device: torch.device | None = None) -> str:
    """Name the processor, its cores and the GPU that is used: what results and times depend on."""
    name = platform.processor() or platform.machine()
    with contextlib.suppress(OSError, StopIteration):  # only Linux has the file
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line for line in lines if line.startswith("model name")).partition(": ")[2]
    cores = f"{name.strip()}, {os.cpu_count()} cores"
    on_gpu = device is not None and device.type == "cuda"
    return f"{cores}, {torch.cuda.get_device_name(device)}" if on_gpu else cores

"""Devices by the tutorial's numbers: 0 is the CPU, 1 the first GPU, 2 the second."""

import torch

from support.errors import UserError


def device_name(device):
    """The tutorial's name of a device: 'CPU' for 0, 'GPU:0' for 1; also for cpu, cuda:1, mps."""
    if device in (0, "cpu"):
        return "CPU"
    if device == "mps":
        return "MPS"
    return f"GPU:{gpu_index(device)}"


def gpu_index(device):
    """Index of the GPU that a device setting means: 0 for 1, cuda and cuda:0."""
    if isinstance(device, int):
        return device - 1
    return int(device.partition(":")[2] or 0)


def find_device(device):
    """The torch device that a setting means.

    The default, 1, becomes the CPU, loudly, where there is no GPU. Raises `UserError` for any other
    device that is not there, and lists those that are.
    """
    if device in (0, "cpu"):
        return torch.device("cpu")
    if device == "mps" and torch.backends.mps.is_available():
        return torch.device("mps")
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    if device != "mps" and gpu_index(device) < len(gpus):
        return torch.device("cuda", gpu_index(device))
    if device == 1:
        hint = " (--device mps uses this Mac's)" if torch.backends.mps.is_available() else ""
        print(f"*** device 1 is the first GPU, and PyTorch finds no CUDA GPU: using the CPU{hint}")
        return torch.device("cpu")
    present = ", ".join(f"{i + 1} (cuda:{i}, {name})" for i, name in enumerate(gpus)) or "none"
    raise UserError(f"--device {device} is not here. GPUs present: {present}; 0 is the CPU")

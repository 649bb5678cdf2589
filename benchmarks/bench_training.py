"""Compare training and evaluation with the tutorial's way: epochs in turn, in one process.

    python benchmarks/bench_training.py --device 1

The tutorial's way is its `Runner.run` with its `DataLoader`; ours is `Runner.run` on a split in
memory, in each precision. The features are noise, since only speed is measured.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from side_by_side import compare_calls, make_parser, table
from torch import nn
from torch.utils.data import DataLoader

import model
from data_manager import Batches, GTZANDataset, keep_on
from hparams import HParams
from train_test import Runner, set_seed
from training.device import device_name, find_device

CHUNKS = 512
SETTINGS = HParams(genres=[str(i) for i in range(8)])
Epoch = Callable[[], Any]


class Small2D(nn.Module):
    """Four 3 x 3 convolutions over the chunk as a picture, a network like FCN-4."""

    def __init__(self, hparams: HParams) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for a, b in itertools.pairwise((1, 16, 32, 32, 64)):
            layers += [nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU(), nn.MaxPool2d(2)]
        self.layers = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1))
        self.head = nn.Linear(64, len(hparams.genres))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # (batch, frames, bins) -> (batch, 1, frames, bins) -> (batch, 64)
        return self.head(self.layers(x.unsqueeze(1)).flatten(1))


Small2D.__module__ = "model"  # --model finds it as if it were in model.py
model.Small2D = Small2D  # type: ignore[attr-defined]


class TaughtDataset(torch.utils.data.Dataset):
    """The tutorial's data set."""

    def __init__(self, x: NDArray, y: NDArray) -> None:
        self.x = x
        self.y = y

    def __getitem__(self, index: Any) -> Any:
        return self.x[index], self.y[index]

    def __len__(self) -> int:
        return self.x.shape[0]


class TaughtRunner:
    """The tutorial's `Runner` (slides "train_test.py")."""

    def __init__(self, net: nn.Module, device: torch.device) -> None:
        self.model = net.to(device)
        self.criterion = torch.nn.CrossEntropyLoss()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-2)
        self.device = device

    def accuracy(self, source: torch.Tensor, target: torch.Tensor) -> float:
        source = source.max(1)[1].long().cpu()
        target = target.long().cpu()
        correct = (source == target).sum().item()
        return correct / float(source.size(0))

    def run(self, dataloader: Any, mode: str = "train") -> tuple[float, float]:
        self.model.train() if mode == "train" else self.model.eval()
        epoch_loss = 0
        epoch_acc = 0
        for x, y in dataloader:
            x = x.to(self.device)
            y = y.to(self.device)
            prediction = self.model(x)
            loss = self.criterion(prediction, y.long())
            acc = self.accuracy(prediction, y.long())
            if mode == "train":
                loss.backward()
                self.optimizer.step()
                self.optimizer.zero_grad()
            epoch_loss += prediction.size(0) * loss.item()
            epoch_acc += prediction.size(0) * acc
        return epoch_loss / len(dataloader.dataset), epoch_acc / len(dataloader.dataset)


def taught_way(name: str, mode: str, device: torch.device, x: NDArray, y: NDArray) -> Epoch:
    """Return a function that runs one epoch the tutorial's way."""
    torch.manual_seed(0)
    runner = TaughtRunner(getattr(model, name)(SETTINGS), device)
    loader = DataLoader(TaughtDataset(x, y), batch_size=128, shuffle=mode == "train")
    return make_epoch(runner, loader, mode, deterministic=False)


def our_way(
    name: str, mode: str, precision: str, device: torch.device, x: NDArray, y: NDArray
) -> Epoch:
    """Return a function that runs one epoch our way."""
    set_seed(0)
    words = ["--model", name, "--precision", precision, "--device", str(device)]
    data = GTZANDataset(torch.from_numpy(x), torch.from_numpy(y))
    sampler = Batches(len(data), 128, 0 if mode == "train" else None)
    loader = DataLoader(data, None, sampler=sampler)
    keep_on(device, loader)
    return make_epoch(Runner(SETTINGS.parse_argument(words)), loader, mode, deterministic=True)


def make_epoch(runner: Any, loader: DataLoader, mode: str, deterministic: bool) -> Epoch:
    """Return a function that runs one epoch, until the GPU has finished too."""

    def epoch() -> Any:
        torch.backends.cudnn.deterministic = deterministic  # `set_seed` sets it for both
        result = runner.run(loader, mode)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return result

    return epoch


def compare_epochs(device: torch.device, runs: int) -> Iterator[tuple[str, ...]]:
    """Yield a row for each model, mode and precision."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((CHUNKS, 128, 128)).astype(np.float32)
    y = rng.integers(0, 8, CHUNKS)
    for name, pairs in (("Baseline", 4 * runs), ("Small2D", runs)):
        for mode in ("train", "eval"):
            taught = taught_way(name, mode, device, x, y)
            for precision in ("fp32", "bf16"):
                ours = our_way(name, mode, precision, device, x, y)
                yield compare_calls(f"{name}, {mode}, {precision}", taught, ours, pairs)


def main() -> str:
    """Return the report as Markdown."""
    parser = make_parser(__doc__, runs=5)
    best = int(torch.cuda.is_available())
    parser.add_argument("--device", type=int, default=best, help=f"0: CPU, 1: GPU0 ... [{best}]")
    args = parser.parse_args()
    device = find_device(args.device)
    where = device_name(str(device))
    if device.type == "cuda":
        where += f", {torch.cuda.get_device_name(device)}"
    rows = list(compare_epochs(device, args.runs))
    return (
        f"## Training\n\nEpochs of {CHUNKS} chunks of 128 x 128, batches of 128, on {where}, "
        f"torch {torch.__version__}; {args.runs} pairs, "
        f"{4 * args.runs} for `Baseline`. The tutorial's way is fp32.\n\n"
        f"{table(rows, ('what', 'the tutorial', 'ours', 'ratio (from to)'))}\n"
    )


if __name__ == "__main__":
    print(main(), end="")

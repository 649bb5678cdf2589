"""Training and evaluation against the tutorial's way: epochs in turn, in one process.

    python benchmarks/bench_training.py --device 1

The tutorial's way is its `Runner.run` with its `DataLoader`; ours is `Runner.run` on a split in
memory, with each precision. Features are noise: how well it learns is not the question here.
"""

import argparse
import itertools
import sys
import time

import numpy as np
import torch
from side_by_side import ROOT, compare, table
from torch import nn
from torch.utils.data import DataLoader

sys.path.insert(0, str(ROOT))
import model
from data_manager import Batches, GTZANDataset, keep_on
from hparams import HParams
from train_test import Runner, set_seed
from training.device import device_name, find_device

CHUNKS = 512
SETTINGS = HParams(genres=[str(i) for i in range(8)])


class Small2D(nn.Module):
    """Four 3 x 3 convolutions over the chunk as a picture: the kind of network that FCN-4 is."""

    def __init__(self, hparams):
        super().__init__()
        widths = (1, 16, 32, 32, 64)
        self.layers = nn.Sequential(
            *(block_2d(a, b) for a, b in itertools.pairwise(widths)), nn.AdaptiveAvgPool2d(1)
        )
        self.head = nn.Linear(widths[-1], len(hparams.genres))

    def forward(self, x):
        return self.head(self.layers(x.unsqueeze(1)).flatten(1))


def block_2d(channels_in, channels_out):
    """Convolution, batch normalization, ReLU and pooling by 2."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, padding=1),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
        nn.MaxPool2d(2),
    )


Small2D.__module__ = "model"
model.Small2D = Small2D  # as if it stood in model.py


class TaughtDataset(torch.utils.data.Dataset):
    """The tutorial's data set."""

    def __init__(self, x, y):
        self.x = x
        self.y = y

    def __getitem__(self, index):
        return self.x[index], self.y[index]

    def __len__(self):
        return self.x.shape[0]


class TaughtRunner:
    """The tutorial's `Runner` (slides "train_test.py")."""

    def __init__(self, net, device):
        self.model = net.to(device)
        self.criterion = torch.nn.CrossEntropyLoss()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-2)
        self.device = device

    def accuracy(self, source, target):
        source = source.max(1)[1].long().cpu()
        target = target.long().cpu()
        correct = (source == target).sum().item()
        return correct / float(source.size(0))

    def run(self, dataloader, mode="train"):
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


def taught_way(name, mode, device, x, y):
    """A function that runs one epoch the tutorial's way."""
    torch.manual_seed(0)
    runner = TaughtRunner(getattr(model, name)(SETTINGS), device)
    loader = DataLoader(TaughtDataset(x, y), batch_size=128, shuffle=mode == "train")

    def epoch():
        torch.backends.cudnn.deterministic = False  # ours sets it
        return runner.run(loader, mode)

    return epoch


def our_way(name, mode, precision, device, x, y):
    """A function that runs one epoch our way."""
    set_seed(0)
    words = ["--model", name, "--precision", precision, "--device", str(device)]
    runner = Runner(SETTINGS.parse_argument(words))
    data = GTZANDataset(torch.from_numpy(x), torch.from_numpy(y))
    sampler = Batches(len(data), 128, 0 if mode == "train" else None)
    loader = DataLoader(data, None, sampler=sampler)
    keep_on(device, loader)

    def epoch():
        torch.backends.cudnn.deterministic = True
        return runner.run(loader, mode)

    return epoch


def seconds(epoch, device):
    """Seconds of an epoch, the GPU's work included; memory is not told apart."""
    began = time.perf_counter()
    epoch()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began, 0


def compare_epochs(device, runs):
    """A row for each model, mode and precision."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((CHUNKS, 128, 128)).astype(np.float32)
    y = rng.integers(0, 8, CHUNKS)
    for name, pairs in (("Baseline", 4 * runs), ("Small2D", runs)):
        for mode in ("train", "eval"):
            taught = taught_way(name, mode, device, x, y)
            for precision in ("fp32", "bf16"):
                ours = our_way(name, mode, precision, device, x, y)
                row = compare(
                    f"{name}, {mode}, {precision}",
                    lambda epoch=taught: seconds(epoch, device),
                    lambda epoch=ours: seconds(epoch, device),
                    pairs,
                )
                yield row[:4]


def main(argv=None):
    """The report as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=5, help="pairs that count [5]")
    best = int(torch.cuda.is_available())
    parser.add_argument(
        "--device", type=int, default=best, help=f"0: CPU, 1: first GPU ... [{best}]"
    )
    args = parser.parse_args(argv)
    device = find_device(args.device)
    place = device_name(str(device))
    if device.type == "cuda":
        place += f", {torch.cuda.get_device_name(device)}"
    rows = list(compare_epochs(device, args.runs))
    return (
        f"## Training\n\nEpochs of {CHUNKS} chunks of 128 x 128, batches of 128, on {place}, "
        f"torch {torch.__version__}; {args.runs} pairs, "
        f"of `Baseline` {4 * args.runs}. The tutorial's way is fp32.\n\n"
        f"{table(rows, ('what', 'the tutorial', 'ours', 'ratio (from to)'))}\n"
    )


if __name__ == "__main__":
    print(main(), end="")

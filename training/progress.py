"""Show the progress of training: a bar in the terminal, and scalars for TensorBoard."""

# mypy: disable-error-code="attr-defined, arg-type"
# torch's type for data sets lacks the attributes of `GTZANDataset`

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from hparams import HParams
from support.errors import UserError
from training.checkpoint import HISTORY, History


def progress(dataloader: DataLoader, label: str = "") -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the batches of a loader; meanwhile a terminal shows a bar with rate and time left."""
    size = len(dataloader.dataset)
    with tqdm(total=size, desc=label, unit=" chunks", leave=False, disable=None) as bar:
        for x, y in dataloader:
            yield x, y
            bar.update(len(y))


def label_epoch(epoch: int, seconds: float, hparams: HParams) -> str:
    """Label of an epoch's bar; `seconds` is the time that the previous epochs took together."""
    label = f"Epoch {epoch}/{hparams.num_epochs}"
    if epoch == 1:
        return label
    left = seconds / (epoch - 1) * (hparams.num_epochs - epoch + 1)
    return f"{label} (run: {tqdm.format_interval(left)} left at most)"


def summary_writer() -> Any:
    """TensorBoard's writer class. Raises `UserError` if the package is missing."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UserError(
            "--tensorboard: the package tensorboard is missing here: "
            "pip install tensorboard -c constraints.txt, or leave the flag out"
        ) from error
    return SummaryWriter


class Scalars:
    """Writes the history of a run for TensorBoard into its folder, if `--tensorboard` is set."""

    def __init__(self, folder: Path, history: History, hparams: HParams) -> None:
        # purging hides rows that an interrupted run wrote after its last checkpoint
        self.writer = summary_writer()(folder, purge_step=1) if hparams.tensorboard else None
        for row in history:
            self.add(row)

    def add(self, row: dict[str, Any]) -> None:
        """Write a row of `history.csv` as loss/train, loss/valid, acc/train and acc/valid."""
        if self.writer:
            for name in HISTORY[1:]:
                split, kind = name.split("_")
                self.writer.add_scalar(f"{kind}/{split}", row[name], row["epoch"])
            self.writer.flush()

"""Watching a run that trains: a progress bar in a terminal, and scalars for TensorBoard."""

from tqdm import tqdm

from support.errors import UserError


def progress(dataloader, label=""):
    """Yield the batches of a loader; in a terminal beside a bar of chunks, their rate, time left.

    The bar goes when the last batch is done.
    """
    size = len(dataloader.dataset)
    with tqdm(total=size, desc=label, unit=" chunks", leave=False, disable=None) as bar:
        for x, y in dataloader:
            yield x, y
            bar.update(len(y))


def label_epoch(epoch, seconds, hparams):
    """What stands before the bar of an epoch, given the seconds that those before it took."""
    label = f"Epoch {epoch}/{hparams.num_epochs}"
    if epoch == 1:
        return label
    left = seconds / (epoch - 1) * (hparams.num_epochs - epoch + 1)
    return f"{label} (run: {tqdm.format_interval(left)} left at most)"


def summary_writer():
    """The class that writes what TensorBoard shows; raises `UserError` where it is missing."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UserError(
            "--tensorboard: the package tensorboard is missing here: "
            "pip install tensorboard -c constraints.txt, or leave the flag out"
        ) from error
    return SummaryWriter


class Scalars:
    """The history of a run as TensorBoard shows it, in its folder; nothing where it is not asked.

    It begins anew: what an interrupted run wrote after its last checkpoint is hidden.
    """

    def __init__(self, folder, history, hparams):
        self.writer = summary_writer()(folder, purge_step=1) if hparams.tensorboard else None
        for row in history:
            self.add(row)

    def add(self, row):
        """Write a row of `history.csv`: loss/train, loss/valid, acc/train, acc/valid."""
        if not self.writer:
            return
        for name, value in row.items():
            if name != "epoch":
                self.writer.add_scalar("/".join(reversed(name.split("_"))), value, row["epoch"])
        self.writer.flush()

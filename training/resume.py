"""Save a training run after each epoch, and continue it."""

from hparams import HParams
from support.errors import UserError
from tracks.lists import SPLITS
from training.checkpoint import (
    find_run,
    generator_states,
    load_weights,
    read_settings,
    restore_generators,
    save_checkpoint,
    write_history,
)

FREE_TO_CHANGE = {  # when a run is resumed
    *("resume", "num_epochs", "max_minutes", "device", "num_workers", "cache_gb", "tensorboard"),
}


def save(runner, loaders, folder, history, hparams):
    """Write `last.pt`, then `best.pt`, if the last epoch is the best, and `history.csv`."""
    train_loader, _ = loaders
    mean, std = train_loader.dataset.normalization
    parts = {
        "model": runner.model.state_dict(),
        "hparams": hparams.to_dict() | {"resume": ""},
        "mean": mean,
        "std": std,
        "epoch": history[-1]["epoch"],
        "splits": summaries(loaders),
    }
    save_checkpoint(
        folder / "last.pt",
        **parts,
        optimizer=runner.optimizer.state_dict(),
        scheduler=runner.scheduler.state_dict() if runner.scheduler else {},
        best=(runner.best_loss, runner.best_epoch),
        seconds=runner.seconds,
        history=history,
        generators=generator_states(train_loader.sampler.generator),
        data=[loader.dataset.digest for loader in loaders],
    )
    if runner.best_epoch == parts["epoch"]:
        save_checkpoint(folder / "best.pt", **parts)
    write_history(folder, history)


def summaries(loaders):
    """What `best.pt` tells of the tracks that it was trained and chosen by."""
    return {split: loader.dataset.summary for split, loader in zip(SPLITS, loaders)}


def restore(runner, loaders, folder):
    """Put everything back as it was when `last.pt` was written; returns the history so far.

    Raises `UserError` where the data are not the run's, or `last.pt` is not what `save` wrote.
    """
    path = folder / "last.pt"
    last = load_weights(runner.model, path)
    try:
        if last["data"] != [loader.dataset.digest for loader in loaders]:
            raise UserError(
                f"the tracks, tags or features are not those that the run {folder} began with: "
                "restore them, or start a new run without --resume"
            )
        runner.optimizer.load_state_dict(last["optimizer"])
        if runner.scheduler:
            runner.scheduler.load_state_dict(last["scheduler"])
        runner.best_loss, runner.best_epoch = last["best"]
        runner.seconds = float(last["seconds"])
        restore_generators(last["generators"], loaders[0].sampler.generator)
        history = last["history"]
        write_history(folder, history)
        if runner.best_epoch == last["epoch"]:  # a kill may have come between the two files
            best = {name: last[name] for name in ("model", "hparams", "mean", "std", "epoch")}
            save_checkpoint(folder / "best.pt", **best, splits=summaries(loaders))
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise UserError(
            f"{path} is no checkpoint to go on from ({type(error).__name__}: {error}): "
            "start a new run without --resume"
        ) from error
    print(f"Going on with {folder} after epoch {last['epoch']}")
    return history


def resumed(hparams, argv):
    """The folder that `--resume` means, and its run's settings.

    Raises `UserError` where a flag would change what the run computes.
    """
    folder = find_run(hparams.resume)
    run = HParams.from_dict(read_settings(folder))
    asked = run.parse_argument(argv)
    free = FREE_TO_CHANGE - ({"num_epochs"} if run.lr_schedule == "onecycle" else set())
    for name, value in asked.to_dict().items():
        if name not in free and value != getattr(run, name):
            raise UserError(
                f"--{name} {value}: the run {folder} has {getattr(run, name)}, and a resumed run "
                "keeps its settings; leave the flag out, or start a new run without --resume"
            )
    return folder, asked

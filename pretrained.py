"""Get pretrained models: published weights become runs that need no training.

    python pretrained.py
    python pretrained.py musicnn-msd
    python predict.py song.mp3 --run musicnn-msd

Without a name it lists the models. The weights come from the package musicnn, whose wheel pip
downloads; `--wheel` takes one that is already here. The package is neither installed nor imported:
its checkpoint is read as bytes, and the model must give the published values for a test signal.
"""

import support.start  # noqa: F401 - Ctrl-C ends it quietly while modules load

import argparse
import difflib
import hashlib
import io
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from support.errors import UserError, run_script, visible
from support.files import lock, own_path, write_text
from support.flags import command_line, parse_flags
from training.checkpoint import read_settings, save_checkpoint, write_settings
from training.musicnn import PUBLISHED, THRESHOLD, check_run, convert
from training.runs import PRETRAINED
from training.trained_run import TrainedRun

PACKAGE = "musicnn==0.1.0"
WHEEL = "musicnn-0.1.0-py3-none-any.whl"
WHEEL_HASH = "f38a4890c648c1ddbb141c5d96d2b0a8cfcd36746002d896989f7b88beb65cfa"  # SHA-256
LICENCE = "musicnn-0.1.0.dist-info/LICENSE.md"  # in the wheel
DOWNLOAD = command_line("python", "-m", "pip", "download", "--no-deps", PACKAGE)
CHECKPOINT = (".index", ".data-00000-of-00001")
COLUMNS = ("name", "trained on", "tags", "size", "licence", "here")


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description="Get pretrained models; without a name, list them.", allow_abbrev=False
    )
    parser.add_argument("names", nargs="*", metavar="name", help=f"{', '.join(PUBLISHED)}")
    parser.add_argument("--wheel", metavar="FILE", help=f"{WHEEL}, if it is already here")
    args = parse_flags(parser, argv)
    for name in args.names:
        if name not in PUBLISHED:
            close = difflib.get_close_matches(name, PUBLISHED, n=1)
            hint = f"did you mean {close[0]}?" if close else "choose " + " or ".join(PUBLISHED)
            parser.error(f"there is no pretrained model {visible(name)}: {hint}")
    if args.wheel and not args.names:
        parser.error(f"--wheel {args.wheel}: name the models to take from it")
    return args


def find_state(name: str) -> str:
    """Whether a model is here: "yes", "no", or "damaged"."""
    folder = PRETRAINED / name
    if not (folder / "best.pt").is_file():
        return "no"
    try:
        read_settings(folder)
        check_run(TrainedRun(folder / "best.pt", "cpu"), PUBLISHED[name])
    except UserError:
        return "damaged"
    return "yes" if (folder / "LICENSE").is_file() else "damaged"


def format_models() -> str:
    """A table of all models."""
    rows = [COLUMNS]
    for name, each in PUBLISHED.items():
        tags = str(len(each.hparams.tags))
        rows.append((name, each.trained_on, tags, "3.2 MB", "ISC", find_state(name)))
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def download(folder: Path, names: list[str]) -> Path:
    """Download the wheel into a folder through pip; return its path."""
    requirement = folder / "requirements.txt"
    write_text(requirement, f"{PACKAGE} --hash=sha256:{WHEEL_HASH}\n")
    words = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--no-input"]
    words += ["--only-binary", ":all:", "--disable-pip-version-check", "--retries", "2"]
    words += ["--dest", str(folder), "--requirement", str(requirement)]
    print(f"Downloading {PACKAGE} (29 MB) ...", flush=True)
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        reason = next((x for x in reversed(lines) if x.startswith("ERROR: ")), lines[-1])
        command = command_line("python", "pretrained.py", *names, "--wheel", WHEEL)
        raise UserError(
            f"pip cannot download {PACKAGE} ({visible(reason.removeprefix('ERROR: '))[:200]}): "
            f"without a network run `{DOWNLOAD}` on another machine, and here `{command}`"
        )
    return folder / WHEEL


def read_wheel(path: Path) -> bytes:
    """The bytes of the wheel. Raises `UserError` unless they are the published ones."""
    if not path.is_file():
        raise UserError(f"{path} is not a file: get the wheel with `{DOWNLOAD}`")
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()  # large files take no memory
        file.seek(0)
        if found == WHEEL_HASH:
            return file.read()
    raise UserError(
        f"{path} is not the wheel of {PACKAGE} (its SHA-256 begins with {found[:8]}, not "
        f"{WHEEL_HASH[:8]}): nothing is taken from it; get it again with `{DOWNLOAD}`"
    )


def install(name: str, wheel: bytes) -> None:
    """Make the folder of a model from the wheel; a new one appears whole or not at all."""
    folder = own_path(PRETRAINED, f"{name}/best.pt").parent
    made = PRETRAINED / f"{name}.part"
    shutil.rmtree(made, ignore_errors=True)  # a command that was killed can have left it
    try:
        write_run(made, name, wheel)
        check_run(TrainedRun(made / "best.pt", "cpu"), PUBLISHED[name])
        if not folder.exists():
            made.rename(folder)
        else:  # it is damaged, but an index in it can be whole; the weights come last
            for path in sorted(made.iterdir(), key=lambda path: path.suffix == ".pt"):
                path.replace(folder / path.name)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    print(f"{name} is in {folder}: it gives the published values for the test signal", flush=True)


def write_run(folder: Path, name: str, wheel: bytes) -> None:
    """Write the files of a model's run. Raises `UserError` if the wheel lacks its weights."""
    published = PUBLISHED[name]
    hparams, source = published.hparams, f"musicnn/{published.folder}"
    try:
        with zipfile.ZipFile(io.BytesIO(wheel)) as file:
            index, data = (file.read(f"{source}/{part}") for part in CHECKPOINT)
            licence = file.read(LICENCE).decode()
        weights = convert(index, data, hparams)
    except Exception as error:  # of many kinds: zipfile, zlib, model ...
        what = visible(f"{type(error).__name__}: {error}")[:200]
        raise UserError(
            f"{source} in the wheel cannot be converted to weights of {hparams.model} ({what}): "
            f"restore that class in model.py, or get the wheel again with `{DOWNLOAD}`"
        ) from error
    about = f"best.pt holds the weights {source} of the Python package {PACKAGE}, converted."
    write_text(folder / "LICENSE", f"{about}\n\n{licence}")
    write_settings(folder, hparams)
    parts = {"model": weights, "hparams": hparams.to_dict(), "mean": 0.0, "std": 1.0, "epoch": 0}
    parts["origin"] = {"run": name, "trained_on": published.trained_on, "note": published.note}
    save_checkpoint(folder / "best.pt", **parts, decision={"threshold": THRESHOLD})


def get_models(names: list[str], wheel: str | None) -> None:
    """Make the folders of models that are missing or damaged."""
    states = {name: find_state(name) for name in names}
    for name, state in states.items():
        if state == "yes":
            print(f"{name} is here already, in {PRETRAINED / name}")
        elif state == "damaged":
            print(f"*** {PRETRAINED / name} is damaged, or of another model.py: making it again")
    missing = [name for name in names if states[name] != "yes"]
    if not missing:
        return
    with tempfile.TemporaryDirectory() as folder:
        content = read_wheel(Path(wheel) if wheel else download(Path(folder), names))
    for name in missing:
        install(name, content)
    print(f"Use it with `{command_line('python', 'predict.py', 'song.mp3', '--run', missing[0])}`")


def main(argv: list[str] | None = None) -> None:
    """List the models, or get those that are named."""
    args = parse(argv)
    if not args.names:
        print(format_models())
        return
    busy = f"{PRETRAINED}: another command is writing there: waiting until it ends"
    with lock(PRETRAINED / "pretrained.lock", busy, wait=True, delete=True):
        get_models(list(dict.fromkeys(args.names)), args.wheel)


if __name__ == "__main__":
    run_script(main)

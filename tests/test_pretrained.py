"""Pretrained models: whole or not at all, as published, and used like any run."""

import hashlib
import re
import shutil
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from bundles import made_of, make_bundle, make_wheel, random_tensors

import predict
import pretrained
import retrieve
import train_test
import visualize
from pretrained import PRETRAINED, PUBLISHED, WHEEL, main
from support.errors import UserError
from support.files import lock
from training.checkpoint import load_checkpoint, read_settings
from training.musicnn import reference_signal

NAME = "musicnn-msd"
FOLDER = PRETRAINED / NAME
DOWNLOAD = "`python -m pip download --no-deps musicnn==0.1.0`"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A wheel of random weights as if published: {"tensors": ..., "wheel": path, "run": folder}."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("made"))
        tensors = random_tensors(NAME, np.random.default_rng(0))
        patch.setitem(PUBLISHED, NAME, made_of(tensors, NAME))
        wheel = make_wheel(Path(WHEEL).absolute(), {"MSD_musicnn": make_bundle(tensors)})
        patch.setattr(pretrained, "WHEEL_HASH", hashlib.sha256(wheel.read_bytes()).hexdigest())
        main([NAME, "--wheel", str(wheel)])
        yield SimpleNamespace(tensors=tensors, wheel=str(wheel), run=FOLDER.absolute())


@pytest.fixture
def here(made, tmp_path, monkeypatch):
    """The model in the working directory."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(made.run, FOLDER)
    return made


def files():
    return sorted(path.as_posix() for path in PRETRAINED.rglob("*") if path.is_file())


def refused(words, capsys):
    """The message with which a command ends without making anything."""
    with pytest.raises(UserError) as error:
        main(words)
    assert not files()
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


def test_a_model_has_its_weights_settings_origin_and_licence(here):
    assert {path.name for path in FOLDER.iterdir()} == {"best.pt", "hparams.json", "LICENSE"}
    parts, tensors = load_checkpoint(FOLDER / "best.pt", sealed=True), here.tensors
    weights = {name: value.numpy() for name, value in parts["model"].items()}
    assert sum(value.size for value in weights.values()) == 792_090
    timbre, third = weights["front.1.1.weight"], weights["middle.0.1.weight"]
    np.testing.assert_allclose(timbre[5, 0], tensors["conv2d_1/kernel"][:, :, 0, 5], rtol=1e-6)
    np.testing.assert_allclose(third[5, :, 3, 0], tensors["conv2d_5/kernel"][3, :, 0, 5], rtol=1e-6)
    np.testing.assert_allclose(weights["linear.weight"], tensors["dense_1/kernel"].T, rtol=1e-6)
    variance = tensors["batch_normalization_10/moving_variance"]
    np.testing.assert_allclose(weights["embedding.running_var"], variance, rtol=1e-6)
    assert (parts["mean"], parts["std"], parts["epoch"]) == (0, 1, 0)
    assert parts["decision"] == {"threshold": 0.2}
    trained_on = "the Million Song Dataset, about 200,000 songs"
    note = "it may hold songs of GTZAN"
    assert parts["origin"] == {"run": NAME, "trained_on": trained_on, "note": note}
    assert read_settings(FOLDER) == parts["hparams"] == PUBLISHED[NAME].hparams.to_dict()
    text = (FOLDER / "LICENSE").read_text(encoding="utf-8")
    assert "musicnn/MSD_musicnn of the Python package musicnn==0.1.0" in text
    assert text.endswith("\nUse it freely.")


def test_what_is_here_is_listed_and_left_alone(here, capsys):
    before = {path: path.stat().st_mtime_ns for path in FOLDER.iterdir()}
    main([NAME, NAME])  # no wheel is needed
    assert capsys.readouterr().out == f"{NAME} is here already, in {FOLDER}\n"
    assert before == {path: path.stat().st_mtime_ns for path in FOLDER.iterdir()}
    main([])
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["name", "trained", "on", "tags", "size", "licence", "here"]
    assert [row.split()[0] for row in rows] == ["musicnn-msd", "musicnn-mtt"]
    assert [row.split()[-1] for row in rows] == ["yes", "no"]
    assert [re.split("  +", row)[2:5] for row in rows] == [["50", "3.2 MB", "ISC"]] * 2


def test_a_damaged_model_is_made_again_and_keeps_its_index(here, capsys):
    content = (FOLDER / "best.pt").read_bytes()
    (FOLDER / "best.pt").write_bytes(content[:9999] + b"x" + content[10000:])
    (FOLDER / "index").mkdir()
    (FOLDER / "index/file").touch()
    left = PRETRAINED / f"{NAME}.part"  # by a command that was killed
    left.mkdir()
    (left / "1-2.part").touch()
    main([])
    assert capsys.readouterr().out.splitlines()[1].endswith("damaged")
    main([NAME, "--wheel", here.wheel])
    assert f"*** {FOLDER} is damaged, or of another model.py: making" in capsys.readouterr().out
    assert (FOLDER / "best.pt").read_bytes() == content, "an index of it stays valid"
    names = ["LICENSE", "best.pt", "hparams.json", "index/file"]
    assert files() == [f"pretrained/{NAME}/{name}" for name in names]


def test_another_wheel_is_refused(made, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    content = bytearray(Path(made.wheel).read_bytes())
    content[len(content) // 2] ^= 1
    Path("tampered.whl").write_bytes(content)
    Path("text.whl").write_text("no wheel", encoding="utf-8")
    for name in ("tampered.whl", "text.whl"):
        message = refused([NAME, "--wheel", name], capsys)
        assert message.startswith(f"{name} is not the wheel of musicnn==0.1.0 (its SHA-256 begins")
        assert message.endswith(f"nothing is taken from it; get it again with {DOWNLOAD}")
    for name in (".", "missing.whl"):
        message = refused([NAME, "--wheel", name], capsys)
        assert message == f"{name} is not a file: get the wheel with {DOWNLOAD}"


def test_a_checkpoint_that_does_not_fit_makes_nothing(made, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    index, data = make_bundle(made.tensors)
    small = make_bundle(made.tensors | {"dense/bias": np.zeros(1)})
    swapped = dict(made.tensors, **{"conv2d_6/kernel": made.tensors["conv2d_7/kernel"]})
    for bundle, said in (
        ((index[:-1], data), "(ValueError: it is not the index of a tensor bundle)"),
        ((index, data[:-1]), "is not where the index says"),
        (small, "(ValueError: the tensor dense/bias is (1,), not (200,))"),
        (({}, b""), ""),
        (make_bundle(swapped), "gives values for a test signal that differ by"),
    ):
        bundles = {"MSD_musicnn": bundle} if bundle[0] else {}
        content = make_wheel(Path("a.whl"), bundles).read_bytes()
        monkeypatch.setattr(pretrained, "WHEEL_HASH", hashlib.sha256(content).hexdigest())
        message = refused([NAME, "--wheel", "a.whl"], capsys)
        assert said in message
        assert "restore " in message and "model.py" in message


def test_pip_gets_the_pinned_wheel_or_a_message(made, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    done = SimpleNamespace(returncode=0, stderr="")

    def run(words, **_):
        folder = Path(words[words.index("--dest") + 1])
        text = Path(words[words.index("--requirement") + 1]).read_text(encoding="utf-8")
        assert text == f"musicnn==0.1.0 --hash=sha256:{pretrained.WHEEL_HASH}\n"
        assert {"--no-deps", "--require-hashes"} <= set(words)
        if not done.returncode:
            shutil.copy(made.wheel, folder)
        return done

    monkeypatch.setattr(pretrained.subprocess, "run", run)
    done.returncode = 1
    offline = f"python pretrained.py {NAME} --wheel {WHEEL}"
    for stderr, reason in (
        ("WARNING: retry\nERROR: No matching distribution found\nnotice\n", "No matching"),
        ("/usr/bin/python: No module named pip\n", "/usr/bin/python: No module named pip"),
        ("", "status 1"),
    ):
        done.stderr = stderr
        message = refused([NAME], capsys)
        assert message.startswith(f"pip cannot download musicnn==0.1.0 ({reason}")
        assert message.endswith(
            f": without a network run {DOWNLOAD} on another machine, and here `{offline}`"
        )
    done.returncode = 0
    main([NAME])
    *_, where, use = capsys.readouterr().out.splitlines()
    assert where == f"{NAME} is in {FOLDER}: it gives the published values for the test signal"
    assert use == f"Use it with `python predict.py song.mp3 --run {NAME}`"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["musicnn-mds"], "there is no pretrained model musicnn-mds: did you mean musicnn-msd?"),
        (["vgg"], "there is no pretrained model vgg: choose musicnn-msd or musicnn-mtt"),
        (["--wheel", "a.whl"], "--wheel a.whl: name the models to take from it"),
    ],
)
def test_wrong_words_end_with_a_message(words, message, capsys):
    with pytest.raises(SystemExit):
        main(words)
    assert message in capsys.readouterr().err


def test_a_second_command_waits_for_the_first(here, capsys):
    with lock(PRETRAINED / "pretrained.lock", ""):
        second = threading.Thread(target=main, args=([NAME],))
        second.start()
        said = ""
        while "waiting until it ends" not in said:
            said += capsys.readouterr().out
        assert "here already" not in said
    second.join()
    assert "is here already" in capsys.readouterr().out


def test_everything_that_takes_a_run_takes_its_name(here, capsys, monkeypatch):
    monkeypatch.setattr(visualize, "MOST_FILTERS", 4)
    Path("music").mkdir()
    soundfile.write("music/a.wav", reference_signal(), 16000, "FLOAT")
    soundfile.write("music/b.wav", reference_signal()[::-1] ** 3, 16000)
    assert predict.main(["music/a.wav", "--run", NAME, "--top", "50", "--timeline"]) == 0
    first, second, line, sentence, *timeline = capsys.readouterr().out.splitlines()
    assert first == f"Run: {FOLDER} (Million Song Dataset, tagging, MusiCNN)"
    assert second == "All of each track"
    shares = dict(part.rsplit(" ", 2)[:2] for part in line.partition(": ")[2].split(", "))
    expected = [float(x) for x in PUBLISHED[NAME].probabilities.split()]
    assert {tag: float(share) for tag, share in shares.items()} == pytest.approx(
        {tag: 100 * share for tag, share in zip(PUBLISHED[NAME].hparams.tags, expected)}, abs=0.06
    )
    likely = [float(share) for share in shares.values() if float(share) > 20]
    assert sentence.startswith("  This is a") and 0 < sentence.count("[") <= len(likely) < 50
    stretch = [float(share) for share in re.findall(r"(\S+) %", timeline[0])]
    assert min(stretch) > 20 and any(share < 50 for share in stretch)
    assert Path("a.wav-timeline.png").exists()
    assert retrieve.main(["music/a.wav", "--index", "music", "--run", NAME]) == 0
    assert "2 tracks embedded" in (out := capsys.readouterr().out)
    assert re.search(r"^1 \(0\.\d+\) b\.wav$", out, re.MULTILINE)
    assert retrieve.main(["--evaluate", "--run", NAME]) == 1
    assert "was trained on the Million Song Dataset" in capsys.readouterr().err
    assert visualize.main(["--run", NAME]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [str(FOLDER / "filters.png")]
    with pytest.raises(UserError, match=f"no last.pt .* `--init_from {NAME}`"):
        train_test.main(["--resume", NAME])
    with pytest.raises(SystemExit):
        predict.main(["music/a.wav", "--run", NAME, "--num_mels", "64"])
    assert f"--num_mels: settings come from the run, {FOLDER}" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"`python pretrained\.py` lists"):
        predict.main(["music/a.wav", "--run", "musicnn-mtt"])

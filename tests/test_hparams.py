import dataclasses
import importlib
import subprocess
import sys

import pytest
from conftest import ROOT, source_files

from hparams import HParams, hparams
from support.errors import UserError

FLAGS = [f.name for f in dataclasses.fields(HParams)]


def test_defaults_are_the_tutorials():
    taught = {
        "dataset_path": "./dataset/gtzan",
        "sample_rate": 22050,
        "fft_size": 1024,
        "win_size": 1024,
        "hop_size": 512,
        "num_mels": 128,
        "feature_length": 1024,
        "device": 1,
        "batch_size": 128,
        "num_epochs": 100,
        "learning_rate": 1e-2,
    }
    assert taught.items() <= hparams.to_dict().items()


def test_no_flag_leaves_the_defaults():
    assert HParams().parse_argument([]) == HParams()


def test_parsing_changes_neither_the_instance_nor_the_module():
    before = HParams()
    assert before.parse_argument(["--num_mels", "64"]).num_mels == 64
    assert before == HParams() == hparams


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0), ("2", 2), ("cpu", "cpu"), ("cuda", "cuda"), ("cuda:1", "cuda:1"), ("mps", "mps")],
)
def test_devices(text, value):
    parsed = HParams().parse_argument(["--device", text]).device
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--num_mel", "64"], "unknown argument --num_mel: did you mean --num_mels?"),
        (["--num_mel=64"], "did you mean --num_mels?"),
        (["--zzz"], "unknown argument --zzz: --help lists all flags"),
        (["--fft_size", "0"], "--fft_size 0: must be 1 or more"),
        (["--feature", "mel"], "--feature mel: must be log_mel, linear_stft, mfcc, cqt or wavefor"),
        (["--scale", "dB"], "--scale dB: must be tutorial, db, musicnn or none"),
        (
            ["--feature", "mfcc", "--num_mfcc", "200"],
            "--num_mfcc 200: must be at most num_mels (128)",
        ),
        (["--feature", "cqt", "--sample_rate", "8000"], "--num_cqt_bins 168: reach 4186 Hz"),
        (["--init_from", "x", "--embedding", "eval"], "--embedding eval: must be embed or pool"),
        (["--embedding", "pool"], "--embedding pool: is for weights of another run: pass --init_"),
        (["--precision", "fp16"], "--precision fp16: must be fp32 or bf16"),
        (["--cache_gb", "-1"], "--cache_gb -1.0: must be 0 or more"),
        (["--fft_size", "1.5"], "invalid int value: '1.5'"),
        (["--win_size", "1"], "--win_size 1: must be 2 or more"),
        (["--sample_rate", "2000000"], "--sample_rate 2000000: must be at most 1000000"),
        (["--device", "٣"], "--device ٣: must be 0 (CPU)"),
        (
            ["--win_size", "2048"],
            "--win_size 2048: must be at most fft_size; pass --win_size 1024,",
        ),
        (["--feature_length", "100"], "--feature_length 100: is shorter than one chunk (128)"),
        (["--learning_rate", "0"], "--learning_rate 0.0: must be a number above 0"),
        (["--learning_rate", "nan"], "--learning_rate nan: must be a number above 0"),
        (["--learning_rate", "1e39"], "must be a number above 0 (and below 1e38)"),
        (["--gain_db", "1000"], "--gain_db 1000.0: must be at most 60"),
        (["--time_mask", "128"], "--time_mask 128: must be below chunk_length (128)"),
        (["--feature", "mfcc", "--frequency_mask", "13"], "must be below the number of bins (13)"),
        (["--optimizer", "adamw", "--momentum", "0.9"], "--momentum 0.9: is for sgd"),
        (["--max_minutes", "-1"], "--max_minutes -1.0: must be 0 or more"),
        (["--momentum", "1"], "--momentum 1.0: must be below 1"),
        (["--weight_decay", "-1"], "--weight_decay -1.0: must be 0 or more"),
        (["--patience", "-1"], "--patience -1: must be 0 or more"),
        (["--num_mels", "4000000"], "--num_mels 4000000: must be at most 8192"),
        (["--num_mels", "1000", "--fft_size", "524288"], "--num_mels 1000: times half of fft_size"),
        (["--fft_size", "1048577"], "--fft_size 1048577: must be at most 1048576"),
        (["--hop_size", "10000000000000000000"], "must be at most 1048576"),
        (["--chunk_length", "1000000000", "--feature_length", "0"], "times the number of bins"),
        (["--feature_length", "100000000"], "times the number of bins must be at most 2147483648"),
        (["--batch_size", "1000000000"], "--batch_size 1000000000: must be at most 1048576"),
        (["--num_epochs", "10000000"], "--num_epochs 10000000: must be at most 1000000"),
        (["--num_workers", "100000"], "--num_workers 100000: must be at most 1024"),
        (["--seed", "4294967296"], "--seed 4294967296: must be below 2**32"),
        (["--device", "gpu"], "--device gpu: must be 0 (CPU), 1 (first GPU)"),
        (["--device", "-1"], "--device -1: must be 0 (CPU)"),
        (["--genres", "pop", "pop"], "--genres pop pop: repeats a name"),
        (["@nowhere.args"], "nowhere.args"),
        (["--task", "tags"], "--task tags: must be genre or tagging"),
        (["--tags", "loud"], "--tags loud: are for tagging: pass --task tagging too"),
        (["--task", "tagging", "--tags", "a,a"], "--tags a a: repeats a name"),
    ],
)
def test_wrong_flags_are_one_message(arguments, message, capsys):
    with pytest.raises(SystemExit) as stop:
        HParams().parse_argument(arguments)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("script", "flag"),
    [
        ("feature_extraction", "--augment_copies"),
        ("train_test", "--augment_copies"),
        ("train_test", "--recipes"),
        ("classic", "--num_epochs"),
        ("classic", "--mixup"),
        ("classic", "--num_seeds"),
        ("data_augment", "--num_mels"),
        ("data_augment", "--mixup"),
        ("compare", "--augment_copies"),
    ],
)
def test_a_flag_that_a_script_does_not_read_is_unknown(script, flag, capsys):
    with pytest.raises(SystemExit) as stop:
        importlib.import_module(script).main([flag, "2"])
    assert stop.value.code == 2
    assert f"unknown argument {flag}: " in capsys.readouterr().err


def test_extraction_and_training_take_the_same_recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shared.args").write_text("--mixup 0.2 --num_epochs 3", encoding="utf-8")
    for script in ("feature_extraction", "train_test"):
        with pytest.raises(UserError, match="no data set at"):
            importlib.import_module(script).main(["@shared.args"])


def test_validate_raises_the_projects_error():
    with pytest.raises(UserError, match="--hop_size 0"):
        HParams(hop_size=0).validate()


@pytest.mark.parametrize("name", HParams().feature_settings())
def test_each_feature_setting_changes_the_fingerprint(name):
    default = getattr(HParams(), name)
    other = {"feature": "mfcc", "scale": "db"}.get(name) or default + 1
    changed = HParams(**{name: other})
    assert changed.fingerprint() != HParams().fingerprint()
    assert changed.feature_folder() != HParams().feature_folder()


def test_a_command_gives_the_settings_it_was_made_from():
    words = ["--feature", "waveform", "--chunk_length", "128", "--feature_length", "16384"]
    given = HParams().parse_argument(words)
    assert HParams.from_dict(given.to_dict()).parse_argument(["--num_epochs", "2"]) == (
        dataclasses.replace(given, num_epochs=2)
    )
    command = given.command("x.py", "feature").split()[2:]
    assert HParams().parse_argument(command) == given
    assert HParams().parse_argument(["--fft_size", "512", "--win_size", "512"]).num_bins == 128
    assert HParams().parse_argument([*words, "--fft_size", "512"]).win_size == 1024


@pytest.mark.parametrize(
    ("name", "value"),
    [("num_mels", True), ("num_mels", 64.0), ("genres", [3]), ("genres", "ab"), ("mixup", "1")]
    + [("device", None), ("skip_broken", 1), ("tags", [["a"]]), ("device", True)],
)
def test_settings_of_a_wrong_type_are_refused(name, value):
    with pytest.raises(UserError, match=rf"^{name} .*: must be "):
        HParams.from_dict({name: value})


@pytest.mark.parametrize(
    "lengths",
    [["--feature_length", "0"], ["--feature_length", "661500"]]
    + [["--feature_length", "1024", "--chunk_length", "512"]],
)
def test_a_waveform_in_frames_is_refused(lengths, capsys):
    with pytest.raises(SystemExit):
        HParams().parse_argument(["--feature", "waveform", *lengths])
    assert "count samples, not frames: pass --feature_length 649539" in capsys.readouterr().err


def test_names_are_kept_in_one_unicode_form():
    assert HParams(genres=["cafe\u0301"], tags=["e\u0301"]).genres == ["caf\xe9"]
    assert HParams().parse_argument(["--genres", "cafe\u0301"]).genres == ["caf\xe9"]


def test_settings_of_older_versions_are_read():
    old = {"augment_copies": 2, "augment_path": "", "augment_effects": [], "recipes": []}
    assert HParams.from_dict({"seed": 7, "num_seeds": 3, "pair": [], **old}) == HParams(seed=7)


def test_training_settings_keep_the_features():
    assert HParams(seed=1, num_epochs=3).feature_folder() == HParams().feature_folder()


def test_command_repeats_the_flags_in_use():
    used = HParams(dataset_path="my data", genres=["a", "b"], num_mels=64, seed=3)
    expected = "python x.py --dataset_path 'my data' --genres a b --num_mels 64"
    assert used.command("x.py", "data", "feature") == expected


def test_every_setting_has_help_and_a_reader():
    source = "".join(p.read_text(encoding="utf-8") for p in source_files())
    for f in dataclasses.fields(HParams):
        assert f.metadata["help"]
        assert f"hparams.{f.name}" in source or f"self.{f.name}" in source, f.name


def test_help_prints_every_flag_without_heavy_imports():
    code = (
        "import sys, hparams\n"
        "try: hparams.main(['--help'])\n"
        "finally: print(sorted({'numpy', 'torch', 'librosa'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert all(f"--{name}" in done.stdout for name in FLAGS)
    assert done.stdout.rstrip().endswith("[]")

import dataclasses
import importlib
import subprocess
import sys
from dataclasses import dataclass

import pytest
from conftest import ROOT, source_files

from hparams import HParams, hparams, setting
from support.errors import UserError

FLAGS = [f.name for f in dataclasses.fields(HParams)]


@dataclass
class WithSwitch(HParams):
    switch: bool = setting(False, "training", "something to turn on")


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


@pytest.mark.parametrize("words", [["blues", "rock"], ["blues,rock"], ["blues,", "rock"]])
def test_lists_take_spaces_and_commas(words):
    assert HParams().parse_argument(["--genres", *words]).genres == ["blues", "rock"]


def test_a_list_can_be_emptied():
    assert HParams(genres=["a"]).parse_argument(["--genres"]).genres == []


def test_booleans_have_a_flag_each_way():
    assert WithSwitch().parse_argument(["--switch"]).switch is True
    assert WithSwitch(switch=True).parse_argument(["--no-switch"]).switch is False


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0), ("2", 2), ("cpu", "cpu"), ("cuda", "cuda"), ("cuda:1", "cuda:1"), ("mps", "mps")],
)
def test_devices(text, value):
    parsed = HParams().parse_argument(["--device", text]).device
    assert parsed == value
    assert type(parsed) is type(value)


def test_a_whole_number_is_a_float():
    rate = HParams().parse_argument(["--learning_rate", "1"]).learning_rate
    assert rate == 1.0
    assert isinstance(rate, float)


def test_argument_files(tmp_path):
    inner = tmp_path / "inner.args"
    inner.write_text("--seed 7\n", encoding="utf-8")
    file = tmp_path / "recipe.args"
    text = '\ufeff# a comment\n--num_mels 64 --hop_size 256 # two a line\n\n--run_path "a b"\n'
    text += f'"@{inner.as_posix()}"'
    file.write_text(text, encoding="utf-8")
    parsed = HParams().parse_argument([f"@{file}", "--hop_size", "128"])
    assert (parsed.num_mels, parsed.hop_size, parsed.run_path, parsed.seed) == (64, 128, "a b", 7)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--num_mel", "64"], "unknown argument --num_mel: did you mean --num_mels?"),
        (["--num_mel=64"], "did you mean --num_mels?"),
        (["--zzz"], "unknown argument --zzz: --help lists all flags"),
        (["--fft_size", "0"], "--fft_size 0: must be 1 or more"),
        (["--feature", "mel"], "--feature mel: must be one of log_mel, linear_stft, mfcc, cqt, wa"),
        (["--scale", "dB"], "--scale dB: must be tutorial, db or none"),
        (
            ["--feature", "mfcc", "--num_mfcc", "200"],
            "--num_mfcc 200: must be at most num_mels (128)",
        ),
        (["--feature", "cqt", "--sample_rate", "8000"], "--num_cqt_bins 168: reach 4186 Hz"),
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
        (["--time_mask", "128"], "--time_mask 128: must leave something of 128"),
        (["--feature", "mfcc", "--frequency_mask", "13"], "must leave something of 13"),
        (["--optimizer", "adamw", "--momentum", "0.9"], "--momentum 0.9: is of sgd"),
        (["--max_minutes", "-1"], "--max_minutes -1.0: must be 0 or more"),
        (["--momentum", "1"], "--momentum 1.0: must be below 1"),
        (["--weight_decay", "-1"], "--weight_decay -1.0: must be 0 or more"),
        (["--patience", "-1"], "--patience -1: must be 0 or more"),
        (["--seed", "4294967296"], "--seed 4294967296: must be below 2**32"),
        (["--device", "gpu"], "--device gpu: must be 0 (CPU), 1 (first GPU)"),
        (["--device", "-1"], "--device -1: must be 0 (CPU)"),
        (["--genres", "pop", "pop"], "--genres pop pop: names one twice"),
        (["@nowhere.args"], "nowhere.args"),
    ],
)
def test_wrong_flags_are_one_message(arguments, message, capsys):
    with pytest.raises(SystemExit) as stop:
        HParams().parse_argument(arguments)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_flags_of_settings_that_a_script_never_reads_are_warned_of(tmp_path, capsys):
    (tmp_path / "shared.args").write_text("--mixup 0.2 --num_epochs 3", encoding="utf-8")
    words = [f"@{tmp_path / 'shared.args'}", "--augment_copies", "2", "--num_mels", "64"]
    words += ["--gain_db=6", "--time_mask", "0", "--run_path", "mixup"]
    parsed = HParams().parse_argument(words, unread=("augmentation", "copies"))
    assert (parsed.augment_copies, parsed.mixup) == (2, 0.2)
    out, err = capsys.readouterr()
    assert err.startswith("*** --augment_copies --gain_db: no effect on ")
    assert (out, err.count("\n")) == ("", 1)
    HParams().parse_argument(words)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("script", "unread"),
    [
        ("feature_extraction", "--augment_copies"),
        ("train_test", "--augment_copies"),
        ("classic", "--num_epochs --augment_copies --mixup"),
        ("data_augment", "--num_mels --num_epochs --mixup"),
        ("compare", "--augment_copies"),
    ],
)
def test_each_script_knows_what_it_never_reads(script, unread, capsys, monkeypatch):
    flags = ["--num_mels", "64", "--num_epochs", "3", "--seed", "1", "--mixup", "0.2"]
    monkeypatch.setattr(sys, "argv", [f"{script}.py"])
    with pytest.raises(UserError):
        importlib.import_module(script).main([*flags, "--augment_copies", "2", "--genres", "none"])
    assert capsys.readouterr().err == f"*** {unread}: no effect on {script}.py\n"


def test_an_open_quote_in_an_argument_file_is_a_message(tmp_path, capsys):
    (tmp_path / "bad.args").write_text('--run_path "a', encoding="utf-8")
    with pytest.raises(SystemExit):
        HParams().parse_argument([f"@{tmp_path / 'bad.args'}"])
    assert "No closing quotation" in capsys.readouterr().err


def test_a_file_that_reads_itself_is_a_message(tmp_path, capsys):
    path = tmp_path / "self.args"
    path.write_text(f'"@{path.as_posix()}"', encoding="utf-8")
    with pytest.raises(SystemExit):
        HParams().parse_argument([f"@{path}"])
    assert "reads itself" in capsys.readouterr().err


def test_argument_files_are_utf_8(tmp_path, capsys):
    path = tmp_path / "음악.args"
    path.write_text('--dataset_path "내 음악"', encoding="utf-8")
    assert HParams().parse_argument([f"@{path}"]).dataset_path == "내 음악"
    path.write_text("--seed 1", encoding="utf-16")
    with pytest.raises(SystemExit):
        HParams().parse_argument([f"@{path}"])
    assert "cannot be read as UTF-8 text" in capsys.readouterr().err


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


def test_lengths_that_were_given_stay_when_settings_are_read_again():
    words = ["--feature", "waveform", "--chunk_length", "128", "--feature_length", "16384"]
    given = HParams().parse_argument(words)
    assert HParams.from_dict(given.to_dict()).parse_argument(["--num_epochs", "2"]) == (
        dataclasses.replace(given, num_epochs=2)
    )
    told = given.command("x.py", "feature").split()[2:]
    assert HParams().parse_argument(told) == given
    assert HParams().parse_argument(["--fft_size", "512", "--win_size", "512"]).num_bins == 128
    assert HParams().parse_argument(["--feature", "waveform", "--fft_size", "512"]).win_size == 1024


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

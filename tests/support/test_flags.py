"""Flags of dataclasses and files of flags."""

from dataclasses import dataclass

import pytest

from hparams import HParams
from support.flags import setting


@dataclass
class WithSwitch(HParams):
    switch: bool = setting(False, "training", "something to turn on")


@pytest.mark.parametrize("words", [["blues", "rock"], ["blues,rock"], ["blues,", "rock"]])
def test_lists_take_spaces_and_commas(words):
    assert HParams().parse_argument(["--genres", *words]).genres == ["blues", "rock"]


def test_a_list_can_be_emptied():
    assert HParams(genres=["a"]).parse_argument(["--genres"]).genres == []


def test_booleans_have_a_flag_each_way():
    assert WithSwitch().parse_argument(["--switch"]).switch is True
    assert WithSwitch(switch=True).parse_argument(["--no-switch"]).switch is False


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

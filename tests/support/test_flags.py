"""Flags of dataclasses and files of flags."""

import dataclasses
import sys
from dataclasses import dataclass

import pytest

import classic
from hparams import HParams
from support.flags import ALIASES, make_parser, parse_flags, setting


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


def message_of(capsys, parse, *arguments):
    """The message of a command line that is refused."""
    with pytest.raises(SystemExit):
        parse(*arguments)
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("alias", ALIASES)
def test_names_of_other_programs_suggest_the_setting(alias, capsys):
    assert ALIASES[alias] in {field.name for field in dataclasses.fields(HParams)}
    for flag in (f"--{alias}", f"--{alias.upper().replace('_', '-')}=1"):
        message = message_of(capsys, HParams().parse_argument, [flag])
        assert message.endswith(f": did you mean --{ALIASES[alias]}?")


def test_only_flags_that_the_script_knows_are_suggested(capsys):
    message = message_of(capsys, classic.main, ["--lr", "0.1"])
    assert "unknown argument --lr: " in message and "learning_rate" not in message


def test_in_a_notebook_the_command_line_belongs_to_jupyter(monkeypatch, capsys):
    words = ["ipykernel_launcher.py", "-f", "/run/kernel-1.json"]
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.setitem(sys.modules, "ipykernel", None)
    message = message_of(capsys, HParams().parse_argument)
    assert message.endswith("in a notebook pass a list, parse_argument([])")
    monkeypatch.setattr(sys, "argv", [words[0], "--f=/run/kernel-1.json"])
    assert message_of(capsys, HParams().parse_argument) == message.replace("-f,", "--f,")
    monkeypatch.delitem(sys.modules, "ipykernel")
    message = message_of(capsys, HParams().parse_argument)
    assert "parse_argument" not in message and "unknown argument --f" in message


@pytest.mark.parametrize(
    ("words", "files"),
    [
        (["a.wav", "--seed", "3", "b.wav"], ["a.wav", "b.wav"]),
        (["--seed", "3", "--", "-a.wav", "--seed"], ["./-a.wav", "./--seed"]),
    ],
)
def test_files_are_taken_from_anywhere_in_a_command(words, files):
    parser = make_parser(HParams(), groups=("seed",))
    parser.add_argument("files", nargs="*")
    args = parse_flags(parser, words)
    assert (args.files, args.seed) == (files, 3)


def test_a_script_can_explain_an_unknown_flag_better(capsys):
    parser = make_parser(HParams(), groups=("seed",))
    messages = {"--hop_size=3": "hop of seed 7", "--sed": "did you mean --seed?"}
    for word, message in messages.items():
        with pytest.raises(SystemExit):
            parse_flags(
                parser,
                [word, "--seed", "7"],
                lambda flag, args: f"hop of seed {args.seed}" if flag == "--hop_size" else "",
            )
        assert message in capsys.readouterr().err

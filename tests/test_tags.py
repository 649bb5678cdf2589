"""Tags from `tags.csv` to the report: what is read, refused, learned, scored and told."""

import dataclasses
import json
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import GENRES, flags, save_run

import classic
import compare
import data_augment
import model
import retrieve
import train_test
from data_manager import get_dataloader, load_dataset
from feature_extraction import main as extract_main
from hparams import HParams
from support.errors import UserError, run_script
from tracks.lists import load_lists
from tracks.sentence import describe
from tracks.tags import choose_classes, format_tags, read_tags
from train_test import Runner, set_seed
from training.build import make_model
from training.checkpoint import load_checkpoint
from training.optimization import tag_weights

TONES = dict(zip(GENRES, (["pitch:low"], ["pitch:middle", "dull"], ["pitch:high", "dull"])))
TAGS = ["dull", "pitch:high", "pitch:low", "pitch:middle"]


def write(data_set, text, encoding="utf-8"):
    (data_set / "tags.csv").write_text(text, encoding=encoding, newline="")


def listed(settings):
    return [name for names in load_lists(settings).values() for name in names]


@pytest.fixture
def tagging(settings, data_set):
    """Settings of tagging; the tags of a track are those of its pitch."""
    write(data_set, format_tags({name: TONES[name.split("/")[0]] for name in listed(settings)}))
    return dataclasses.replace(settings, task="tagging")


@pytest.fixture
def extracted_tags(tagging, extracted):
    return choose_classes(tagging)


@pytest.mark.parametrize(
    "text",
    [
        "track,tag\njazz/jazz.00000.wav,a:b,loud\njazz/jazz.00001.wav,loud\njazz/jazz.00002.wav\n",
        "\ufeffjazz/jazz.00000.wav,a:b\r\n\r\njazz\\jazz.00000.wav, loud,\r\n"
        "jazz/jazz.00001.wav,loud,loud\r\njazz/jazz.00002.wav,\r\n",
        'Track, loud ,"a:b"\njazz/jazz.00000.wav,1,1\njazz/jazz.00001.wav, 1,0\n'
        "jazz/jazz.00002.wav,0,0",
    ],
)
def test_both_forms_tell_the_same(settings, data_set, text):
    write(data_set, text)
    tags, tracks = read_tags(settings)
    assert tags == {"a:b", "loud"}
    assert [tracks[f"jazz/jazz.0000{i}.wav"] for i in range(3)] == [
        {"a:b", "loud"},
        {"loud"},
        set(),
    ]
    assert len(tracks) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "tags.csv names no track: a line is track,tag,tag"),
        ("track,tag\n\n", "tags.csv names no track"),
        ("track,loud\n", "tags.csv names no track"),
        ("jazz/jazz.00000.wav\n", "no track in use has a tag"),
        (
            "jazz/jazz.00000.wav,a\njazz/gone.wav,a\n",
            "line 2: the track 'jazz/gone.wav' is in no li",
        ),
        ("file,loud\njazz/jazz.00000.wav,1\n", "line 1: the track 'file' is in no list"),
        ("jazz/jazz.00000.wav;a\n", "line 1: the track 'jazz/jazz.00000.wav;a' is in no list"),
        ("jazz/jazz.00000.wav,0,1\n", "line 1: '0' is no tag: .* want a first line track,tag,tag"),
        ('jazz/jazz.00000.wav,"a,b"\n', "line 1: 'a,b' is no tag: one holds no comma"),
        ("track,a,\njazz/jazz.00000.wav,1,1\n", "line 1: '' is no tag"),
        ("track,a,b,a\njazz/jazz.00000.wav,1,1,1\n", "line 1: names the tag a twice"),
        ("track,a,b\njazz/jazz.00000.wav,1,2\n", "line 2: b is '2', it must be 0 or 1"),
        ("track,a,b\njazz/jazz.00000.wav,1\n", "line 2: has 1 values, it must have 2, one a tag"),
        ("track,a\n" + 2 * "jazz/jazz.00000.wav,1\n", "line 3: the track .* has a line already"),
        ("track,a,b\njazz/jazz.00000.wav,1,0\n", "no track in use has b: take that out, or pass"),
        ('jazz/jazz.00000.wav,"a\n', "tags.csv is no CSV"),
    ],
)
def test_a_file_that_is_wrong_is_one_message(settings, data_set, text, message):
    write(data_set, text)
    with pytest.raises(UserError, match=message):
        choose_classes(dataclasses.replace(settings, task="tagging"))


def test_tags_that_are_not_utf_8(settings, data_set):
    write(data_set, "jazz/jazz.00000.wav,재즈\n", "cp949")
    with pytest.raises(UserError, match="tags.csv is not UTF-8 .*: save it as UTF-8"):
        read_tags(settings)


def test_a_wrong_file_ends_training_with_status_1(settings, capsys):
    words = flags(settings, task="tagging")
    with pytest.raises(SystemExit) as stop:
        run_script(lambda: train_test.main(words))
    assert stop.value.code.startswith("error: ")  # which exits with 1
    assert "tags.csv is missing" in stop.value.code
    assert "`python dataset/demo.py` writes the demo's" in stop.value.code


def test_tags_are_filled_in_sorted_and_can_be_chosen(tagging):
    assert choose_classes(tagging).classes == TAGS
    some = dataclasses.replace(tagging, tags=["pitch:low", "dull"])
    assert choose_classes(some).classes == ["pitch:low", "dull"]
    with pytest.raises(UserError, match="has loud: .* pass --tags with some of dull, pitch:high"):
        choose_classes(dataclasses.replace(tagging, tags=["loud"]))
    assert choose_classes(dataclasses.replace(tagging, task="genre")).classes == list(GENRES)


def test_tags_that_no_track_in_use_has_are_left_out(tagging, capsys):
    chosen = choose_classes(dataclasses.replace(tagging, genres=["classical", "jazz"]))
    assert chosen.tags == ["dull", "pitch:low", "pitch:middle"]
    assert "left out, which no track in use has: pitch:high\n" in capsys.readouterr().out


def test_tracks_without_a_line_have_no_tags_and_are_counted(settings, data_set, capsys):
    write(data_set, "jazz/jazz.00000.wav,loud\n")
    choose_classes(dataclasses.replace(settings, task="tagging"))
    assert "23 of 24 tracks are not in " in capsys.readouterr().out


def test_of_tagging_a_folder_may_lie_in_one_split(tagging, data_set):
    for split, genre in zip(("train", "valid", "test"), GENRES):
        text = "".join(f"{name}\n" for name in listed(tagging) if name.startswith(genre))
        (data_set / f"new_{split}.txt").write_text(text, encoding="utf-8")
    for split in ("train", "valid", "test"):
        (data_set / f"new_{split}.txt").replace(data_set / f"{split}_list.txt")
    assert choose_classes(dataclasses.replace(tagging, genres=[])).tags == TAGS


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--task", "tags"], "--task tags: must be genre or tagging"),
        (["--tags", "loud"], "--tags loud: are for tagging: pass --task tagging too"),
        (["--task", "tagging", "--tags", "a,a"], "--tags a a: names one twice"),
    ],
)
def test_wrong_flags_are_one_message(words, message, capsys):
    with pytest.raises(SystemExit):
        HParams().parse_argument(words)
    assert message in capsys.readouterr().err


def test_neither_task_nor_tags_change_the_features(tagging):
    assert (
        choose_classes(tagging).fingerprint() == HParams(**tagging.feature_settings()).fingerprint()
    )


def test_labels_are_a_row_of_0_and_1_a_chunk(extracted_tags):
    x, y = load_dataset("train", extracted_tags)
    assert y.shape == (len(x), 4) == (24, 4)
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y[::8], [[0, 0, 1, 0], [1, 0, 0, 1], [1, 1, 0, 0]])
    _, batch = next(iter(get_dataloader(extracted_tags)[1]))
    assert batch.dtype == torch.float32


def train(hparams, folder, **changed):
    """Train by the script's main; returns the report."""
    train_test.main(flags(hparams, run_path=str(folder), **changed))
    return json.loads((folder / "report.json").read_text(encoding="utf-8"))


LEARNING = {"model": "Compact1D", "optimizer": "adamw", "learning_rate": 0.003, "batch_size": 4}


def test_it_learns_tags_and_reports_them(extracted_tags, tmp_path, capsys):
    report = train(extracted_tags, tmp_path / "run", num_epochs=6, tags=[], **LEARNING)
    assert report["roc_auc"] > 0.9  # three tones an octave apart
    assert list(report["per_tag"]) == TAGS
    assert report["per_tag"]["dull"]["tracks"] == 4
    low, high = report["roc_auc_interval"]
    assert low <= report["roc_auc"] <= high
    assert report["left_out"] == {"train": {}, "valid": {}, "test": {}}
    assert report["tracks"][2]["tags"] == ["dull", "pitch:middle"]
    assert set(report["tracks"][2]["probabilities"]) == set(TAGS)
    assert set(report["valid"]) == {"chunk_accuracy", "roc_auc", "pr_auc"}
    out = capsys.readouterr().out
    assert "Tags: 4\n" in out
    assert (
        f"\nTest ROC-AUC: {report['roc_auc']:.4f} (mean of 4 tags, 95% interval {low:.4f} " in out
    )
    assert (
        f"\nTest PR-AUC: {report['pr_auc']:.4f}\n\ntag           ROC-AUC  PR-AUC  tracks\n" in out
    )
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {
        *("hparams.json", "history.csv", "best.pt", "last.pt", "report.txt", "report.json"),
        *("tag_scores.png", "learning_curves.png"),
    }
    saved = load_checkpoint(tmp_path / "run/best.pt")["hparams"]
    assert (saved["task"], saved["tags"]) == ("tagging", TAGS)


def test_accuracy_and_loss_are_over_tags(extracted_tags):
    set_seed(0)
    runner = Runner(extracted_tags)
    loader = get_dataloader(extracted_tags)[1]
    loss, accuracy = runner.run(loader, "eval")
    with torch.inference_mode():
        shares = runner.model(loader.dataset.x).sigmoid()
    y = loader.dataset.y
    by_hand = -(y * shares.log() + (1 - y) * (1 - shares).log()).mean()
    assert loss == pytest.approx(by_hand.item(), rel=1e-4)
    assert accuracy == pytest.approx(((shares > 0.5) == (y > 0.5)).float().mean().item())
    np.testing.assert_allclose(runner.predict(loader), shares, rtol=1e-5)


@pytest.mark.parametrize(
    "changed", [{"class_weights": True}, {"label_smoothing": 0.2}, {"mixup": 0.4}]
)
def test_what_changes_training_does_so_for_tags(extracted_tags, changed):
    losses = []
    for settings in ({}, changed):
        set_seed(0)
        hparams = dataclasses.replace(extracted_tags, **settings)
        train_loader, valid_loader, _ = get_dataloader(hparams)
        train_loader.dataset.begin_epoch(1)
        runner = Runner(hparams, train_loader)
        losses.append((runner.run(valid_loader, "eval")[0], runner.run(train_loader, "train")[0]))
    assert losses[0][0] == losses[1][0]
    assert losses[0][1] != losses[1][1]
    assert np.isfinite(losses).all()


def test_mixed_tags_are_shares(extracted_tags):
    train_loader, _, _ = get_dataloader(dataclasses.replace(extracted_tags, mixup=1.0))
    train_loader.dataset.begin_epoch(1)
    mixed = torch.cat([y for _, y in train_loader])
    assert mixed.shape == (24, 4)
    assert ((mixed >= 0) & (mixed <= 1)).all()
    assert ((mixed > 0) & (mixed < 1)).any()
    torch.testing.assert_close(mixed[:, 1:].sum(1), torch.ones(24))  # each has one of the pitches


def test_label_smoothing_moves_both_answers_alike(extracted_tags):
    smoothed = Runner(dataclasses.replace(extracted_tags, label_smoothing=0.2)).criterion
    logits, y = torch.tensor([[2.0, -1.0]]), torch.tensor([[1.0, 0.0]])
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        logits, torch.tensor([[0.9, 0.1]])
    )
    torch.testing.assert_close(smoothed(logits, y), expected)


def test_weights_make_having_a_tag_count_as_not_having_it():
    labels = torch.tensor([[1.0, 0, 1], [0, 0, 1], [0, 0, 1], [0, 0, 1]])
    assert tag_weights(labels).tolist() == [3, 4, 0.25]


def test_a_run_goes_on_with_its_tags_and_refuses_others(extracted_tags, data_set, tmp_path):
    folder = tmp_path / "run"
    train(extracted_tags, folder)
    train_test.main(["--resume", str(folder), "--num_epochs", "3"])
    path = data_set / "tags.csv"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("00000.wav,pitch:low", "00000.wav,dull"), encoding="utf-8")
    with pytest.raises(UserError, match="the tracks, tags or features are not those that the run"):
        train_test.main(["--resume", str(folder), "--num_epochs", "4"])


def test_tags_without_a_positive_in_a_split_are_left_out(extracted, data_set, tmp_path, capsys):
    names = load_lists(extracted)
    tracks = {name: ["all"] for split in names.values() for name in split}
    tracks[names["train"][0]] += ["rare", "some"]
    for split in ("valid", "test"):
        tracks[names[split][0]].append("some")
    write(data_set, format_tags(tracks))
    report = train(dataclasses.replace(extracted, task="tagging"), tmp_path / "run")
    out = capsys.readouterr().out
    assert "*** train leaves out all (every track has it)\n" in out
    assert "*** test leaves out all (every track has it), rare (no track has it)\n" in out
    assert list(report["per_tag"]) == ["some"]
    assert report["left_out"]["valid"]["rare"] == "no track has it"
    assert "Left out of test: all (every track has it), rare" in out


def test_the_command_that_extracts_features_is_of_tagging(tagging, data_set, capsys):
    lists = load_lists(tagging)
    for split, text in (
        ("train", "\n".join(name for name in lists["train"] if "metal" not in name)),
        ("valid", "\n".join(lists["valid"] + [n for n in lists["train"] if "metal" in n])),
    ):
        (data_set / f"{split}_list.txt").write_text(text, encoding="utf-8")
    hparams = choose_classes(dataclasses.replace(tagging, genres=[]))
    with pytest.raises(UserError) as caught:
        get_dataloader(hparams)
    asked = str(caught.value).split("`")[1]
    words = shlex.split(asked)
    assert words[:2] == ["python", "feature_extraction.py"]
    assert extract_main(words[2:]) == 0
    assert "--tags" not in words
    save_run(hparams, "runs/one")
    (data_set.parent / "features").rename("gone")
    assert retrieve.main(["--evaluate"]) == 1
    assert asked in capsys.readouterr().err


def test_tags_that_train_cannot_teach_are_left_out_of_the_means(
    extracted, data_set, tmp_path, capsys
):
    names = load_lists(extracted)
    tracks = {name: ["old"] for name in names["train"]}
    for split in names:
        tracks.setdefault(names[split][0], []).append("some")
    for split in ("valid", "test"):
        tracks[names[split][1]] = ["new", "old"]
    write(data_set, format_tags(tracks))
    report = train(dataclasses.replace(extracted, task="tagging"), tmp_path / "run")
    untaught = {"new": "no train track has it", "old": "every train track has it"}
    assert report["left_out"]["train"] == {"new": "no track has it", "old": "every track has it"}
    assert report["left_out"]["valid"] == report["left_out"]["test"] == untaught
    assert list(report["per_tag"]) == ["some"]
    assert report["roc_auc"] == report["per_tag"]["some"]["roc_auc"]
    shares = [row["probabilities"]["some"] for row in report["tracks"]]
    assert report["roc_auc"] == np.mean([shares[0] > share for share in shares[1:]])
    told = "new (no train track has it), old (every train track has it)"
    out = capsys.readouterr().out
    assert f"*** test leaves out {told}\n" in out
    assert f"Left out of test: {told}\n" in out
    assert "Test ROC-AUC: " in out and "(mean of 1 tags" in out


@pytest.mark.parametrize("split", ["train", "test"])
def test_tags_that_nothing_can_be_scored_by_end_training_before_it(extracted, data_set, split):
    write(data_set, f"{load_lists(extracted)[split][0]},rare\n")
    with pytest.raises(UserError, match="no tag could be scored: every track of test, or of train"):
        train_test.main(flags(extracted, task="tagging", run_path="new"))
    assert not (data_set.parent / "new").exists()


class PerGenre(torch.nn.Module):
    """A model as written for genres."""

    def __init__(self, hparams):
        super().__init__()
        self.head = torch.nn.Linear(hparams.num_bins, len(hparams.genres))

    def forward(self, x):
        return self.head(x.mean(1))


def test_a_model_with_an_output_a_genre_is_told_what_to_read(extracted_tags, monkeypatch):
    monkeypatch.setattr(PerGenre, "__module__", "model")
    monkeypatch.setattr(model, "PerGenre", PerGenre, raising=False)
    with pytest.raises(UserError, match=r"logits \(2, 4\), one for each of hparams.classes"):
        make_model(dataclasses.replace(extracted_tags, model="PerGenre"))


def test_baselines_and_comparisons_refuse_tags(tagging, tmp_path):
    with pytest.raises(UserError, match="--task tagging: classic.py knows genres alone"):
        classic.main(flags(tagging))
    (tmp_path / "a.args").write_text("--task tagging", encoding="utf-8")
    with pytest.raises(UserError, match="a: --task tagging has no accuracies to compare"):
        compare.main(["--dataset_path", tagging.dataset_path, "--recipes", "a.args"])


def test_copies_have_the_tags_of_their_tracks(tagging, data_set):
    words = flags(tagging, augment_path="more", augment_effects=["noise", "time_stretch"])
    assert data_augment.main(words) == 0
    more = dataclasses.replace(tagging, dataset_path="more")
    assert choose_classes(more).tags == TAGS
    tracks = read_tags(more).tracks
    assert set(tracks) == set(listed(more))
    assert tracks["jazz/jazz.00002.noise.1.wav"] == set(TONES["jazz"])
    (data_set.parent / "more/tags.csv").unlink()
    data_augment.main(words)
    assert read_tags(more).tracks == tracks


def test_copies_that_tags_are_not_true_of_are_not_made(tagging, data_set, capsys):
    text = (data_set / "tags.csv").read_text(encoding="utf-8")
    write(data_set, text.replace("dull", "tempo:slow"))
    with pytest.raises(UserError, match="time_stretch: changes what tags tell of tempo; leave it"):
        data_augment.main(flags(tagging, augment_effects=["noise", "time_stretch"]))
    some = dataclasses.replace(tagging, augment_path="more", augment_effects=[])
    assert data_augment.main(flags(some)) == 0
    kept = "Effects that keep the tags true: pitch_shift, noise, shift, percussive\n"
    assert kept in capsys.readouterr().out
    copies = {
        name.split(".")[-3] for name in listed(HParams(dataset_path="more")) if ".1.wav" in name
    }
    assert copies == {"pitch_shift", "noise", "shift", "percussive"}


def test_without_tagging_an_augmented_data_set_has_no_tags(tagging):
    words = flags(tagging, augment_path="more", augment_effects=["noise"])
    for task in ("genre", "tagging", "genre"):
        data_augment.main([*words, "--task", task])
        assert Path("more/tags.csv").exists() == (task == "tagging")
    with pytest.raises(UserError, match="data_augment.py with --task tagging that of an augmented"):
        choose_classes(dataclasses.replace(tagging, dataset_path="more"))


def test_a_folder_called_tags_csv_is_a_message(tagging, data_set):
    words = flags(tagging, augment_path="more", augment_effects=["noise"])
    data_augment.main(words)
    Path("more/tags.csv").unlink()
    Path("more/tags.csv").mkdir()
    for task in ("genre", "tagging"):
        with pytest.raises(
            UserError, match=r"more/tags.csv cannot be replaced \(.*\): move it away"
        ):
            data_augment.main([*words, "--task", task])
    (data_set / "tags.csv").unlink()
    (data_set / "tags.csv").mkdir()
    with pytest.raises(UserError, match=r"tags.csv cannot be read \(.*\): put a file of tags"):
        data_augment.main(words)


def test_the_tutorials_sentence():
    tags = {
        "song:very danceable": 0.9,
        "emotion:arousing/awakening": 0.9,
        "emotion:exciting/thrilling": 0.8,
        "emotion:happy": 0.7,
        "emotion:sad": 0.2,
        "vocal:strong": 0.8,
        "vocal:fast tempo": 0.6,
        "energy:high": 0.7,
        "beat:high": 0.6,
        "usage:at a party": 0.51,
    }
    assert describe(tags.values(), tags) == (
        "This is a [very danceable] song that is [arousing/awakening], [exciting/thrilling] and "
        "[happy]. It features [strong] and [fast tempo] vocal. It is a song with [high energy] and "
        "[high beat] that you might like to listen to while [at a party]."
    )


@pytest.mark.parametrize(
    ("tags", "sentence"),
    [
        (
            {"tempo:slow": 0.3, "tempo:fast": 0.4, "mode:minor": 0.1, "mode:major": 0.2}
            | {"drums:drums": 0.1, "drums:no drums": 0.9}
            | {"instrument:piano": 0.7, "instrument:flute": 0.9, "instrument:sax": 0.5},
            "This is a [fast tempo] song. It features [flute] and [piano]. "
            "It is a song with [no drums] and [major mode].",
        ),
        ({"genre:indie": 0.6, "usage:driving": 0.6, "loud": 0.6, "old": 0.7},)
        + (
            "This is an [indie] song. It is a song that you might like to listen to while "
            "[driving]. Tags: old, loud.",
        ),
        ({"loud": 0.6, "old": 0.7, "slow": 0.1, ":odd": 0.8, "odd:": 0.9}, "odd:, :odd, old, loud"),
        ({"tempo:slow": 0.3, "loud": 0.5}, "no tag is more likely than not"),
    ],
)
def test_other_categories_and_none(tags, sentence):
    assert describe(list(tags.values()), list(tags)) == sentence

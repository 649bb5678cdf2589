import dataclasses
import json

import numpy as np
import pytest
from conftest import GENRES, flags, write_data_set
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier

import classic
from audio.features import extract_feature
from audio.reading import load_audio
from classic import CLASSIFIERS, Fitted, best_of, fit, main, probabilities, read_frames, statistics
from feature_extraction import main as extract_main
from hparams import CLASSICAL
from support.errors import UserError
from support.files import read_json
from tracks.catalog import read_catalog
from training.checkpoint import write_settings
from training.runs import find_run_to_resume, make_run_folder


@pytest.fixture(autouse=True)
def small_forest(monkeypatch):
    """A forest of few trees, because hundreds make the tests slow."""
    forest = RandomForestClassifier(20), {"min_samples_leaf": [2, 1]}
    monkeypatch.setitem(CLASSIFIERS, "random_forest", forest)


def classify(hparams, folder, **changed):
    """Run the script's main; returns its report."""
    main(flags(hparams, *CLASSICAL, run_path=str(folder), **changed))
    return read_json(folder / "report.json")


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_each_classifier_learns_pitch(extracted, tmp_path, name):
    report = classify(extracted, tmp_path / "run", model=name)
    assert report["track_accuracy"] >= 5 / 6  # three tones an octave apart
    assert report["classifier"].startswith(f"{name}, ")
    for row in report["tracks"]:
        shares = row["probabilities"]
        assert row["predicted"] == max(shares, key=shares.get)
        assert sum(shares.values()) == pytest.approx(1)


def test_without_a_model_all_are_tried_and_the_best_on_valid_is_reported(
    extracted, tmp_path, capsys
):
    report = classify(extracted, tmp_path / "run")
    out = capsys.readouterr().out
    assert list(report["tried"]) == list(CLASSIFIERS)
    assert all(f"\n{name} " in out for name in CLASSIFIERS)
    best = report["classifier"].split(",")[0]
    scores = {name: row["track_accuracy"] for name, row in report["tried"].items()}
    assert scores[best] == max(scores.values())
    settings = json.loads((tmp_path / "run/hparams.json").read_text(encoding="utf-8"))
    assert settings["model"] == best
    assert "Test Accuracy" not in out, "tracks have no chunks here"
    assert f"6 of 6 tracks, {best}, " in out
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {"hparams.json", "report.txt", "report.json", "confusion_matrix.png"}


def test_the_run_folder_has_the_classifiers_name(extracted, tmp_path):
    main(flags(extracted, *CLASSICAL, model="knn"))
    assert len(list(tmp_path.glob("runs/data-knn-*/report.txt"))) == 1


@pytest.mark.parametrize("name", ["random_forest", "dictionary"])
def test_only_the_same_seed_gives_the_same_report(extracted, tmp_path, name):
    reports = [
        classify(extracted, tmp_path / f"{i}", model=name, seed=seed, num_workers=i + 1)
        for i, seed in enumerate((5, 5, 6))
    ]
    assert all(report.pop("minutes") > 0 for report in reports)
    assert reports[0] == reports[1]
    assert reports[0]["tracks"] != reports[2]["tracks"]


def test_padding_is_in_no_vector(settings):
    padded = dataclasses.replace(settings, chunk_length=100, feature_length=300)
    assert extract_main(flags(padded)) == 0
    track = read_catalog(padded).splits["train"][0]
    assert track.chunks == 3
    y = load_audio(f"{settings.dataset_path}/{track.name}", padded)
    feature = extract_feature(y, padded)
    assert len(feature) == 263
    np.testing.assert_array_equal(read_frames(track, padded), feature)


def test_statistics_are_mean_and_deviation_over_time(rng):
    frames = rng.standard_normal((50, 3)).astype(np.float32)
    vector = statistics(frames)
    np.testing.assert_allclose(vector, [*frames.mean(0), *frames.std(0)], rtol=1e-5, atol=1e-6)


def test_the_test_split_is_read_once_at_the_end(extracted, tmp_path, monkeypatch):
    read, tested = [], {track.name for track in read_catalog(extracted).splits["test"]}

    def spy(track, hparams):
        read.append(track.name in tested)
        return read_frames(track, hparams)

    monkeypatch.setattr(classic, "read_frames", spy)
    classify(extracted, tmp_path / "run")
    assert all(read[-6:])
    assert not any(read[:-6])


def test_the_scaler_is_fitted_on_train_only(extracted):
    splits = read_catalog(extracted).splits
    scaler = fit("knn", splits, extracted).pipeline[0]
    vectors = [statistics(read_frames(track, extracted)) for track in splits["train"]]
    np.testing.assert_allclose(scaler.mean_, np.mean(vectors, axis=0))


def test_the_best_is_the_best_on_valid_and_the_first_of_a_tie():
    tried = [Fitted(name, {}, None, None, score) for name, score in zip("abc", (0.5, 0.7, 0.7))]
    assert best_of(tried).name == "b"


@pytest.mark.parametrize("classes", [2, 3])
def test_an_svms_most_probable_class_is_its_prediction(rng, classes):
    x, y = rng.standard_normal((30, 4)), np.arange(30) % classes
    svm = clone(CLASSIFIERS["svm"][0]).fit(x, y)
    shares = probabilities(svm, x, classes)
    np.testing.assert_array_equal(shares.argmax(1), svm.predict(x))
    np.testing.assert_allclose(shares.sum(1), 1)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_genre_that_train_lacks_has_probability_0(rng, name):
    x, y = rng.standard_normal((20, 4)), np.where(np.arange(20) % 2, 2, 0)
    shares = probabilities(clone(CLASSIFIERS[name][0]).fit(x, y), x, 4)
    np.testing.assert_array_equal(shares[:, [1, 3]], 0)


def test_two_tracks_are_enough(settings, data_set, tmp_path):
    write_data_set(tmp_path / "few", sizes={"train": 1, "valid": 1, "test": 1}, genres=GENRES[:2])
    few = dataclasses.replace(settings, dataset_path=str(tmp_path / "few"), genres=[])
    assert extract_main(flags(few)) == 0
    assert classify(few, tmp_path / "run")["num_tracks"] == 2


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model": "knnn"}, "--model knnn: classic.py has only logistic_reg.*did you mean knn?"),
        ({"model": "FCN4"}, "--model FCN4.*pass one, or leave it out to try all"),
        ({"feature": "waveform"}, "--feature waveform: .* pass mfcc or log_mel"),
        ({"resume": "newest"}, "only train_test.py resumes"),
        ({"genres": ["jazz"]}, "one genre: a classifier needs two"),
        (
            {"feature": "mfcc", "feature_path": ""},
            "no features at .*: run `python feature_extraction.py .*--feature mfcc",
        ),
    ],
)
def test_bad_input_is_a_message(extracted, changed, message):
    with pytest.raises(UserError, match=message):
        main(flags(extracted, *CLASSICAL, **changed))
    assert not list(extracted.feature_folder().parent.glob("runs/*")), "no run began"


def test_silence_teaches_no_dictionary(extracted, monkeypatch):
    monkeypatch.setattr(classic, "read_frames", lambda *_: np.zeros((9, 16), dtype=np.float32))
    with pytest.raises(UserError, match="perhaps silent: a dictionary needs music"):
        main(flags(extracted, *CLASSICAL, model="dictionary"))


def test_the_newest_run_to_resume_is_none_of_these(extracted, tmp_path):
    hparams = dataclasses.replace(extracted, run_path="runs/trained")
    trained = make_run_folder(hparams)
    write_settings(trained, hparams)
    main(flags(extracted, *CLASSICAL, model="knn"))
    assert find_run_to_resume("newest") == trained

import dataclasses
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import GENRES, RATE, flags, save_run, sine, write_data_set
from scipy.special import softmax
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import classic
import predict
import retrieve
import visualize
from audio.features import extract_feature
from audio.reading import load_audio
from classic import CLASSIFIERS, Data, Fitted, best_of, fit, main, probabilities, read_frames
from feature_extraction import main as extract_main
from hparams import CLASSICAL
from predict import predict_track
from support.errors import UserError
from support.files import read_json
from tracks.catalog import read_catalog
from training.checkpoint import load_checkpoint, save_checkpoint, write_settings
from training.classical import statistics, to_arrays
from training.runs import find_run_to_resume, make_run_folder
from training.trained_run import TrainedRun, embed_track


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
    predict_as_reported(report, extracted, tmp_path / "run")


def predict_as_reported(report, hparams, folder):
    """The run predicts from audio what its report has; returns it."""
    run = TrainedRun(folder / "best.pt", "cpu")
    for row in report["tracks"]:
        found = predict_track(f"{hparams.dataset_path}/{row['track']}", run)
        shares = dict(zip(run.hparams.classes, found.probabilities))
        assert shares == pytest.approx(row["probabilities"], abs=1e-9)
        assert len(found.chunks) == len(found.silent) == 2
    return run


def test_values_that_differ_by_rounding_are_not_blown_up(rng):
    x = rng.normal(5, 2, (40, 6))
    x[:, 0] = 1e-14 * rng.random(40)
    x[:, 1] = 300 + 1e-5 * rng.random(40)
    scaled = classic.Scaler().fit_transform(x)
    assert np.abs(scaled[:, :2]).max() < 1e-4
    np.testing.assert_allclose(scaled[:, 2:].std(0), 1)


@pytest.mark.parametrize(("model", "embedding"), [("Baseline", "embed"), ("MusiCNN", "pool")])
def test_a_probe_classifies_embeddings_and_needs_no_other_file(
    extracted, tmp_path, model, embedding
):
    theirs = {"run": "songs", "trained_on": "a million songs", "note": "perhaps yours"}
    song = f"{extracted.dataset_path}/jazz/jazz.00000.wav"
    hparams = dataclasses.replace(extracted, genres=["a", "b"], model=model)
    source = save_run(hparams, "runs/source", origin=theirs)
    words = {"init_from": "runs/source", "embedding": embedding}
    report = classify(extracted, tmp_path / "runs/probe", **words)
    assert report["origin"] == theirs | {"run": "source"}
    assert list(report["tried"]) == [name for name in CLASSIFIERS if name != "dictionary"]
    network = TrainedRun(source, "cpu")
    network.hparams = dataclasses.replace(network.hparams, **words)
    expected = embed_track(song, network)
    if model == "Baseline":
        with pytest.raises(UserError, match="--embedding pool: Baseline of .* has no such method"):
            classify(extracted, tmp_path / "runs/pool", **words | {"embedding": "pool"})
    shutil.rmtree("runs/source")
    shutil.rmtree("features")
    run = predict_as_reported(report, extracted, tmp_path / "runs/probe")
    assert load_checkpoint(run.weights)["origin"] == report["origin"]
    np.testing.assert_allclose(embed_track(song, run), expected, atol=1e-6)


def test_a_classical_run_is_used_like_others_and_says_what_it_cannot(
    extracted, data_set, tmp_path, capsys
):
    report = classify(extracted, tmp_path / "runs/classic", model="knn")
    row = report["tracks"][0]
    song, share = str(data_set / row["track"]), max(row["probabilities"].values())
    soundfile.write("short.wav", sine(300, 0.2), RATE)
    soundfile.write("silent.wav", np.zeros(RATE), RATE)
    capsys.readouterr()
    assert predict.main([song, "short.wav", "silent.wav", "--csv", "all.csv"]) == 0
    run, _, *lines = capsys.readouterr().out.splitlines()
    assert run == f"Run: runs/classic ({data_set}, genre, knn, track accuracy 100.0 %)"
    assert lines[0].startswith(f"{song}: {row['predicted']} {100 * share:.1f} %")
    assert lines[1].endswith(" (0.2 s, shorter than a chunk of 1.0 s)"), "nothing is padded"
    assert lines[2] == "silent.wav: silent"
    assert len(Path("all.csv").read_text(encoding="utf-8").splitlines()) == 4
    with pytest.raises(UserError, match="its knn classifies whole tracks, .*leave out --timeline"):
        predict.main([song, "--timeline"])
    for command in ([song], ["--index", str(data_set)]):
        retrieve.main(command)
    with pytest.raises(UserError, match="its knn has no network, so no filters"):
        visualize.main(["--filters"])
    network = save_run(extracted, "runs/network")
    os.utime(network, (1, 1))
    assert predict.main([song, "--timeline"]) == 0
    assert "runs/classic is newer, but its knn classifies whole" in capsys.readouterr().out
    assert retrieve.main(["--index", str(data_set)]) == 0
    assert "runs/classic is newer, but its knn has no network" in capsys.readouterr().out


def test_arrays_that_do_not_fit_are_a_message(extracted, tmp_path):
    main(flags(extracted, *CLASSICAL, model="knn", run_path="run"))
    parts = load_checkpoint(Path("run/best.pt"))
    model = parts["model"]
    for changed in (
        {"mean": model["mean"][:-1]},
        {"owners": model["owners"][:3]},
        {"classes": model["classes"] + 1},
        {"vectors": "none"},
    ):
        save_checkpoint(Path("run/best.pt"), **parts | {"model": model | changed})
        with pytest.raises(UserError, match=r"best\.pt is damaged .*: run classic.py again"):
            TrainedRun("run/best.pt", "cpu")


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
    expected = {"hparams.json", "report.txt", "report.json", "confusion_matrix.png"}
    assert names == expected | {"best.pt"}


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
    vector = statistics([frames])
    np.testing.assert_allclose(vector, [*frames.mean(0), *frames.std(0)], rtol=1e-5, atol=1e-6)
    parts = statistics([frames[:20], frames[20:]], peak=True)
    np.testing.assert_allclose(parts, [*vector, *frames.max(0)], rtol=1e-12)
    constant = np.full((9, 1), 0.1, dtype=np.float32)
    assert statistics([constant, constant]).tolist() == [constant[0, 0], 0], "no rounding error"


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
    arrays = fit("knn", Data(extracted, splits)).arrays
    vectors = [statistics([read_frames(track, extracted)]) for track in splits["train"]]
    np.testing.assert_allclose(arrays["mean"], np.mean(vectors, axis=0))


def test_the_best_is_the_best_on_valid_and_the_first_of_a_tie():
    tried = [Fitted(name, {}, {}, score) for name, score in zip("abc", (0.5, 0.7, 0.7))]
    assert best_of(tried).name == "b"


@pytest.mark.parametrize("classes", [2, 3])
def test_an_svms_most_probable_class_is_its_prediction(rng, classes):
    x, y = rng.standard_normal((30, 4)), np.arange(30) % classes
    svm = make_pipeline(StandardScaler(), clone(CLASSIFIERS["svm"][0])).fit(x, y)
    shares = probabilities("svm", to_arrays("svm", svm), x, classes)
    np.testing.assert_array_equal(shares.argmax(1), svm.predict(x))
    np.testing.assert_allclose(shares.sum(1), 1)
    margins = svm.decision_function(x)
    margins = np.stack([-margins, margins], axis=1) if classes == 2 else margins
    np.testing.assert_allclose(shares, softmax(margins, axis=1), atol=1e-9)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_genre_that_train_lacks_has_probability_0(rng, name):
    x, y = rng.standard_normal((20, 4)), np.where(np.arange(20) % 2, 2, 0)
    pipeline = make_pipeline(StandardScaler(), clone(CLASSIFIERS[name][0])).fit(x, y)
    shares = probabilities(name, to_arrays(name, pipeline), x, 4)
    np.testing.assert_array_equal(shares[:, [1, 3]], 0)
    if name != "svm":
        np.testing.assert_allclose(shares[:, [0, 2]], pipeline.predict_proba(x), atol=1e-6)


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

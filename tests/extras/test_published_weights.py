"""The published weights themselves, through pip: skipped where there is no network."""

import json

import numpy as np
import pytest
import soundfile
from conftest import ROOT, run

from audio.features import extract_feature
from predict import predict_track
from pretrained import PRETRAINED, PUBLISHED, main
from support.errors import UserError
from training.musicnn import reference_signal
from training.trained_run import TrainedRun


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """The folder of both models."""
    folder = tmp_path_factory.mktemp("published")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        try:
            main(list(PUBLISHED))
        except UserError as error:
            if "pip cannot download" not in str(error):
                raise
            pytest.skip(str(error))
    return folder / PRETRAINED


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_file_of_the_test_signal_gives_the_published_values(models, name, tmp_path):
    soundfile.write(tmp_path / "a.wav", reference_signal(), 16000, "FLOAT")
    found = predict_track(tmp_path / "a.wav", TrainedRun(models / name / "best.pt", "cpu"))
    assert found.chunks.shape == (2, 50)
    expected = [float(value) for value in PUBLISHED[name].probabilities.split()]
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-5)


@pytest.mark.parametrize("name", PUBLISHED)
def test_all_values_of_an_embedding_are_those_measured(models, name):
    path = ROOT.parent / "shared/golden_musicnn.json"
    if not path.is_file():
        pytest.skip("the measured values are not in ../shared")
    golden = json.loads(path.read_text(encoding="utf-8"))[PUBLISHED[name].folder]
    trained = TrainedRun(models / name / "best.pt", "cpu")
    feature = extract_feature(reference_signal(), trained.hparams)
    assert feature.mean() == pytest.approx(0.64767, abs=1e-4)
    assert feature.std() == pytest.approx(1.44198, abs=1e-4)
    expected = golden["penultimate_first_patch"]
    np.testing.assert_allclose(trained.embed(feature[None, :187])[0], expected, atol=1e-4)


def test_without_a_network_there_is_one_message(tmp_path):
    done = run("pretrained.py", "musicnn-msd", cwd=tmp_path, PIP_INDEX_URL="http://127.0.0.1:9")
    assert done.returncode == 1
    assert done.stderr.startswith("error: pip cannot download musicnn==0.1.0 (")
    assert "--wheel musicnn-0.1.0-py3-none-any.whl`" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list((tmp_path / "pretrained").glob("*"))

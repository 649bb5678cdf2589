"""Embeddings of extracted tracks: the values, and the file that keeps them."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from conftest import save_run

from audio.chunks import track_chunks
from support.errors import UserError
from tracks.catalog import read_catalog, read_chunks
from tracks.lists import source_path
from training import embeddings
from training.build import last_layer
from training.embeddings import track_embeddings
from training.trained_run import TrainedRun


@pytest.fixture
def tracks(extracted):
    """The tracks of the train split."""
    return read_catalog(extracted).splits["train"]


@pytest.fixture
def trained(extracted, weights):
    """A run on a data set whose features are extracted."""
    return TrainedRun(weights, "cpu")


def kept(extracted):
    """The only file of embeddings."""
    [path] = (extracted.feature_folder() / "embeddings").iterdir()
    return path


def test_embeddings_are_those_of_the_file_whatever_other_tracks_there_are(
    extracted, tracks, trained
):
    found = track_embeddings(tracks, trained, extracted)
    assert [each.shape for each in found] == [(track.chunks, 64) for track in tracks]
    for track, each in zip(tracks, found):
        assert np.array_equal(each, trained.embed(read_chunks(track, extracted)))
        parts = track_chunks(source_path(extracted, track.name), extracted)
        heard = np.concatenate([trained.embed(chunks) for chunks, _ in parts])
        np.testing.assert_allclose(each, heard, atol=1e-6)
    kept(extracted).unlink()
    again = track_embeddings(tracks[::-1][:3], trained, extracted)
    assert all(np.array_equal(a, b) for a, b in zip(found[::-1], again))


def test_embeddings_are_computed_once(extracted, tracks, trained, monkeypatch, capsys):
    track_embeddings(tracks[:5], trained, extracted)
    assert "5 tracks embedded in" in capsys.readouterr().out
    first = track_embeddings(tracks, trained, extracted)
    assert "7 tracks embedded in" in capsys.readouterr().out
    before = kept(extracted).read_bytes()
    monkeypatch.setattr(embeddings, "embed_rows", None)
    again = track_embeddings(tracks, trained, extracted)
    assert all(np.array_equal(a, b) for a, b in zip(first, again))
    assert kept(extracted).read_bytes() == before


def test_damage_and_a_killed_command_cost_the_tracks_that_they_hit(
    extracted, tracks, trained, capsys
):
    first = track_embeddings(tracks, trained, extracted)
    data = bytearray(kept(extracted).read_bytes())
    data[len(data) // 2] ^= 1
    kept(extracted).write_bytes(data[:-9])  # one changed line, and an unfinished one
    capsys.readouterr()
    again = track_embeddings(tracks, trained, extracted)
    assert capsys.readouterr().out.startswith("2 tracks embedded")
    assert all(np.array_equal(a, b) for a, b in zip(first, again))
    track_embeddings(tracks, trained, extracted)
    assert capsys.readouterr().out == ""


def test_other_features_weights_and_normalizations_have_other_embeddings(
    extracted, tracks, trained, capsys
):
    track_embeddings(tracks, trained, extracted)
    entry = tracks[0].entry | {"hash": "other"}
    track_embeddings([tracks[0]._replace(entry=entry), *tracks[1:]], trained, extracted)
    assert capsys.readouterr().out.splitlines()[1].startswith("1 tracks embedded")
    weights = dict(trained.model.state_dict())
    head = last_layer(extracted)
    assert head == {"linear.3.weight", "linear.3.bias"}
    changed = [{"mean": 0.3}, {"model": weights | {"conv0.0.bias": weights["conv0.0.bias"] + 1}}]
    for parts in changed:
        other = TrainedRun(save_run(extracted, "runs/other", **parts), "cpu")
        track_embeddings(tracks, other, extracted)
        assert "12 tracks embedded" in capsys.readouterr().out
    # the last layer, and the place of the weights, do not count
    other = dict(weights) | {name: weights[name] + 1 for name in head}
    same = TrainedRun(save_run(extracted, "runs/same", model=other), "cpu")
    track_embeddings(tracks, same, extracted)
    assert capsys.readouterr().out == ""


def test_two_commands_at_once_embed_each_track_once(extracted, tracks, trained, monkeypatch):
    embedded, embed = [], embeddings.embed_rows

    def count(track, *settings):
        embedded.append(track.name)
        return embed(track, *settings)

    monkeypatch.setattr(embeddings, "embed_rows", count)
    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(track_embeddings, tracks, trained, extracted) for _ in range(2)]
    first, second = (job.result() for job in jobs)
    assert all(np.array_equal(a, b) for a, b in zip(first, second))
    assert sorted(embedded) == sorted(track.name for track in tracks)


def test_values_that_are_not_finite_and_models_without_embed_are_messages(
    extracted, tracks, trained, monkeypatch
):
    weights = dict(trained.model.state_dict())
    weights["linear.0.bias"] = weights["linear.0.bias"] + np.inf
    broken = TrainedRun(save_run(extracted, "runs/broken", model=weights), "cpu")
    with pytest.raises(UserError, match=r"its embedding by .*best.pt is not finite: train again"):
        track_embeddings(tracks, broken, extracted)
    monkeypatch.delattr(type(trained.model), "embed")
    monkeypatch.setattr(type(trained.model), "forward", lambda self, x: x.mean((1, 2)))
    with pytest.raises(UserError, match="has no embed"):
        track_embeddings(tracks, trained, extracted)

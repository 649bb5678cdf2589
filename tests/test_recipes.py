"""The recipes parse, and the model of each gives logits for its own chunk."""

import math

import pytest
import torch
from conftest import ROOT

from classic import CLASSIFIERS
from hparams import HParams
from model import build_model

RECIPES = sorted((ROOT / "recipes").glob("*.args"))


def read(name):
    return HParams().parse_argument([f"@{ROOT / 'recipes' / name}.args", "--genres", "jazz", "pop"])


NETWORKS = [
    "baseline",
    "compact1d",
    "compact2d",
    "fcn4",
    "musicnn-scratch",
    "samplecnn",
    "tutorial",
]
PRETRAINED = {"musicnn-probe", "musicnn-probe-svm", "musicnn-frozen", "musicnn-finetuned"}


def test_every_recipe_is_of_a_network_or_of_a_classifier():
    names = {path.stem for path in RECIPES}
    assert names >= {*NETWORKS} | PRETRAINED
    assert {read(name).model for name in names - {*NETWORKS} - PRETRAINED} == {*CLASSIFIERS}
    assert {name for name in names if read(name).init_from} == PRETRAINED


@pytest.mark.parametrize("name", sorted(PRETRAINED))
def test_a_recipe_with_pretrained_weights_has_working_settings(name):
    hparams = read(name)
    hparams.validate()
    assert hparams.init_from == "musicnn-msd"
    # features, chunks and the network are those of the weights: a recipe would contradict them
    assert hparams.feature_settings() == HParams().feature_settings()
    assert hparams.model in {HParams().model, *CLASSIFIERS}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_recipe_gives_logits_for_its_chunk(name):
    hparams = read(name)
    with torch.device("meta"):  # shapes without numbers
        net = build_model(hparams)
        logits = net(torch.zeros(2, hparams.chunk_length, hparams.num_bins))
    assert logits.shape == (2, 2)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_leaves_data_and_run_to_its_user(path):
    words = path.read_text(encoding="utf-8").split()
    assert not {"--dataset_path", "--feature_path", "--run_path", "--resume", "--seed"} & {*words}
    assert f"@recipes/{path.name}" in words


def test_the_tutorials_recipe_is_the_defaults_but_for_the_chunk():
    hparams = read("tutorial")
    changed = HParams(genres=["jazz", "pop"], chunk_length=1024)
    assert hparams == changed


def test_the_recipes_lengths_are_those_of_the_papers():
    fcn4, samplecnn = read("fcn4"), read("samplecnn")
    seconds = fcn4.chunk_length * fcn4.hop_size / fcn4.sample_rate
    assert math.isclose(seconds, 29.1, abs_tol=0.05)
    assert fcn4.num_bins == 96
    assert math.isclose(samplecnn.chunk_length / samplecnn.sample_rate, 2.678, abs_tol=0.001)
    assert samplecnn.feature_length == 11 * samplecnn.chunk_length


@pytest.mark.parametrize(("name", "parameters"), [("fcn4", 17_365_938), ("samplecnn", 1_869_874)])
def test_the_recipes_of_both_papers_have_their_50_tags(name, parameters):
    words = ["--task", "tagging", "--tags", *(f"tag{number}" for number in range(50))]
    hparams = HParams().parse_argument([f"@{ROOT / 'recipes' / name}.args", *words])
    with torch.device("meta"):
        net = build_model(hparams)
        logits = net(torch.zeros(2, hparams.chunk_length, hparams.num_bins))
    assert logits.shape == (2, 50)
    assert sum(p.numel() for p in net.parameters()) == parameters

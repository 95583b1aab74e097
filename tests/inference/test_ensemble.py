"""Scores of an ensemble are the weighted mean of those of its models, whatever the order of their classes."""

import shutil

import numpy as np
import pytest
import torch
import yaml
from conftest import CLASS_NAMES, TINY_RESNET
from PIL import Image
from saved_models import save_model

from mg_vtc import MgVtcModel, predict
from mg_vtc.inference.ensemble import Ensemble, normalize_weights, open_members
from mg_vtc.inference.views import make_views

PERMUTED = dict(enumerate(CLASS_NAMES[2:] + CLASS_NAMES[:2]))


@pytest.fixture(scope="module")
def models(processor, tmp_path_factory):
    """Models with other weights; the second has larger images, and its classes in another order."""
    folder = tmp_path_factory.mktemp("models")
    settings = {"tokenizer": processor.tokenizer}
    save_model(folder / "a", TINY_RESNET, **settings)
    save_model(folder / "b", TINY_RESNET, **settings, seed=1, image_size=48, id2label=PERMUTED)
    save_model(folder / "c", TINY_RESNET, **settings, seed=2)
    return [folder / name for name in "abc"]


def table(predictions):
    """Scores by class, in the order of `CLASS_NAMES` (num_predictions, num_classes)."""
    named = [dict(zip(one.labels, one.scores, strict=True)) for one in predictions]
    return np.array([[scores[name] for name in sorted(scores)] for scores in named])


@pytest.mark.parametrize("weights", [None, (2, 1, 1), (0.1, 0.3, 7)])
def test_ensemble_of_a_model_with_itself_is_the_model(models, images_dir, weights):
    alone = list(predict(models[0], images_dir, top_k=6))
    assert list(predict([models[0]] * 3, images_dir, top_k=6, weights=weights)) == alone
    assert list(predict([models[0]], images_dir, top_k=6)) == alone


def test_unlikely_classes_keep_their_order(models):
    (member,) = open_members(models[0], "cpu")
    ensemble = Ensemble([member, member])
    ensemble.text_embeds = [2e4 * texts / texts.norm(dim=-1, keepdim=True) for texts in ensemble.text_embeds]
    pixels = torch.randint(256, (2, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    probabilities = ensemble.score([pixels])  # (2, num_classes)
    assert probabilities.min() < np.finfo(np.float32).tiny
    assert all(len(set(row)) == len(row) for row in probabilities.tolist())


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"vote": "mean"},
        {"candidate_labels": ["Head up", "rubbing eyes", "a nod"]},
        {"candidate_labels": ["Head up", "rubbing eyes"], "prompt_template": ["a photo of {}", "someone with {}"]},
    ],
)
def test_scores_are_the_weighted_mean_of_those_of_the_models(models, images_dir, settings):
    alone = [table(predict(model, images_dir, top_k=6, **settings)) for model in models]
    together = table(predict(models, images_dir, top_k=6, weights=(2, 1, 1), **settings))
    assert np.abs(alone[0] - alone[1]).max() > 1e-4  # untrained models score all classes nearly alike
    np.testing.assert_allclose(together, alone[0] / 2 + alone[1] / 4 + alone[2] / 4, atol=1e-6)
    np.testing.assert_allclose(together.sum(axis=1), 1, atol=1e-5)


def test_images_in_memory_and_loaded_models_are_scored_like_files(models, images_dir):
    paths = sorted(images_dir.rglob("*.png"))[:3]
    expected = table(predict(models, paths, top_k=6))
    loaded = [MgVtcModel.from_pretrained(model) for model in models]
    images = [Image.open(path) for path in paths]
    np.testing.assert_array_equal(table(predict(loaded, images, top_k=6)), expected)


def test_order_and_case_of_the_classes_do_not_matter(models, processor, images_dir, tmp_path):
    names = {number: f" {name.upper()} " for number, name in PERMUTED.items()}
    save_model(tmp_path / "permuted", TINY_RESNET, tokenizer=processor.tokenizer, id2label=names)
    alone = list(predict(models[0], images_dir, top_k=6))
    together = list(predict([models[0], tmp_path / "permuted"], images_dir, top_k=6))
    assert [one.labels for one in together] == [one.labels for one in alone]  # named as by the first model
    np.testing.assert_allclose(table(together), table(alone), atol=1e-6)


def test_majority_counts_the_predictions_of_the_ensemble(models, images_dir):
    frames = list(predict(models, images_dir, top_k=1))
    for clip in predict(models, images_dir, vote="majority", top_k=1):
        own = [frame.labels[0] for frame in frames if frame.clip == clip.clip]
        assert clip.scores[0] == max(own.count(label) for label in own) / len(own)


def test_models_of_other_classes_are_refused_with_the_difference(models, processor, tmp_path):
    names = dict(enumerate(["Nodding", *CLASS_NAMES[:3]]))
    save_model(tmp_path / "other", TINY_RESNET, tokenizer=processor.tokenizer, id2label=names)
    with pytest.raises(ValueError, match="different classes") as refused:
        predict([models[0], tmp_path / "other"], "absent")
    assert f"{tmp_path / 'other'} lacks 'Head up', 'Pressing lips', 'Arms akimbo'" in str(refused.value)
    assert f"{models[0]} lacks 'Nodding'" in str(refused.value)


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ((1, 2), r"`weights` must have one number a model, got 2 for 3"),
        ((1, 0, 0), r"`weights` must be positive, got 0: leave out"),
        ((1, -1, 1), r"`weights` must be positive, got -1"),
        ((1, float("nan"), 1), r"`weights` must be positive, got nan"),
        ((1, float("inf"), 1), r"`weights` must be positive, got inf"),
    ],
)
def test_weights_that_are_not_positive_or_one_a_model_are_refused(models, weights, words):
    with pytest.raises(ValueError, match=words):
        predict(models, "absent", weights=weights)


def test_sum_of_weights_is_one():
    assert normalize_weights((2, 1, 1), 3) == [0.5, 0.25, 0.25]
    assert normalize_weights(None, 4) == [0.25] * 4


def test_no_model_and_one_processor_for_several_are_refused(models, processor):
    with pytest.raises(ValueError, match="There is no model"):
        predict([], "absent")
    with pytest.raises(ValueError, match="A processor belongs to one model, but there are 3"):
        predict(models, "absent", processor=processor)


def test_models_of_one_size_share_the_decoded_images(models):
    assert len(Ensemble(open_members(models, "cpu")).decodings) == 2
    assert len(Ensemble(open_members([models[0], models[2]], "cpu")).decodings) == 1


@pytest.fixture
def mirrored(models, tmp_path):
    """The first model with the record of a run that was trained with mirror images."""
    folder = shutil.copytree(models[0], tmp_path / "mirrored")
    (folder / "recipe.yaml").write_text(yaml.safe_dump({"horizontal_flip": True}))
    return folder


@pytest.mark.filterwarnings("ignore:The views of `tta` have no mirror images")
def test_scores_of_views_are_averaged_with_mirror_images_only_after_a_training_with_them(models, mirrored, images_dir):
    path = images_dir / "Head up" / "0000.0.png"
    pixels = torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1)[None]  # (1, 3, height, width)
    (member,) = open_members(mirrored, "cpu")
    alone = Ensemble([member])
    for model, mirror in ((mirrored, True), (models[0], False)):
        views = make_views(pixels, mirror=mirror)
        expected = np.mean([alone.score([view])[0] for view in views], axis=0)
        (found,) = predict(model, path, top_k=6, tta=True)
        order = [alone.class_names.index(name) for name in sorted(CLASS_NAMES)]
        np.testing.assert_allclose(table([found])[0], expected[order], atol=1e-6)
        assert sum(found.scores) == pytest.approx(1, abs=1e-6)


def test_left_out_mirror_images_are_named(models, mirrored, images_dir):
    with pytest.warns(UserWarning, match=f"no mirror images for '{models[0]}'"):
        predict([models[0], mirrored], images_dir, tta=True)


def test_views_change_nothing_in_an_image_of_one_colour(mirrored):
    image = Image.new("RGB", (40, 30), (10, 200, 90))
    for settings in ({}, {"candidate_labels": ["Head up", "rubbing eyes"]}):
        alone, views = (table(predict(mirrored, image, top_k=6, tta=tta, **settings)) for tta in (False, True))
        np.testing.assert_allclose(views, alone, atol=1e-6)

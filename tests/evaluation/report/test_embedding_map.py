"""Claims about the map of images and texts, and about the places of its labels."""

import numpy as np
import pytest
from made_predictions import make_predictions

from mg_vtc.evaluation.report.embedding_map import MAX_MAPPED, map_embeddings, place_labels, sample_rows


@pytest.fixture(scope="module")
def predictions():
    return make_predictions(60, ["Folding arms", "Rubbing eyes", "Head up"], noise=0.05)


def test_images_lie_nearest_to_the_text_of_their_class(predictions):
    images, texts = map_embeddings(predictions.image_embeds, predictions.text_embeds)
    distances = np.linalg.norm(images[:, None] - texts, axis=-1)  # (num_rows, num_classes)
    assert (distances.argmin(axis=1) == predictions.labels).all()


def test_map_is_the_same_every_time_and_fills_the_unit_square(predictions):
    first, second = (
        np.concatenate(map_embeddings(predictions.image_embeds, predictions.text_embeds)) for _ in range(2)
    )
    assert (first == second).all()
    assert (first.min(axis=0) == 0).all()
    assert (first.max(axis=0) == 1).all()


def test_lengths_of_embeddings_do_not_matter(predictions):
    lengths = 2.0 ** np.arange(60)[:, None] / 2**30  # powers of two, so that dividing by them rounds nothing
    images, texts = map_embeddings(predictions.image_embeds, predictions.text_embeds)
    other_images, other_texts = map_embeddings(lengths * predictions.image_embeds, 4 * predictions.text_embeds)
    assert images == pytest.approx(other_images)
    assert texts == pytest.approx(other_texts)


@pytest.mark.parametrize("num_classes", [1, 2, 5])
def test_one_image_is_enough(num_classes):
    predictions = make_predictions(1, [f"class {number}" for number in range(num_classes)])
    images, texts = map_embeddings(predictions.image_embeds, predictions.text_embeds)
    assert (images.shape, texts.shape) == ((1, 2), (num_classes, 2))
    assert np.isfinite(images).all()
    assert np.isfinite(texts).all()


@pytest.mark.parametrize("num_rows", [1, 40])
def test_collapsed_model_can_be_mapped(num_rows):
    places = map_embeddings(np.ones((num_rows, 8), dtype=np.float32), np.ones((3, 8), dtype=np.float32))
    assert np.isfinite(np.concatenate(places)).all()


def test_rows_are_sampled_only_where_there_are_too_many():
    assert (sample_rows(MAX_MAPPED) == np.arange(MAX_MAPPED)).all()
    rows = sample_rows(60_000)
    assert len(set(rows)) == MAX_MAPPED
    assert (np.diff(rows) > 0).all()
    assert rows.max() > 50_000
    assert (rows == sample_rows(60_000)).all()


def test_labels_of_one_point_hide_neither_each_other_nor_the_marker():
    anchors, sizes = np.full((30, 2), 200.0), np.tile([70.0, 14.0], (30, 1))
    middles = place_labels(anchors, sizes, width=400, height=400, marker_size=10)
    boxes = np.concatenate([middles, anchors[:1]])
    sides = np.concatenate([sizes, [[10.0, 10.0]]])
    for one in range(31):
        for other in range(one):
            assert (np.abs(boxes[one] - boxes[other]) >= (sides[one] + sides[other]) / 2).any()
    assert (middles - sizes / 2 >= 0).all()
    assert (middles + sizes / 2 <= 400).all()


def test_lone_label_lies_at_its_marker():
    middle = place_labels(np.array([[200.0, 200.0]]), np.array([[70.0, 14.0]]), width=400, height=400, marker_size=10)
    assert np.abs(middle - 200).max() <= 14 / 2 + 10 / 2 + 4


def test_canvas_that_holds_not_all_labels_is_refused():
    with pytest.raises(ValueError, match="100 x 20 pixels is too small for 9 labels"):
        place_labels(np.full((9, 2), 10.0), np.full((9, 2), 18.0), width=100, height=20, marker_size=4)

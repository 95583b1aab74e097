"""Settings: what is derived from what, and what is refused."""

import pytest

from mg_vtc import MgVtcTrainingArguments


def make(tmp_path, **settings):
    return MgVtcTrainingArguments(output_dir=str(tmp_path), use_cpu=True, **settings)


@pytest.mark.parametrize("loss_type", ["js", "kl", "ce"])
def test_batches_are_compared_with_their_unique_labels(tmp_path, loss_type):
    assert make(tmp_path, loss_type=loss_type).text_batch == "unique"


@pytest.mark.parametrize("loss_type", ["ce_identity", "ce_soft"])
def test_paired_objectives_take_a_text_an_image(tmp_path, loss_type):
    assert make(tmp_path, loss_type=loss_type).text_batch == "pairs"
    with pytest.raises(ValueError, match="needs text_batch 'pairs'"):
        make(tmp_path, loss_type=loss_type, text_batch="classes")


def test_unknown_objective_is_refused_with_the_nearest(tmp_path):
    with pytest.raises(ValueError, match=r"'ce_sotf' is none of .* Did you mean 'ce_soft'\?"):
        make(tmp_path, loss_type="ce_sotf")


def test_unknown_text_batch_is_refused(tmp_path):
    with pytest.raises(ValueError, match="'all' is none of unique, classes, pairs"):
        make(tmp_path, text_batch="all")


@pytest.mark.parametrize("weight", [0.0, 1.0, -0.1])
def test_js_weight_outside_the_open_interval_is_refused(tmp_path, weight):
    with pytest.raises(ValueError, match="between 0 and 1"):
        make(tmp_path, js_weight=weight)


def test_a_batch_of_one_is_refused_unless_compared_with_all_classes(tmp_path):
    with pytest.raises(ValueError, match="nothing to be contrasted with"):
        make(tmp_path, per_device_train_batch_size=1)
    assert make(tmp_path, per_device_train_batch_size=1, text_batch="classes").train_batch_size == 1


def test_the_best_checkpoint_by_top_1_is_kept(tmp_path):
    arguments = make(tmp_path)
    assert arguments.load_best_model_at_end
    assert arguments.metric_for_best_model == "top1_accuracy"
    assert arguments.greater_is_better

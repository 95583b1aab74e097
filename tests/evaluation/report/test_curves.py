"""Claims about training curves: they are the log's, and mark the checkpoint that was kept."""

import pytest

from mg_vtc.evaluation.report.curves import PANELS, draw_panel, draw_panels, list_panels
from mg_vtc.runs.records import RunRecords, Training, find_training

from .test_charts import check_apart

LOSS, ACCURACY, RATES, SATURATED = PANELS
RATE_NAMES = ("learning_rate", "vision_learning_rate", "text_learning_rate")


def make_training(num_epochs, **known):
    """A training with all that is logged; the rates end at 0."""
    history = []
    for epoch in range(1, num_epochs + 1):
        place, left = {"epoch": float(epoch), "step": 10 * epoch}, 1 - epoch / num_epochs
        rates = dict(zip(RATE_NAMES, (1e-3 * left, 2e-3 * left, 1e-4 * left), strict=True))
        history += [
            place | {"loss": 1 / epoch, "saturated_fraction": 0.5} | rates,
            place | {"eval_loss": 2 / epoch, "eval_top1_accuracy": 0.25, "eval_top5_accuracy": 0.75},
        ]
    return Training(history, **known)


def lines_of(figure):
    (axes,) = figure.axes
    return {line.get_label(): line.get_xydata().tolist() for line in axes.lines}


def test_curves_are_what_the_log_says():
    lines = lines_of(draw_panel(make_training(2), LOSS))
    assert lines == {"training": [[1, 1], [2, 0.5]], "validation": [[1, 2], [2, 1]]}


def test_kept_checkpoint_and_baseline_are_marked_where_they_are():
    training = make_training(4, best_step=30, majority=0.125)
    lines = lines_of(draw_panel(training, ACCURACY))
    assert {x for x, _ in lines["kept checkpoint"]} == {3}
    assert {y for _, y in lines["majority-class baseline"]} == {0.125}
    assert {x for x, _ in lines_of(draw_panel(training, LOSS))["kept checkpoint"]} == {3}
    assert lines_of(draw_panel(training, RATES)).keys() == {"heads", "vision tower", "text tower"}


def test_rates_of_zero_are_left_out_of_a_logarithmic_axis():
    lines = lines_of(draw_panel(make_training(2), RATES))
    assert lines["heads"] == [[1, 0.0005]]
    assert list_panels(make_training(1)) == [LOSS, ACCURACY, SATURATED]


def test_curves_within_one_epoch_are_drawn_over_steps():
    history = [{"epoch": 0.5, "step": 10, "loss": 0.5}, {"epoch": 1.0, "step": 20, "loss": 0.4}]
    figure = draw_panel(Training(history), LOSS)
    assert lines_of(figure) == {"training": [[10, 0.5], [20, 0.4]]}
    assert figure.axes[0].get_xlabel() == "step"
    assert list_panels(Training(history)) == [LOSS]


@pytest.mark.parametrize("num_epochs", [2, 30])
def test_texts_of_the_curves_lie_apart(num_epochs):
    training = make_training(num_epochs, best_step=20, majority=0.125)
    for panel in PANELS:
        check_apart(draw_panel(training, panel))
    check_apart(draw_panels(training, PANELS))


def test_training_of_a_run_is_that_of_its_records():
    log, results = {"epoch": 1.0, "step": 5, "loss": 0.5}, {"baselines": {"majority_class": {"top1_accuracy": 0.25}}}
    state = {"log_history": [log], "best_model_checkpoint": "checkpoint-5", "best_global_step": 5}
    assert find_training(RunRecords({}, state, {}, results)) == Training([log], 5, 0.25)
    last = {"load_best_model_at_end": False}
    assert find_training(RunRecords({}, state, last, {})) == Training([log], None, None)
    assert find_training(RunRecords({}, state | {"log_history": []}, {}, {})) is None
    assert find_training(RunRecords({}, None, {}, {})) is None

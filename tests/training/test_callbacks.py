"""What a run shows: one line an epoch on standard output, and no bar where nobody watches."""

import pytest
from transformers import TrainerControl, TrainerState

from mg_vtc import MgVtcTrainingArguments
from mg_vtc.training.callbacks import EpochLineCallback

METRICS = {"epoch": 12.0, "eval_loss": 0.2433, "eval_top1_accuracy": 0.855, "eval_top5_accuracy": 0.971}


@pytest.fixture
def show(tmp_path):
    """Run the callback through one epoch."""
    arguments = MgVtcTrainingArguments(output_dir=str(tmp_path), use_cpu=True)
    state = TrainerState(max_steps=10, num_train_epochs=60)

    def show(is_main=True, logs=None):
        state.is_world_process_zero = is_main
        callback, control = EpochLineCallback(), TrainerControl()
        callback.on_train_begin(arguments, state, control)
        if logs:
            callback.on_log(arguments, state, control, logs=logs)
        callback.on_prediction_step(arguments, state, control, eval_dataloader=[1, 2])
        callback.on_evaluate(arguments, state, control, metrics=METRICS)

    return show


def test_an_epoch_is_one_line_in_percent(show, capsys):
    show(logs={"loss": 0.2104, "saturated_fraction": 0.031, "learning_rate": 9.1e-4})
    line, *rest = capsys.readouterr().out.splitlines()
    assert not rest
    expected = (
        "epoch    12/60  loss 0.2104  val loss 0.2433  top-1  85.5 %  top-5  97.1 %  saturated  3.1 %  lr 9.1e-04"
    )
    assert line.startswith(expected)
    assert line.endswith(" s")


def test_an_evaluation_before_the_first_log_is_a_line_too(show, capsys):
    show()
    assert capsys.readouterr().out.startswith("epoch    12/60  val loss 0.2433")


def test_no_bar_is_drawn_where_there_is_no_terminal(show, capsys):
    show()
    assert capsys.readouterr().err == ""


def test_other_processes_are_silent(show, capsys):
    show(is_main=False)
    assert capsys.readouterr().out == ""

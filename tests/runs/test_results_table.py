"""`results.csv` is the log of a run as a table, without what differs between equal runs."""

import csv

from mg_vtc.runs.results_table import tabulate, write_results_table

TIMES = {"eval_runtime": 0.5, "eval_samples_per_second": 9.0, "eval_steps_per_second": 1.0, "eval_samples": 8}
HISTORY = [
    {"epoch": 1.0, "step": 10, "learning_rate": 0.001, "loss": 0.622547245},
    {"epoch": 1.0, "step": 10, "eval_loss": 0.5, "eval_top1_accuracy": 0.25} | TIMES,
    {"epoch": 2.0, "step": 20, "learning_rate": 7.5e-06, "loss": 0.25},
    {"epoch": 2.0, "step": 20, "eval_loss": 0.125, "eval_top1_accuracy": 1.0} | TIMES,
    {"epoch": 2.0, "step": 20, "train_loss": 0.436, "train_runtime": 3.25, "total_flos": 1e9},
]


def test_an_epoch_is_a_row_of_training_and_evaluation_without_times():
    columns, rows = tabulate(HISTORY)
    assert columns == ["epoch", "step", "loss", "eval_loss", "eval_top1_accuracy", "learning_rate"]
    assert rows == [["1", "10", "0.622547", "0.5", "0.25", "0.001"], ["2", "20", "0.25", "0.125", "1", "7.5e-06"]]


def test_a_step_without_an_evaluation_leaves_its_cells_empty():
    _, rows = tabulate([HISTORY[0], *HISTORY[2:]])
    assert rows[0] == ["1", "10", "0.622547", "", "", "0.001"]


def test_an_evaluation_of_the_finished_model_replaces_none_of_the_training():
    later = {"epoch": 2.0, "step": 20, "eval_loss": 0.1, "eval_top1_accuracy": 0.9}
    assert tabulate([*HISTORY, later]) == tabulate(HISTORY)


def test_metrics_of_the_user_follow_the_known_ones():
    columns, rows = tabulate([{"epoch": 1.0, "step": 1, "eval_kappa": 0.5, "eval_loss": 0.25}])
    assert (columns, rows) == (["epoch", "step", "eval_loss", "eval_kappa"], [["1", "1", "0.25", "0.5"]])


def test_file_is_read_as_it_was_written_and_a_run_without_logs_has_none(tmp_path):
    write_results_table(tmp_path, HISTORY[-1:])
    assert not list(tmp_path.iterdir())
    write_results_table(tmp_path, HISTORY)
    columns, rows = tabulate(HISTORY)
    with (tmp_path / "results.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [columns, *rows]
    assert (tmp_path / "results.csv").read_bytes().count(b"\r") == 0

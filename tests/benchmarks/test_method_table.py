"""The method's table: what collapsed, what is the same for every row, where it is written."""

import json
from pathlib import Path

import method_table
import pytest
import torch
from safetensors.torch import save_file

ROOT = Path(__file__).parents[2]
RUN = {"top1": 0.5, "top5": 0.9, "mean_class": 0.4, "constant1": 0.1, "constant5": 0.3, "saturated": 0, "cosine": 0.2}


@pytest.mark.parametrize(
    ("changed", "collapsed"),
    [({}, False), ({"top1": 0.1}, True), ({"cosine": 0.97}, True), ({"saturated": 1.0}, False)],
    ids=["learned", "no better than the majority class", "one text", "saturated"],
)
def test_run_is_called_collapsed_that_predictions_the_same_or_has_one_text(changed, collapsed):
    assert method_table.Outcome(**(RUN | changed)).collapsed == collapsed


def test_collapsed_runs_are_named_in_the_table():
    outcomes = {
        (row, split): [method_table.Outcome(**(RUN | {"top1": 0.05 if "soft" in row else 0.5})) for _ in range(5)]
        for row in method_table.ROWS
        for split in method_table.SPLITS
    }
    lines = method_table.score_table(outcomes)
    assert [line for line in lines if "collapsed" in line] == [
        "| `ce_soft` (10 of 10 runs collapsed) | 5.0 ± 0.0 | 90.0 ± 0.0 | 5.0 ± 0.0 | 90.0 ± 0.0 |"
    ]
    assert lines[-1] == "| most frequent classes | 10.0 ± 0.0 | 30.0 ± 0.0 | 10.0 ± 0.0 | 30.0 ± 0.0 |"
    assert "frame-level split" in lines[0]


def test_likeness_of_texts_is_their_mean_cosine(tmp_path):
    (tmp_path / "all_results.json").write_text(
        json.dumps(
            dict.fromkeys(("eval_top1_accuracy", "eval_top5_accuracy", "eval_mean_class_accuracy"), 0.5)
            | {"baseline_majority_class_top1_accuracy": 0.1, "baseline_five_most_frequent_top5_accuracy": 0.3}
        )
    )
    logs = [{"saturated_fraction": 0.7}, {"saturated_fraction": 0.2}, {"eval_loss": 1.0}]
    (tmp_path / "trainer_state.json").write_text(json.dumps({"log_history": logs}))
    embeds = torch.tensor([[2.0, 0.0], [0.0, 1.0], [0.0, 3.0]])  # cosines 0, 0 and 1
    save_file({"class_embeds": embeds}, tmp_path / "model.safetensors")
    outcome = method_table.read_outcome(tmp_path)
    assert outcome.cosine == pytest.approx(1 / 3)
    assert outcome.saturated == 0.2  # that of the last epoch


def test_every_row_of_the_table_is_tuned_alike_and_differs_in_its_objective_alone():
    flags = [method_table.flags_of(row, (), "clip", 0, 1.0) for row in method_table.ROWS]
    rates = {tuple(word for word in flag if word in ("0.001", "0.0001")) for flag in flags}
    assert len(rates) == 1
    assert len({tuple(flag) for flag in flags}) == len(method_table.ROWS)


def test_tables_are_written_between_their_marks_and_nowhere_else(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- t: begin -->\nold\n<!-- t: end -->\nafter\n")
    method_table.put_between_marks(page, "t", ["", "| new |", ""])
    assert page.read_text() == "before\n<!-- t: begin -->\n\n| new |\n\n<!-- t: end -->\nafter\n"
    with pytest.raises(ValueError, match="no marks"):
        method_table.put_between_marks(page, "other", [])


def test_table_of_the_readme_is_a_part_of_the_experiments():
    readme, experiments = (
        (ROOT / name)
        .read_text(encoding="utf-8")
        .partition("<!-- method_table gestures: begin -->")[2]
        .partition("<!-- method_table gestures: end -->")[0]
        .splitlines()
        for name in ("README.md", "EXPERIMENTS.md")
    )
    begin = next(number for number, line in enumerate(experiments) if line.startswith("| |"))
    scores = experiments[begin : begin + 2 + len(method_table.ROWS) + 1]
    assert [line for line in readme if line.startswith("|")] == method_table.readme_table(scores)

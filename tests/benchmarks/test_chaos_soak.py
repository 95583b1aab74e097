"""The campaign of hours compares the first and the last tenth of a training, and is not run again once it is over."""

import sys

import chaos_soak
import pytest
import torch
from chaos_runs import read_summary
from transformers.utils import logging


def make_samples(**growth):
    """A hundred samples of a training whose steps cost two passes; `growth` multiplies a measure at the end."""
    samples, sums = [], {"steps": 0, "wall_of_steps": 0.0, "cpu_of_steps": 0.0, "passes": 0, "cpu_of_passes": 0.0}
    for number in range(100):
        grown = {name: 1 + (factor - 1) * number / 99 for name, factor in growth.items()}
        samples.append(
            {
                "seconds": float(number),
                "cpu": 1.5 * sums["cpu_of_steps"],
                **sums,
                "memory, MB": 600.0 * grown.get("memory", 1),
                "file handles": 19,
                "threads": 5,
            }
        )
        sums["steps"] += 100
        sums["passes"] += 5
        sums["wall_of_steps"] += 1.0
        sums["cpu_of_steps"] += 0.8 * grown.get("machine", 1) * grown.get("steps", 1)
        sums["cpu_of_passes"] += 0.02 * grown.get("machine", 1)
    return samples


def verdicts(samples, capsys):
    chaos_soak.print_table(samples)
    rows = [line.strip("|").split("|") for line in capsys.readouterr().out.splitlines()[2:10]]
    return {name.strip(): flat.strip() for name, *_, flat in rows}


def test_measures_of_a_steady_training_are_flat(capsys):
    found = chaos_soak.compare_tenths(make_samples())
    assert found["CPU time per step, ms"] == pytest.approx((8, 8))
    assert found["CPU time per step, passes"] == pytest.approx((2, 2))
    assert found["the same with loading, evaluation and checkpoints, passes"] == pytest.approx((3, 3))
    assert [*verdicts(make_samples(), capsys).values()].count("yes") == len(chaos_soak.JUDGED)


def test_growing_memory_is_not_flat(capsys):
    found = verdicts(make_samples(memory=1.1), capsys)
    assert {name for name, flat in found.items() if flat == "no"} == {"memory, MB"}


def test_slower_machine_is_not_a_slower_step_but_a_slower_step_is(capsys):
    assert "no" not in verdicts(make_samples(machine=1.5), capsys).values()
    found = verdicts(make_samples(steps=1.1), capsys)
    assert {name for name, flat in found.items() if flat == "no"} == set(chaos_soak.MULTIPLES)


def test_too_few_samples_are_refused():
    with pytest.raises(ValueError, match="let the training run longer"):
        chaos_soak.compare_tenths(make_samples()[:5])


@pytest.mark.slow
def test_training_is_sampled_and_not_repeated(tmp_path, monkeypatch, capsys):
    threads = torch.get_num_threads()
    monkeypatch.setattr(chaos_soak, "SECONDS_PER_SAMPLE", 0.0)
    monkeypatch.setattr(chaos_soak, "INTERVAL", 20)
    folder = tmp_path / "soak"
    monkeypatch.setattr(sys, "argv", ["chaos_soak.py", "--hours", "0.003", "--output_dir", str(folder)])
    chaos_soak.main()
    first = capsys.readouterr().out
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in first.splitlines() if line[:1] == "|"]
    assert [row[0] for row in rows[2:]] == [*chaos_soak.LEVELS, *chaos_soak.TIMES, *chaos_soak.MULTIPLES]
    assert all(float(cell) > 0 for row in rows[2:] for cell in row[1:4])
    assert (folder / "run" / "model.safetensors").exists()
    assert sum(read_summary(folder).values()) == len(chaos_soak.JUDGED)
    monkeypatch.setattr(chaos_soak, "train", None)  # it is over
    chaos_soak.main()
    assert first.endswith(capsys.readouterr().out)
    torch.set_num_threads(threads)
    logging.enable_progress_bar()

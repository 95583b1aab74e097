"""The measurements of an accelerator run on the CPU, as small as they can be."""

import sys

import gpu
import pytest
import torch


@pytest.mark.slow
def test_measurements_run_on_the_cpu(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--device", "cpu", "--smoke"])
    gpu.main()
    torch._dynamo.reset()
    lines = capsys.readouterr().out.splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    assert [row[0] for row in rows[2:5]] == [
        "limit: ResNet50 + linear",
        "this project, eager",
        "this project, compiled",
    ]
    assert all(float(row[1].replace(",", "")) > 0 for row in rows[2:5])
    assert any(line.startswith("Largest difference to the CPU in float32: 0.0e+00") for line in lines)

"""The table of gradients in float16 has a row for each loss and scale."""

import sys

import half_precision


def test_scaled_gradients_of_every_loss_keep_their_direction(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["half_precision.py", "--smallest", "--batch_size", "8"])
    half_precision.main()
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert [(row[0], row[2]) for row in rows] == [
        (loss, scale) for loss in ("js", "kl", "ce") for scale in ("1", "65536")
    ]
    assert all(float(row[4]) > 0.99 for row in rows if row[2] == "65536")

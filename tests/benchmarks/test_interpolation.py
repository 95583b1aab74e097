"""The campaign of interpolation: one drawer first, then the other, and every model between."""

import sys

import interpolation
import pytest
from made_drawings import make_drawings, make_towers

pytestmark = pytest.mark.slow


def test_each_fraction_has_a_score_on_both_drawers(tmp_path, monkeypatch, capsys):
    towers, drawings = make_towers(tmp_path / "towers"), make_drawings(tmp_path / "drawings")
    flags = (
        "--towers",
        towers,
        "--seeds",
        0,
        "--epochs",
        1,
        "--image_size",
        32,
        "--output_dir",
        tmp_path / "runs",
        "--jobs",
        1,
    )
    monkeypatch.setattr(interpolation, "LAST_EPOCH", (*interpolation.LAST_EPOCH, "--linear_probe_epochs", "0"))
    monkeypatch.setattr(sys, "argv", ["interpolation.py", str(drawings), *map(str, flags)])
    interpolation.main()
    screen = capsys.readouterr().out
    rows = [line.split("|")[1].strip() for line in screen.splitlines() if line.startswith("|")]
    assert rows == ["fraction of the trained weights", "---", "0", "0.25", "0.5", "0.75", "1", "auto"]
    assert len(screen.partition("`auto` chose ")[2].split(",")) == 2
    first = {path.name for path in (tmp_path / "runs" / "drawers" / "drawer-a" / "training" / "0").iterdir()}
    assert first == {f"{clip:04d}.0.jpg" for clip in (0, 2, 4, 6)}

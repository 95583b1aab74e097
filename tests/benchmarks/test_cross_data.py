"""The campaign across data sets: sets that differ in their names alone, and a matrix of real runs."""

import sys

import cross_data
import pytest
from made_drawings import make_towers

from mg_vtc.data import load_image_folder


def test_sets_have_the_same_drawings_of_other_clips_under_their_own_names(tmp_path):
    sets = cross_data.draw_sets(tmp_path, 16)
    names = {word: load_image_folder(folder)["train"].features["label"].names for word, folder in sets.items()}
    assert [len(of_set) for of_set in names.values()] == [20, 12, 16]
    assert "crossing arms" in names["ma52"]
    assert "Folding arms" in names["smg"]
    assert "crossing legs" not in names["ma52"]  # not drawn, as iMiGUE lacks it
    files = {word: {path.name for path in folder.rglob("*.png")} for word, folder in sets.items()}
    assert not files["imigue"] & files["smg"]
    contents = [path.read_bytes() for folder in sets.values() for path in folder.rglob("*.png")]
    assert len(set(contents)) == len(contents) == (20 + 12 + 16) * 11 * 2
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")}
    cross_data.draw_sets(tmp_path, 16)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")} == before


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The tokenizer")  # words of the other sets
def test_matrix_is_that_of_real_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cross_data, "NUM_CLIPS", {"train": 1, "validation": 1})
    monkeypatch.setattr(cross_data, "NUM_FRAMES", 1)
    flags = ["--towers", make_towers(tmp_path / "towers"), "--output_dir", tmp_path / "runs", "--jobs", 1]
    flags += ["--epochs", 3, "--image_size", 32, "--seeds", 0]
    monkeypatch.setattr(sys, "argv", ["cross_data.py", *map(str, flags)])
    cross_data.main()
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert lines[0] == "| pretrained text tower | iMiGUE | SMG | Micro-Action-52 |"
    assert len(lines) == 20
    others = [cell.split(" (")[-1].split(",")[0].strip() for cell in lines[7].split("|")[2:-1]]
    assert others == ["", "6", "10"]  # "Arms akimbo" is a name of all three sets
    cells = [cell.split(" (")[1] for cell in lines[2].split("|")[2:-1]]
    assert cells == ["20, 5.0) ", "12, 8.3) ", "16, 6.2) "]

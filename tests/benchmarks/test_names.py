"""The campaign of names: rows that differ in the texts alone, names that are shuffled, classes that are left out."""

import csv
import json
import re
import sys

import names
import pytest
from made_drawings import make_drawings, make_towers

from mg_vtc.training.recipe import parse_recipe


@pytest.fixture
def arguments(tmp_path, monkeypatch):
    """Flags of the script, for three classes of eight clips."""
    drawings, towers = make_drawings(tmp_path / "drawings"), make_towers(tmp_path / "towers")
    flags = ["--towers", towers, "--output_dir", tmp_path / "runs", "--epochs", 1, "--image_size", 32, "--jobs", 1]
    monkeypatch.setattr(sys, "argv", ["names.py", str(drawings), *map(str, flags), "--freeze_vision_model"])
    return sys.argv


def test_shuffled_names_are_the_same_names_of_other_classes(tmp_path):
    own = ["a", "b", "c", "d"]
    with names.write_shuffled_names(tmp_path / "shuffled.csv", own, seed=3).open(newline="") as file:
        shuffled = [row["name"] for row in sorted(csv.DictReader(file), key=lambda row: int(row["id"]))]
    assert sorted(shuffled) == own
    assert all(one != other for one, other in zip(own, shuffled, strict=True))


@pytest.mark.filterwarnings("ignore")  # of frozen towers
def test_rows_differ_in_their_texts_alone(arguments, tmp_path, monkeypatch, capsys):
    seen, scores = {}, [0.5, 0.52, 0.3, 0.45, 0.49, 0.42, 0.25]

    def read(cells, folder, *, jobs):
        for name, flags in cells.items():
            seen[name] = parse_recipe([*flags, "--output_dir", str(folder / name)])
            (folder / f"{name}.log").write_text("flags\nat revision abc1234\n")
        return {name: {"eval_top1_accuracy": scores[int(name.partition("-")[0])]} for name in seen}

    monkeypatch.setattr(names, "run_cells", read)
    arguments += ["--seeds", "0", "1", "--conditions", "2", "all", "wrong", "rare"]
    names.main()
    assert len(seen) == len(names.ROWS) * 4 * 2
    assert {seen[f"{number}-2-1"].data.shots for number in range(len(names.ROWS))} == {2}
    texts = ("text_config", "text_model_name_or_path", "vision_only", "freeze_text_model", "labels_file", "output_dir")
    rest = [
        {key: value for key, value in seen[f"{number}-all-0"].settings.items() if key not in texts}
        for number in range(len(names.ROWS))
    ]
    assert all(one == rest[0] for one in rest)
    head, _, *rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert "2 clips a class: top-1 | difference | all clips: top-1 | difference | 40% wrong labels" in head
    shown = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert shown[0][:4] == [names.NAMES, "", "50.0 ± 0.0", ""]
    assert [row[3] for row in shown[1:]] == [
        f"{change:+.1f} ± 0.0" for change in (2, -20, 45 - 52, -1, 42 - 52, -25)
    ]  # frozen rows are compared with the frozen one
    wrong = [path.parent.name for path in sorted((tmp_path / "runs" / "images-wrong-0" / "train").glob("*/*.jpg"))]
    right = [path.parent.name for path in sorted((tmp_path / "runs" / "images-0" / "train").glob("*/*.jpg"))]
    assert len(wrong) == len(right)
    assert wrong != right
    rare = list((tmp_path / "runs" / "images-rare-0" / "train").glob("*/*.jpg"))
    assert 0 < len(rare) < len(right)
    assert {path.parent.name for path in rare} == set(right)
    assert seen["0-rare-0"].data.train_dir.endswith("images-rare-0")


def test_flags_of_a_row_and_of_its_reference_differ_in_one_thing():
    def describe(row):
        flags, shuffled = names.ROWS[row]
        return shuffled, *(flag in flags for flag in ("--text_config", "--freeze_text_model", "--vision_only"))

    for row, reference in names.REFERENCES.items():
        assert sum(one != other for one, other in zip(describe(row), describe(reference), strict=True)) == 1
    assert set(names.REFERENCES) == set(names.ROWS) - {names.NAMES}


@pytest.mark.slow
def test_unseen_classes_are_in_no_training(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(names, "ROWS", {names.NAMES: names.ROWS[names.NAMES]})
    monkeypatch.setattr(names, "OWN_TEXTS", [names.NAMES])
    arguments += ["--seeds", "0", "--conditions", "unseen", "--held_out", "2"]
    names.main()
    *_, row, chance, _, revision = capsys.readouterr().out.splitlines()
    assert row.startswith(f"| {names.NAMES} |")
    unseen, above = re.match(r"\| [^|]+ \| ([\d.]+) \| ([+-][\d.]+) \|  \|", row).groups()
    assert float(above) == pytest.approx(float(unseen) - 50, abs=0.11)
    assert len(row.strip("|").split("|")) == 7
    assert chance == "| chance | 50.0 | | | 33.3 | 100.0 | 33.3 |"
    assert revision.startswith("Revision ")
    split = json.loads((tmp_path / "runs" / "0-unseen-0" / "split.json").read_text())
    assert len({name.split("/")[0] for part in ("train", "validation") for name in split[part]}) == 1

"""The campaign of names: rows that differ in the texts alone, names that are shuffled, classes that are left out."""

import csv
import json
import re
import sys
from pathlib import Path

import gestures
import names
import numpy as np
import pytest
from conftest import CLASS_NAMES
from made_drawings import make_drawings, make_towers
from saved_models import save_taught_model
from zero_shot import of_classes

from mg_vtc import MgVtcModel
from mg_vtc.data import load_image_folder
from mg_vtc.data.descriptions import read_descriptions
from mg_vtc.runs.manifest import MANIFEST
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
    seen, scores = {}, [0.5, 0.52, 0.3, 0.45, 0.49, 0.42, 0.25, 0.51, 0.54, 0.59]

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
    texts = ("text_config", "text_model_name_or_path", "vision_only", "freeze_text_model", "labels_file")
    texts += ("prompt_template", "descriptions_file", "output_dir")
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
        f"{change:+.1f} ± 0.0" for change in (2, -20, 45 - 52, -1, 42 - 52, -25, 1, 4, 59 - 52)
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
    own = ("--text_config", "--freeze_text_model", "--vision_only", "--prompt_template", "--descriptions_file")

    def describe(row):
        flags, shuffled = names.ROWS[row]
        return shuffled, *(flag in flags for flag in own)

    for row, reference in names.REFERENCES.items():
        assert sum(one != other for one, other in zip(describe(row), describe(reference), strict=True)) == 1
    assert set(names.REFERENCES) == set(names.ROWS) - {names.NAMES}


def test_descriptions_are_of_the_drawn_gestures():
    path = names.DESCRIBED[1]
    described = json.loads(Path(path).read_text(encoding="utf-8"))
    assert all(len(texts) == 2 for texts in read_descriptions(path, list(described)))
    assert [*described] == list(dict.fromkeys(clip["name"] for clip in gestures.read_clips()))


def test_rows_are_those_asked_for_and_a_missing_reference_is_left_out(arguments, monkeypatch, capsys):
    seen = []

    def read(cells, folder, *, jobs):
        seen.extend(cells)
        for name in cells:
            (folder / f"{name}.log").write_text("flags\nat revision abc1234\n")
        return {name: {"eval_top1_accuracy": 0.5} for name in cells}

    monkeypatch.setattr(names, "run_cells", read)
    rows = ["names in four prompts", "names with descriptions, text tower frozen", "names, the same frozen"]
    arguments += ["--seeds", "0", "--conditions", "1", "--rows", *rows]
    names.main()
    assert seen == ["1-1-0", "7-1-0", "9-1-0"]
    *_, frozen, prompts, described, _, _ = capsys.readouterr().out.splitlines()
    assert frozen == "| names, the same frozen |  | 50.0 |  |"
    assert prompts == "| names in four prompts |  | 50.0 |  |"
    assert described == "| names with descriptions, text tower frozen | names, the same frozen | 50.0 | +0.0 |"


@pytest.mark.slow
def test_unseen_classes_are_in_no_training(arguments, tmp_path, capsys):
    rows = [names.NAMES, "names in four prompts"]
    arguments += ["--seeds", "0", "--conditions", "unseen", "--held_out", "2", "--rows", *rows]
    names.main()
    *_, row, further, chance, _, revision = capsys.readouterr().out.splitlines()
    assert row.startswith(f"| {names.NAMES} |")
    unseen, above = re.match(r"\| [^|]+ \| ([\d.]+) \| ([+-][\d.]+) \|  \|  \|", row).groups()
    assert float(above) == pytest.approx(float(unseen) - 50, abs=0.11)
    assert len(row.strip("|").split("|")) == 8
    of_prompts, reference, apart = re.match(
        r"\| [^|]+ \| ([\d.]+) \| [^|]+ \| ([^|]+) \| ([^|]+) \|", further
    ).groups()
    assert reference == names.NAMES
    assert float(apart) == pytest.approx(float(of_prompts) - float(unseen), abs=0.11)
    assert chance == "| chance | 50.0 | | | | 33.3 | 100.0 | 33.3 |"
    assert revision.startswith("Revision ")
    split = json.loads((tmp_path / "runs" / "0-unseen-0" / "split.json").read_text())
    assert len({name.split("/")[0] for part in ("train", "validation") for name in split[part]}) == 1


def test_unseen_classes_are_scored_by_the_texts_that_the_model_has_for_them(images_dir, processor, tmp_path):
    run = save_taught_model(tmp_path / "run", processor, images_dir)
    (run / MANIFEST).unlink()  # the model is changed below
    rows = load_image_folder(images_dir)["train"]
    model = MgVtcModel.from_pretrained(run)
    order = [CLASS_NAMES.index(name) for name in rows.features["label"].names]
    model.class_embeds = model.class_embeds[order]
    model.save_pretrained(run)
    unseen = np.array([1, 3])
    parts = [of_classes(rows, classes) for classes in (unseen, np.array([0, 2]))]
    assert names.score_unseen(run, *parts, unseen) == [1, 1, 1, 1]
    model.class_embeds[unseen] = model.class_embeds[unseen[::-1].copy()]
    model.save_pretrained(run)
    assert names.score_unseen(run, *parts, unseen) == [0, 0, 1, 1]

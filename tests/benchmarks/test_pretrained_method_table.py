"""The method's table with pretrained towers: what its rows train with, and a real cell of the literal setting."""

import sys
from collections import Counter
from pathlib import Path

import pretrained_method_table
import pytest
from links import split_folder
from made_drawings import make_drawings, make_towers

from mg_vtc.training.recipe import parse_recipe


@pytest.fixture
def arguments(tmp_path, monkeypatch):
    """Flags of the script, for three epochs on three classes of eight clips."""
    drawings, towers = make_drawings(tmp_path / "drawings"), make_towers(tmp_path / "towers")
    flags = ["--towers", towers, "--output_dir", tmp_path / "runs", "--epochs", 3, "--image_size", 32, "--jobs", 1]
    monkeypatch.setattr(sys, "argv", ["pretrained_method_table.py", str(drawings), *map(str, flags), "--seeds", "0"])
    return sys.argv


def test_rows_differ_in_objective_and_texts_alone(arguments, monkeypatch):
    arguments += ["--factors", "1"]
    seen = {}

    def read(cells, folder, *, jobs):
        seen.update(
            {name: parse_recipe([*flags, "--output_dir", str(folder / name)]) for name, flags in cells.items()}
        )
        raise InterruptedError("no cell is run")

    monkeypatch.setattr(pretrained_method_table, "run_cells", read)
    with pytest.raises(InterruptedError):
        pretrained_method_table.main()
    rows = pretrained_method_table.ROWS
    assert len(seen) == 2 * len(rows)
    recipes = {row: seen[f"{number}-clip-0"] for number, row in enumerate(rows)}
    literal, js = recipes["`js`, literal setting"].settings, recipes["`js`, texts of the batch"].settings
    changed = ("normalize", "logit_scale_init_value", "learn_logit_scale", "max_grad_norm")
    assert {name: literal.get(name) for name in changed} == dict(zip(changed, (False, 0.0, False, 0.0), strict=True))
    apart = (*changed, "output_dir")
    assert {k: v for k, v in literal.items() if k not in apart} == {k: v for k, v in js.items() if k not in apart}
    has_all = {row: recipe.training.text_batch == "classes" for row, recipe in recipes.items()}
    others = pretrained_method_table.REFERENCES.items()
    assert [row for row, reference in others if has_all[row] != has_all[reference]] == ["`js`, texts of the batch"]
    texts = (*apart, "loss_type", "text_batch", "vision_only", "text_model_name_or_path")
    rest = [{key: value for key, value in one.settings.items() if key not in texts} for one in recipes.values()]
    assert all(one == rest[0] for one in rest)
    assert [recipes[row].training.loss_type for row in ("`kl`, `ce`", "`ce_soft`")] == ["kl", "ce_soft"]


def ask_for_cells(monkeypatch, best):
    """Settings of the cells that tune and of those of the table; scores stand in for trainings, with one the best."""
    asked = []

    def score(cells, folder, *, jobs):
        asked.append({name: parse_recipe([*flags, "--output_dir", "run"]).settings for name, flags in cells.items()})
        if len(asked) == 2:
            raise InterruptedError("no cell is run")
        return {name: {"eval_top1_accuracy": 0.9 if name == best else 0.5} for name in cells}

    monkeypatch.setattr(pretrained_method_table, "run_cells", score)
    with pytest.raises(InterruptedError):
        pretrained_method_table.main()
    return asked


def test_cells_of_a_row_have_the_rates_with_which_it_scored_best(arguments, monkeypatch):
    tuning, cells = ask_for_cells(monkeypatch, best="3-clip-100-x3")
    assert len(tuning) == 4 * len(pretrained_method_table.ROWS)
    assert sorted(cells) == sorted(
        f"{row}-{split}-0{'-x3' if row == 3 else ''}" for row in range(7) for split in ("clip", "frame")
    )
    for once, more, factor in (
        (tuning["3-clip-100"], tuning["3-clip-100-x0.3"], 0.3),
        (cells["0-clip-0"] | {"loss_type": "kl"}, cells["3-clip-0-x3"], 3),
    ):
        rates = set(pretrained_method_table.RATES)
        assert {name: more[name] / once[name] for name in rates} == pytest.approx(dict.fromkeys(rates, factor))
        assert {name: value for name, value in more.items() if name not in rates} == {
            name: value for name, value in once.items() if name not in rates
        }


def count_images(folder):
    """Images of each class in a folder of links."""
    return Counter(path.parent.name for path in folder.rglob("*") if path.is_symlink())


def test_classes_are_rare_in_training_alone_also_where_rows_are_tuned(arguments, monkeypatch):
    arguments += ["--splits", "clip", "--imbalance", "6"]
    asked = ask_for_cells(monkeypatch, best="0-clip-100")
    for cells, seed in zip(asked, (100, 0), strict=True):
        (images,) = {Path(settings["train_dir"]) for settings in cells.values()}
        split = split_folder(Path(arguments[1]), seed)
        kept = count_images(images / "train")
        assert max(kept.values()) == max(Counter(split["train"]["label"][:]).values())
        assert max(kept.values()) >= 4 * min(kept.values())
        whole = Counter(map(str, split["validation"]["label"][:]))
        assert count_images(images / "validation") == whole


def test_rare_classes_of_frames_are_refused(arguments, capsys):
    arguments += ["--imbalance", "6"]
    with pytest.raises(SystemExit):
        pretrained_method_table.main()
    assert "--imbalance holds out clips: give --splits clip" in capsys.readouterr().err


@pytest.mark.slow
def test_table_says_which_runs_collapsed(arguments, monkeypatch, capsys):
    rows = {row: pretrained_method_table.ROWS[row] for row in ("`js`, literal setting", "vision-only, `ce`")}
    monkeypatch.setattr(pretrained_method_table, "ROWS", rows)
    monkeypatch.setattr(pretrained_method_table, "REFERENCES", {"vision-only, `ce`": "`js`, literal setting"})
    arguments += ["--splits", "clip", "--factors", "1", "0.01"]
    pretrained_method_table.main()
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    tuned, (head, _, literal, vision_only) = lines[2:4], lines[4:]
    for scores, line in zip(tuned, (literal, vision_only), strict=True):  # the better one, or the first of equals
        by_factor = dict(zip(("x 1", "x 0.01"), scores.replace("*", "").split("|")[2:], strict=False))
        assert line.split("|")[3].strip() == max(by_factor, key=lambda factor: float(by_factor[factor]))
    assert head.endswith("| saturated fraction | cosine of class texts | collapsed |")
    assert "| rates | top-1 | against | difference | top-5 |" in head
    assert literal.startswith("| `js`, literal setting | clip-level split |")
    own, reference = (float(line.split("|")[4]) for line in (vision_only, literal))
    reference_row, difference = vision_only.split("|")[5:7]
    assert reference_row.strip() == "`js`, literal setting"
    assert vision_only.startswith("| vision-only, `ce` | clip-level split |")
    assert float(difference) == pytest.approx(own - reference, abs=0.11)
    assert [cell.strip() for cell in literal.split("|")[5:7]] == ["", ""]
    assert all(line.endswith((" 0 of 1 |", " 1 of 1 |")) for line in (literal, vision_only))

"""The campaign of transfer: whose drawings are trained on, what is chosen, and what the further drawer is used for."""

import sys

import pytest
import transfer
from made_drawings import make_drawings, make_towers

from mg_vtc.training.recipe import parse_recipe


@pytest.fixture
def arguments(tmp_path, monkeypatch):
    """Flags of the script, for two drawers, a further one and two settings beside the references."""
    first, further = make_drawings(tmp_path / "first"), make_drawings(tmp_path / "further", "c", first_clip=10)
    towers = make_towers(tmp_path / "towers")
    flags = [
        "--towers",
        towers,
        "--output_dir",
        tmp_path / "runs",
        "--seeds",
        0,
        1,
        "--epochs",
        4,
        "--small_epochs",
        2,
    ]
    flags += ["--settings", "no augmentation", transfer.WISE_FT]
    monkeypatch.setattr(sys, "argv", ["transfer.py", str(first), str(further), *map(str, flags)])
    return sys.argv


@pytest.fixture
def recipes(monkeypatch):
    """The recipes of the cells, which are not run; no augmentation scores best on the first drawer, a."""
    seen = {}

    def read(cells, folder, *, jobs):
        for name, flags in cells.items():
            seen[name] = parse_recipe([*flags, "--output_dir", str(folder / name)])
            (folder / f"{name}.log").write_text("flags\nat revision abc1234\n")
        scores = {name: 0.75 if seen[name].data.augmentation == 0 and "-a-" in name else 0.5 for name in cells}
        return {name: {"eval_top1_accuracy": score, "eval_top5_accuracy": 1.0} for name, score in scores.items()}

    monkeypatch.setattr(transfer, "run_cells", read)
    return seen


@pytest.mark.filterwarnings("ignore")  # of frozen towers
def test_choice_is_made_on_drawers_left_out_and_tested_on_the_further_one(arguments, recipes, capsys):
    transfer.main()
    screen = capsys.readouterr().out
    before, _, after = screen.partition("**The further drawer")
    assert "One of 2 drawers left out, 128 px, 4 epochs, mean ± standard deviation of 4 runs." in before
    rows = [line for line in before.splitlines() if line.startswith("|")]
    assert f"| {transfer.RECIPE} | 50.0 ± 0.0 | 100.0 ± 0.0 |  |" in rows
    assert len(rows) == 2 + len(transfer.REFERENCES) + 2
    assert "| no augmentation | 62.5 ± 14.4 | 100.0 ± 0.0 | +12.5 ± 7.2, p 0.18 |" in rows
    assert "chosen before: no augmentation" in after
    assert len([line for line in after.splitlines() if line.startswith("|")]) == 2 + len(transfer.REFERENCES) + 1
    assert screen.count("Revision abc1234.") == 2
    assert not [
        name for name in recipes if name.startswith(f"drawer-c-{list(transfer.SETTINGS).index(transfer.WISE_FT)}")
    ]
    small = recipes["drawer-a-small-0"].training
    assert small.num_train_epochs == 2
    assert recipes["drawer-a-0-0"].training.num_train_epochs == 4
    assert recipes["drawer-a-3-1"].model.model_name_or_path.endswith("drawer-a-1-1")


def test_drawer_that_is_tested_on_is_not_trained_on(arguments, recipes, tmp_path):
    transfer.main()
    files = {
        (path.parts[-4], path.parts[-3], path.name.split("-")[1])
        for path in (tmp_path / "runs").glob("images-*/*/*/*.jpg")
    }
    assert {clip for folder, part, clip in files if (folder, part) == ("images-drawer-a", "validation")} == {
        f"{clip:04d}.0.jpg" for clip in (0, 2, 4, 6)
    }
    assert {clip for folder, part, clip in files if (folder, part) == ("images-drawer-a", "train")} == {
        f"{clip:04d}.0.jpg" for clip in (1, 3, 5, 7)
    }
    assert {clip for folder, part, clip in files if (folder, part) == ("images-drawer-c", "train")} == {
        f"{clip:04d}.0.jpg" for clip in range(8)
    }
    assert {clip for folder, part, clip in files if (folder, part) == ("images-drawer-c", "validation")} == {
        f"{clip:04d}.0.jpg" for clip in range(10, 18)
    }


def test_further_set_by_a_drawer_of_the_first_is_refused(arguments, tmp_path):
    make_drawings(tmp_path / "same", "b", first_clip=20)
    arguments[2] = str(tmp_path / "same")
    with pytest.raises(ValueError, match="does not test transfer: drawer-b"):
        transfer.main()


def test_further_set_of_other_classes_is_refused(arguments, tmp_path):
    make_drawings(tmp_path / "fewer", "c", num_classes=2)
    arguments[2] = str(tmp_path / "fewer")
    with pytest.raises(ValueError, match="have other classes"):
        transfer.main()

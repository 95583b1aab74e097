"""The campaign of fine-tuning: cells of the recipe with one setting changed, and paired differences."""

import sys

import fine_tuning
import pytest
from scipy.stats import ttest_rel

from mg_vtc.training.recipe import parse_recipe


def test_difference_is_paired():
    assert fine_tuning.difference([0.5, 0.7], [0.4, 0.6]) == "+10.0 ± 0.0"
    assert fine_tuning.difference([0.4], [0.5]) == "-10.0"
    assert fine_tuning.difference([0.5, 0.6], [0.5, 0.4]) == "+10.0 ± 10.0"


def test_difference_of_three_pairs_has_the_p_value_of_a_paired_t_test():
    own, reference = [0.75, 0.5, 0.8125], [0.5, 0.4375, 0.5]
    p_value = ttest_rel(own, reference).pvalue
    assert fine_tuning.difference(own, reference) == f"+20.8 ± 7.5, p {p_value:.2f}"
    assert fine_tuning.difference([0.75, 0.751, 0.749], [0.25, 0.25, 0.25]) == "+50.0 ± 0.1, p < 0.001"
    assert fine_tuning.difference([0.75, 0.5, 1.0], [0.5, 0.25, 0.75]) == "+25.0 ± 0.0"


@pytest.mark.filterwarnings("ignore")  # of frozen towers
def test_cells_are_flags_of_the_command_and_the_table_has_a_row_a_setting(images_dir, tmp_path, monkeypatch, capsys):
    seen = {}

    def read(cells, folder, *, jobs):
        for name in cells:
            (folder / f"{name}.log").write_text("flags\nat revision abc\n")
        seen.update(
            {name: parse_recipe([*flags, "--output_dir", str(folder / name)]) for name, flags in cells.items()}
        )
        scores = {name: 0.5 if recipe.training.loss_type == "js" else 0.25 for name, recipe in seen.items()}
        return {name: {"eval_top1_accuracy": score, "eval_top5_accuracy": 1} for name, score in scores.items()}

    monkeypatch.setattr(fine_tuning, "run_cells", read)
    flags = ["--seeds", "0", "1", "--towers", "towers", "--output_dir", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["fine_tuning.py", str(images_dir), *flags])
    fine_tuning.main()
    assert len({(str(recipe.settings)) for recipe in seen.values()}) == 2 * len(fine_tuning.SETTINGS)
    out = capsys.readouterr().out.splitlines()
    assert out[-1] == "Revision abc."
    head, _, base, *rows = [line for line in out if line.startswith("|")]
    assert head == "| setting | top-1 | top-5 | top-1 against the recipe |"
    assert base == "| the recipe | 50.0 ± 0.0 | 100.0 ± 0.0 |  |"
    assert "| `ce` | 25.0 ± 0.0 | 100.0 ± 0.0 | -25.0 ± 0.0 |" in rows

    seen.clear()
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--settings", "`ce`", "--image_size", "64"])
    fine_tuning.main()
    assert {(recipe.training.loss_type, recipe.data.image_size) for recipe in seen.values()} == {
        ("js", 64),
        ("ce", 64),
    }
    assert "| `ce` | 25.0 ± 0.0 | 100.0 ± 0.0 | -25.0 ± 0.0 |" in capsys.readouterr().out.splitlines()

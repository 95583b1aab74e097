"""Where the texts begin: as one point or apart, and a table with a row an objective and a range."""

import sys

import pytest
import text_initialization as benchmark
from conftest import CLASS_NAMES

from mg_vtc.training.recipe import parse_recipe

TEXT = {"model_type": "distilbert", "n_layers": 2, "dim": 128, "n_heads": 4, "hidden_dim": 512}


def test_texts_of_the_default_range_begin_as_one_point_and_those_of_a_wider_one_apart():
    near, apart = (
        benchmark.measure_cosine(list(CLASS_NAMES), TEXT | {"initializer_range": x}, 0) for x in (0.02, 0.09)
    )
    assert 0.99 < near <= 1
    assert apart < 0.95


def test_cells_are_flags_of_the_command_and_the_table_has_a_row_an_objective_and_a_range(
    images_dir, tmp_path, monkeypatch, capsys
):
    def read(cells, folder, *, jobs):
        recipes = {name: parse_recipe([*flags, "--output_dir", str(folder / name)]) for name, flags in cells.items()}
        ranges = {name: recipe.model.text_config["initializer_range"] for name, recipe in recipes.items()}
        assert {recipe.data.split_by for recipe in recipes.values()} == {"clip"}
        return {name: {"eval_top1_accuracy": 10 * x, "eval_top5_accuracy": 1.0} for name, x in ranges.items()}

    monkeypatch.setattr(benchmark, "run_cells", read)
    flags = ["--seeds", "0", "1", "--output_dir", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["text_initialization.py", str(images_dir), *flags])
    benchmark.main()
    near, apart = capsys.readouterr().out.splitlines()[-2:]
    assert near.startswith("| `ce_identity` | pairs | 0.02 | 0.9")
    assert near.endswith("| 20.0 ± 0.0 | 100.0 ± 0.0 |")
    assert apart.endswith("| 90.0 ± 0.0 | 100.0 ± 0.0 |")
    assert float(near.split("|")[4]) > float(apart.split("|")[4])


@pytest.mark.parametrize("seed", [0, 1])
def test_cosine_of_a_seed_is_always_the_same(seed):
    found = [benchmark.measure_cosine(list(CLASS_NAMES), TEXT | {"initializer_range": 0.09}, seed) for _ in range(2)]
    assert found[0] == found[1]

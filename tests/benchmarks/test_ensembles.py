"""The table of ensembles: a row for each way to predict, with its gain over a single model of the same split."""

import json
import sys

import ensembles as benchmark
import pytest
import yaml
from conftest import CLASS_NAMES, TINY_RESNET
from saved_models import save_model

import mg_vtc
from mg_vtc.training.recipe import parse_recipe


@pytest.fixture
def save_cells(processor, images_dir, monkeypatch):
    """Save an untrained model for each cell instead of training it; gives the flags of the cells."""
    recipes = {}

    def save(cells, folder, *, jobs):
        for name, flags in cells.items():
            recipes[name] = parse_recipe([*flags, "--output_dir", str(folder / name)])
            names = dict(enumerate(CLASS_NAMES[:4]))
            seed = recipes[name].training.seed
            save_model(folder / name, TINY_RESNET, tokenizer=processor.tokenizer, id2label=names, seed=seed)
            held_out = [path.relative_to(images_dir).as_posix() for path in images_dir.rglob("*.0.png")]
            split = {"split_by": "clip", "train": [], "validation": held_out}
            (folder / name / "split.json").write_text(json.dumps(split))
            (folder / name / "recipe.yaml").write_text(yaml.safe_dump({"horizontal_flip": True}))

    monkeypatch.setattr(benchmark, "run_cells", save)
    return recipes


def test_models_of_a_split_differ_in_their_seed_and_the_table_compares_them(
    save_cells, images_dir, tmp_path, monkeypatch, capsys
):
    flags = ["--seeds", "7", "--output_dir", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["ensembles.py", str(images_dir), *flags])
    benchmark.main()
    seeds = {name: (one.data.split_seed, one.training.seed) for name, one in save_cells.items()}
    assert seeds == {"7-0": (7, 70), "7-1": (7, 71), "7-2": (7, 72)}
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[-4:]]
    assert [row[0] for row in rows] == [f"| {name}" for name in benchmark.ROWS]

    models = [str(tmp_path / name) for name in save_cells]
    alone = [mg_vtc.evaluate(model, images_dir, split="validation").results for model in models]
    together = mg_vtc.evaluate(models, images_dir, split="validation").results
    top1 = [results["scores"]["top1_accuracy"]["value"] for results in (*alone, together)]
    mean = sum(top1[:3]) / 3
    assert (rows[0][1], rows[0][2]) == (f"{100 * mean:.1f}", "0.0")
    assert (rows[2][1], rows[2][2]) == (f"{100 * top1[3]:.1f}", f"{100 * (top1[3] - mean):.1f}")

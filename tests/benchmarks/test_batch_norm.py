"""The table of momenta: the statistics are those of the training images, and a momentum of 0 keeps the model."""

import json
import sys

import batch_norm as benchmark
import pytest
import torch
import yaml
from pages import train_on_colours
from torch.nn.modules.batchnorm import _BatchNorm

import mg_vtc
from mg_vtc.data import load_image_folder
from mg_vtc.evaluation.selection import choose_rows
from mg_vtc.inference.ensemble import open_members


@pytest.fixture
def run(images_dir, tmp_path):
    """A model of all images, of which a clip a class counts as held out."""
    folder = train_on_colours(tmp_path / "run", images_dir)
    names = [path.relative_to(images_dir).as_posix() for path in sorted(images_dir.rglob("*.png"))]
    held_out = [name for name in names if "/0003." in name]
    training = [name for name in names if name not in held_out]
    split = {"split_by": "clip", "seed": 0, "train": training, "validation": held_out}
    (folder / "split.json").write_text(json.dumps(split))
    (folder / "recipe.yaml").write_text(yaml.safe_dump({"per_device_train_batch_size": 64}))
    return folder


def first_norm(member):
    return next(module for module in member.network.vision_model.modules() if isinstance(module, _BatchNorm))


def test_mean_of_all_batches_is_that_of_the_training_images(run, images_dir):
    (member,) = open_members(str(run), "cpu")
    rows = choose_rows(load_image_folder(images_dir), member.records.split, "train").rows
    seen = []
    first_norm(member).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    benchmark.pass_images(member, rows, None, seed=0)
    features = seen[0]  # one batch, (num_images, channels, height, width)
    assert len(features) == len(rows)
    norm = first_norm(member)
    torch.testing.assert_close(norm.running_mean, features.mean(dim=(0, 2, 3)))
    torch.testing.assert_close(norm.running_var, features.var(dim=(0, 2, 3)), rtol=1e-5, atol=1e-5)
    assert not norm.training
    benchmark.pass_images(member, rows.select(range(4)), 0.99, seed=0)
    mixed = 0.01 * features.mean(dim=(0, 2, 3)) + 0.99 * seen[1].mean(dim=(0, 2, 3))
    torch.testing.assert_close(norm.running_mean, mixed)


def test_table_begins_with_the_score_of_the_run_as_it_is(run, images_dir, monkeypatch, capsys):
    monkeypatch.setattr(benchmark.torch, "set_num_threads", lambda number: None)
    monkeypatch.setattr(sys, "argv", ["batch_norm.py", str(images_dir), str(run), str(run)])
    benchmark.main()
    first, *rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")][1:]
    top1 = mg_vtc.evaluate(str(run), images_dir).results["scores"]["top1_accuracy"]["value"]
    assert first[:2] == ["| of the training", f"{100 * top1:.1f} ± 0.0"]
    assert [row[0] for row in rows] == [f"| {name}" for name in [*benchmark.MOMENTA][1:]]
    for _, value, change in rows:
        difference = float(value.partition(" ")[0]) - 100 * top1
        assert float(change.partition(" ")[0]) == pytest.approx(difference, abs=0.11)


def test_tower_without_batch_norm_is_refused(run, images_dir):
    (member,) = open_members(str(run), "cpu")
    member.network.vision_model = torch.nn.Identity()
    with pytest.raises(ValueError, match="has no batch norm in its vision tower"):
        benchmark.pass_images(member, load_image_folder(images_dir)["train"], 0.1, seed=0)

"""Several seeds by one command: a run a seed, resumed where it was, and their mean."""

import json

import pytest

from mg_vtc.runs.directory import begin_run
from mg_vtc.training.recipe import parse_recipe
from mg_vtc.training.repeated_runs import plan_seed, seed_folder, summarize_seeds
from mg_vtc.training.run import Refusal, train_seeds


@pytest.fixture
def command(tmp_path):
    def make(*flags):
        arguments = ["--train_dir", "images", "--output_dir", str(tmp_path / "seeds"), "--num_seeds", "3", *flags]
        return arguments, parse_recipe([*arguments, "--use_cpu"])

    return make


def finish(recipe, number, **results):
    folder = seed_folder(recipe, number)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "all_results.json").write_text(json.dumps(results))
    (folder / "README.md").write_text("---\n---\n")  # the card of a finished run


def test_each_seed_is_a_run_in_a_folder_of_its_own(command, tmp_path):
    for number in range(3):
        arguments, recipe = command("--seed", "5")
        planned = parse_recipe([*plan_seed(arguments, recipe, number), "--use_cpu"])
        assert (planned.training.seed, planned.data.num_seeds) == (5 + number, 1)
        assert planned.training.output_dir == str(tmp_path / "seeds" / f"seed-{5 + number}")


def test_resuming_leaves_finished_seeds_and_refuses_those_of_other_settings(command):
    arguments, recipe = command("--resume_from_checkpoint", "true", "--seed", "0")
    settings = parse_recipe([*plan_seed(arguments, recipe, 0), "--use_cpu"]).settings
    begin_run(seed_folder(recipe, 0), settings | {"use_cpu": None}, {}, overwrite=False, resume=False)
    finish(recipe, 0)
    assert plan_seed(arguments, recipe, 0) is None
    assert "--overwrite" in plan_seed(arguments, recipe, 1)
    arguments, recipe = command("--resume_from_checkpoint", "true", "--seed", "0", "--loss_type", "ce")
    with pytest.raises(ValueError, match="The run began with loss_type"):
        plan_seed(arguments, recipe, 0)


def test_summary_is_mean_and_sample_deviation(command):
    _, recipe = command("--seed", "0", "--split_seed", "7")
    for number, score in enumerate((0.2, 0.4, 0.6)):
        names = ("eval_top1_accuracy", "eval_top5_accuracy", "eval_mean_class_accuracy", "eval_macro_f1")
        finish(recipe, number, **dict.fromkeys(names, score))
    summary = summarize_seeds(recipe)
    assert (summary["seeds"], summary["split"]) == ([0, 1, 2], "fixed")
    assert summary["eval_top1_accuracy"] == {
        "mean": pytest.approx(0.4),
        "std": pytest.approx(0.2),
        "runs": [0.2, 0.4, 0.6],
    }


def test_seeds_and_folds_exclude_each_other(command):
    with pytest.raises(ValueError, match="num_seeds and num_folds both train several times"):
        command("--num_folds", "3")


def test_folders_of_all_seeds_are_checked_before_the_first_is_trained(command, tmp_path):
    (tmp_path / "seeds" / "seed-2").mkdir(parents=True)
    (tmp_path / "seeds" / "seed-2" / "notes.txt").touch()
    arguments, recipe = command("--seed", "0", "--use_cpu")
    with pytest.raises(Refusal, match=r"seed-2 is not empty and not the folder of a run"):
        train_seeds(arguments, recipe)
    assert not (tmp_path / "seeds" / "seed-0").exists()


def test_seeds_and_folds_are_not_mixed_in_a_folder(command, tmp_path):
    (tmp_path / "seeds" / "fold-0").mkdir(parents=True)
    (tmp_path / "seeds" / "fold-0" / "recipe.yaml").touch()
    arguments, recipe = command("--seed", "0")
    with pytest.raises(ValueError, match=r"holds the runs fold-\*: choose another folder"):
        plan_seed(arguments, recipe, 0)

"""Cross-validation: what is planned for each fold, and what the folds say together."""

import json
import statistics

import pytest

from mg_vtc.runs.directory import begin_run
from mg_vtc.training.cross_validation import _check_folds, plan_fold, summarize_folds
from mg_vtc.training.recipe import parse_recipe
from mg_vtc.training.repeated_runs import SCORES


@pytest.fixture
def command(tmp_path):
    """Arguments of a cross-validation of three folds, and what they mean."""

    def make(*flags):
        arguments = ["--train_dir", "images", "--num_folds", "3", "--output_dir", str(tmp_path / "cv"), *flags]
        return arguments, parse_recipe(arguments)

    return make


def write(folder, name, content):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(content))


def begin_fold(folder, settings):
    begin_run(folder, settings, {"split_by": "clip"}, overwrite=False, resume=False)


def test_each_fold_is_a_run_in_a_folder_of_its_own(command, tmp_path):
    for fold in range(3):
        recipe = parse_recipe(plan_fold(*command(), fold))
        assert (recipe.data.num_folds, recipe.data.fold) == (3, fold)
        assert recipe.training.output_dir == str(tmp_path / "cv" / f"fold-{fold}")


def test_going_on_leaves_finished_folds_resumes_begun_ones_and_begins_the_others(command, tmp_path):
    write(tmp_path / "cv" / "fold-0", "all_results.json", {})
    write(tmp_path / "cv" / "fold-0", "README.md", {})  # the card of a finished run
    begin_fold(tmp_path / "cv" / "fold-0", parse_recipe(plan_fold(*command(), 0)).settings)
    write(tmp_path / "cv" / "fold-1" / "checkpoint-7", "trainer_state.json", {})
    write(tmp_path / "cv" / "fold-2", "recipe.yaml", {})
    plans = [plan_fold(*command("--resume_from_checkpoint", "true"), fold) for fold in range(3)]
    assert plans[0] is None
    begun, new = (parse_recipe(plan).training for plan in plans[1:])
    assert (begun.resume_from_checkpoint, begun.overwrite) == ("true", False)
    assert (new.resume_from_checkpoint, new.overwrite) == (None, True)


@pytest.mark.parametrize("flags", [("--seed", "7"), ("--loss_type", "ce"), ("--num_folds", "5")])
def test_finished_fold_of_another_cross_validation_is_refused(flags, command, tmp_path):
    write(tmp_path / "cv" / "fold-0", "all_results.json", {})
    write(tmp_path / "cv" / "fold-0", "README.md", {})  # the card of a finished run
    begin_fold(tmp_path / "cv" / "fold-0", parse_recipe(plan_fold(*command(), 0)).settings)
    with pytest.raises(ValueError, match=f"The run began with {flags[0].removeprefix('--')}"):
        plan_fold(*command("--resume_from_checkpoint", "true", *flags), 0)


def test_folder_of_a_single_run_is_refused(command, tmp_path):
    write(tmp_path / "cv", "recipe.yaml", {})
    with pytest.raises(ValueError, match="holds a single run"):
        plan_fold(*command(), 0)


def test_one_checkpoint_to_go_on_from_is_refused(command):
    with pytest.raises(ValueError, match="resume_from_checkpoint true or auto, not 'runs/x/checkpoint-7'"):
        plan_fold(*command("--resume_from_checkpoint", "runs/x/checkpoint-7"), 0)


def write_fold(folder, score, train, validation):
    write(folder, "all_results.json", dict.fromkeys(SCORES, score))
    rows = {"train": train, "validation": validation}
    digests = {part: ["7f"] * len(names) for part, names in rows.items()}
    leakage = {"validation": {"same_clip": 0, "near_duplicate": len(train)}}
    write(folder, "split.json", {"split_by": "clip", "digests": digests, "leakage": leakage, **rows})


def test_summary_is_the_mean_and_the_sample_deviation_of_the_folds(command, tmp_path):
    for fold, score in enumerate((0.5, 0.6, 0.8)):
        validation = "abc"[fold]
        write_fold(tmp_path / "cv" / f"fold-{fold}", score, sorted({*"abc"} - {validation}), [validation])
    summary = summarize_folds(command()[1])
    assert summary == json.loads((tmp_path / "cv" / "cross_validation.json").read_text())
    assert (summary["split_by"], summary["chosen_on_these"]) == ("clip", False)
    assert summary["leakage"] == {"same_clip": 0, "near_duplicate": 6}  # 2 in each of 3 folds
    top1 = summary["eval_top1_accuracy"]
    assert top1["folds"] == [0.5, 0.6, 0.8]
    assert top1["mean"] == pytest.approx(1.9 / 3)
    assert top1["std"] == pytest.approx(statistics.stdev([0.5, 0.6, 0.8]))


def test_several_models_are_not_pushed_as_one(command):
    with pytest.raises(ValueError, match="push_to_hub pushes one model, but num_folds trains several"):
        plan_fold(*command("--push_to_hub", "--hub_model_id", "org/mg-vtc"), fold=0)


@pytest.mark.parametrize(("train", "validation"), [("abd", "c"), ("bc", "a")])
def test_folds_of_other_images_or_held_out_twice_have_no_mean(command, tmp_path, train, validation):
    write_fold(tmp_path / "cv" / "fold-0", 0.5, ["b", "c"], ["a"])
    write_fold(tmp_path / "cv" / "fold-1", 0.5, ["a", "c"], ["b"])
    write_fold(tmp_path / "cv" / "fold-2", 0.5, list(train), list(validation))
    with pytest.raises(ValueError, match=r"fold-2 in .* has other images than"):
        summarize_folds(command()[1])


def test_rows_that_choose_the_interpolation_are_of_their_fold():
    def split(**parts):
        return parts | {"digests": {name: list(rows) for name, rows in parts.items()}}

    folds = [split(train="a", selection="b", validation="cd"), split(train="c", selection="d", validation="ab")]
    _check_folds(folds, "runs")
    with pytest.raises(ValueError, match="fold-1 in runs has other images"):
        _check_folds([folds[0], split(train="c", validation="ab")], "runs")

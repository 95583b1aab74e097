"""The real command: what a run leaves behind, what a kill may not change, what is refused and with which words.

Runs that must start or die like a user's are processes of their own; the others run the same script in this one.
"""

import csv
import json
import math
import os
import re
import runpy
import shlex
import shutil
import sys
import warnings
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
import yaml
from conftest import CLASS_NAMES, TINY_DISTILBERT, TINY_RESNET, TINY_VIT
from PIL import Image
from safetensors.torch import load_file
from scipy.spatial.distance import jensenshannon
from train_command import finish, is_complete, kill_after, start
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForImageClassification,
    AutoModelForZeroShotImageClassification,
    AutoProcessor,
    ViTImageProcessorPil,
)
from transformers.utils import logging

from mg_vtc import evaluate
from mg_vtc.hub.push import write_upload
from mg_vtc.runs.manifest import find_damage
from mg_vtc.training.arguments import TRAINING_LOSS_TYPES
from mg_vtc.training.build import build_trainer
from mg_vtc.training.recipe import parse_recipe
from mg_vtc.training.run import run as run_to_the_end

ROOT = Path(__file__).parents[1]
TEXT_TOWER = ("--text_config", json.dumps(TINY_DISTILBERT))
SETTINGS = ("--projection_dim", "12", "--image_size", "32", "--seed", "0", "--num_train_epochs", "3")
TRAINING = (*SETTINGS, "--random_shift", "4", "--per_device_train_batch_size", "4", "--learning_rate", "0.01")
TINY = ("--vision_config", json.dumps(TINY_RESNET), *TEXT_TOWER, *TRAINING)
TINY_ALEXNET = {"model_type": "alexnet", "hidden_sizes": [4, 8, 8, 8, 8], "hidden_size": 16}


@pytest.fixture
def train(monkeypatch, tmp_path):
    """The script in this process; it returns the folder of the run, `tmp_path / "run"` unless told otherwise."""
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)

    def run(*arguments, output_dir=tmp_path / "run"):
        monkeypatch.setattr(sys, "argv", ["train.py", *map(str, arguments), "--output_dir", str(output_dir)])
        runpy.run_path(str(ROOT / "train.py"), run_name="__main__")
        return output_dir

    run.folder = tmp_path / "run"
    yield run
    logging.enable_progress_bar()
    datasets.enable_progress_bars()


@pytest.fixture
def refusal(train):
    """The words with which the script refuses arguments; a text as exit code is printed, and 1 is returned."""

    def run(*arguments, **options):
        with pytest.raises(SystemExit) as stop:
            train(*arguments, **options)
        assert isinstance(stop.value.code, str)
        return stop.value.code

    return run


@pytest.fixture
def images(images_dir, tmp_path):
    """A copy of the images, to be spoiled."""
    return shutil.copytree(images_dir, tmp_path / "images")


@pytest.fixture(scope="module")
def launched(images_dir, tmp_path_factory):
    """A finished run of `accelerate launch`: six classes, two of them without images, and a default turned off."""
    folder = tmp_path_factory.mktemp("launched")
    (folder / "labels.csv").write_text("\n".join(["id,name", *(f"{name},{name}" for name in CLASS_NAMES)]))
    flags = ("--train_dir", images_dir, "--labels_file", folder / "labels.csv", "--learn_logit_scale", "false")
    process = start(*TINY, *flags, "--output_dir", folder / "run", launcher=("-m", "accelerate.commands.launch"))
    (folder / "screen.txt").write_text(finish(process))
    return folder / "run"


def read_json(path):
    return json.loads(path.read_text())


def read_weights(folder):
    return (folder / "model.safetensors").read_bytes()


def read_folder(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# What a run leaves behind


def test_run_ends_with_all_that_a_model_folder_needs(launched):
    names = {path.name for path in launched.iterdir()}
    code = {
        path.name
        for part in ("configuration", "modeling")
        for path in (ROOT / "src/mg_vtc/models").glob(f"{part}_*.py")
    }
    assert names >= code | {"config.json", "model.safetensors", "processor_config.json", "tokenizer.json"}
    assert names >= {"all_results.json", "split.json", "recipe.yaml", "README.md", "provenance.json"}
    assert (launched / "figures" / "confusion.png").is_file()
    with (launched / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    scores = [log["eval_top1_accuracy"] for log in read_json(launched / "trainer_state.json")["log_history"][1:6:2]]
    assert [(row["epoch"], row["eval_top1_accuracy"]) for row in rows] == [
        (str(epoch), f"{score:.6g}") for epoch, score in enumerate(scores, start=1)
    ]
    umask = os.umask(0)
    os.umask(umask)
    assert (launched / "model.safetensors").stat().st_mode & 0o777 == 0o666 & ~umask


def test_evaluation_of_a_run_repeats_its_scores(launched, images_dir):
    with pytest.warns(UserWarning, match="Classes of the labels file without images"):
        run = evaluate(str(launched), str(images_dir), labels_file=str(launched.parent / "labels.csv"))
    logged = read_json(launched / "all_results.json")
    for name in ("top1_accuracy", "top5_accuracy", "mean_class_accuracy", "macro_f1"):
        assert run.results["scores"][name]["value"] == logged[f"eval_{name}"]
    baselines = run.results["baselines"]
    assert baselines["majority_class"]["top1_accuracy"] == logged["baseline_majority_class_top1_accuracy"]
    assert baselines["five_most_frequent"]["top5_accuracy"] == logged["baseline_five_most_frequent_top5_accuracy"]
    assert sorted(run.predictions.file_names) == sorted(read_json(launched / "split.json")["validation"])
    of_training = read_json(launched / "results" / "validation.json")
    same = ("scores", "baselines", "classes", "calibration")
    assert [of_training[name] for name in same] == [run.results[name] for name in same]
    told = {name: value for name, value in of_training["conditions"].items() if name != "versions"}
    assert told == {name: run.results["conditions"][name] for name in told}
    assert len(run.training.history) == len(read_json(launched / "trainer_state.json")["log_history"])


def test_split_names_every_image_once(launched, images_dir):
    split = read_json(launched / "split.json")
    ids = sorted(path.relative_to(images_dir).as_posix() for path in images_dir.rglob("*.png"))
    assert sorted(split["train"] + split["validation"]) == ids
    assert len(split["validation"]) == 8  # a clip of two frames of each of the four classes


def score_split(folder, images):
    """Logits `(rows, classes)` and class ids `(rows,)` of the validation rows, by the saved model."""
    names = read_json(folder / "split.json")["validation"]
    model = AutoModelForImageClassification.from_pretrained(folder)
    processor = AutoProcessor.from_pretrained(folder)
    inputs = processor(images=[Image.open(images / name) for name in names], return_tensors="pt")
    with torch.no_grad():
        logits = model(**inputs).logits.double().numpy()
    return logits, np.array([model.config.label2id[Path(name).parent.name] for name in names])


def test_results_are_those_of_the_saved_model_on_the_rows_of_the_split(launched, images_dir):
    results = read_json(launched / "all_results.json")
    logits, labels = score_split(launched, images_dir)
    ranks = (logits > logits[np.arange(len(labels)), labels][:, None]).sum(axis=1)  # 0 = highest
    assert results["eval_top1_accuracy"] == pytest.approx((ranks < 1).mean())
    assert results["eval_top5_accuracy"] == pytest.approx((ranks < 5).mean())

    positives = labels[:, None] == np.arange(len(CLASS_NAMES))
    directions = []
    for scores, targets in ((logits, positives), (logits.T, positives.T)):
        rows = targets.any(axis=1)
        probabilities = torch.tensor(scores[rows]).softmax(dim=1).numpy()
        directions.append((jensenshannon(probabilities, targets[rows], axis=1) ** 2).mean())
    assert results["eval_loss"] == pytest.approx(np.mean(directions), abs=1e-5)
    assert results["eval_samples"] == len(labels)


def test_baselines_are_those_of_baselines(launched):
    results, split = (read_json(launched / name) for name in ("all_results.json", "split.json"))
    train, validation = ([Path(name).parent.name for name in split[part]] for part in ("train", "validation"))
    most_frequent = max(CLASS_NAMES, key=train.count)  # the first of equals
    assert results["baseline_majority_class_top1_accuracy"] == validation.count(most_frequent) / len(validation)
    assert results["baseline_five_most_frequent_top5_accuracy"] == 1  # images are of four classes


def test_screen_tells_of_empty_classes_of_each_epoch_and_of_the_result(launched):
    screen = (launched.parent / "screen.txt").read_text()
    assert "Classes of the labels file without images: 'Arms akimbo', 'Pressing lips'" in screen
    assert len(re.findall(r"^epoch +[123]/3 +loss .* top-1 +[\d.]+ %", screen, flags=re.MULTILINE)) == 3
    assert screen.index("epoch") < screen.index("\ntop-1") < screen.index(f"The run is in {launched}")


def test_one_thread_computes_unless_the_user_says_how_many(train, images_dir, monkeypatch, capsys):
    flags = (*TINY, "--train_dir", images_dir, "--num_train_epochs", 1)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        train(*flags)
        assert "; 1 CPU thread (OMP_NUM_THREADS changes it)" in capsys.readouterr().out
        torch.set_num_threads(2)
        monkeypatch.setenv("OMP_NUM_THREADS", "2")
        train(*flags, "--overwrite")
        assert "; 2 CPU threads (" in capsys.readouterr().out
    finally:
        torch.set_num_threads(before)


def test_model_of_a_run_is_its_best_checkpoint(launched):
    state = read_json(launched / "trainer_state.json")
    scores = {
        log["step"]: (log["eval_top1_accuracy"], -log["eval_loss"])
        for log in state["log_history"]
        if "eval_loss" in log
    }
    best = max(scores, key=scores.get)
    assert read_weights(launched) == read_weights(launched / f"checkpoint-{best}")


def test_checkpoints_open_like_the_final_folder(launched, images_dir):
    checkpoints = list(launched.glob("checkpoint-*"))
    assert checkpoints
    for checkpoint in checkpoints:
        assert (checkpoint / "modeling_mg_vtc.py").is_file()
        processor = AutoProcessor.from_pretrained(checkpoint)
        classifier = AutoModelForImageClassification.from_pretrained(checkpoint).eval()
        zero_shot = AutoModelForZeroShotImageClassification.from_pretrained(checkpoint).eval()
        image = Image.open(next(images_dir.rglob("*.png")))
        inputs = processor(images=image, text=classifier.config.class_prompts, padding=True, return_tensors="pt")
        with torch.no_grad():
            logits = classifier(inputs["pixel_values"]).logits
            torch.testing.assert_close(logits, zero_shot(**inputs).logits_per_image)


def test_recipe_of_a_run_repeats_it_bit_for_bit(launched, tmp_path):
    finish(start(launched / "recipe.yaml", "--output_dir", tmp_path / "again"))
    assert read_weights(tmp_path / "again") == read_weights(launched)


def test_processes_that_torchrun_starts_without_gpus_are_one_run(images_dir, tmp_path):
    flags = (*TINY, "--train_dir", images_dir, "--num_train_epochs", 1, "--per_device_train_batch_size", 2)
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
    screen = finish(start(*flags, "--output_dir", tmp_path / "run", launcher=launcher))
    assert screen.count("images to train on") == screen.count("2 images a batch on each of 2 processes") == 1
    assert read_json(tmp_path / "run" / "trainer_state.json")["global_step"] == 6


# Kill and resume

STEPS = ("--eval_strategy", "steps", "--save_strategy", "steps", "--eval_steps", "10", "--save_steps", "10")
ACCUMULATED = ("--per_device_train_batch_size", "2", "--gradient_accumulation_steps", "2")
AUGMENTED = ("--augmentation", "1", "--horizontal_flip", "true")


@pytest.mark.parametrize(
    ("schedule", "first_checkpoint"),
    [((), 6), ((*STEPS, *ACCUMULATED, *AUGMENTED), 10)],
    ids=["between_epochs", "in_mid_epoch"],
)
def test_killed_and_resumed_run_ends_bit_for_bit_like_one_that_was_not_killed(
    schedule, first_checkpoint, images_dir, tmp_path
):
    flags = (*TINY, "--train_dir", images_dir, "--num_train_epochs", "14", *schedule)
    flags += ("--load_best_model_at_end", "false")  # the weights compared are those of the last step
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    processes = start(*flags, "--output_dir", whole), start(*flags, "--output_dir", killed)
    kill_after(processes[1], killed / f"checkpoint-{first_checkpoint}")
    finish(processes[0])
    assert not (killed / "all_results.json").exists()
    last = max(int(path.name.removeprefix("checkpoint-")) for path in filter(is_complete, killed.iterdir()))
    assert last < 84  # 14 epochs of 6 steps
    assert (last % 6 == 0) == (first_checkpoint == 6)

    torn = killed / f"checkpoint-{last + first_checkpoint}"
    torn.mkdir(exist_ok=True)
    (torn / "model.safetensors").write_bytes(b"half of the wei")
    screen = finish(start(*flags, "--output_dir", killed, "--resume_from_checkpoint", "true"))
    assert float(re.search(r"^epoch +([\d.]+)/14", screen, flags=re.MULTILINE)[1]) > last / 6
    assert read_weights(killed) == read_weights(whole)
    assert (killed / "results.csv").read_bytes() == (whole / "results.csv").read_bytes()
    for key in ("eval_loss", "eval_top1_accuracy", "eval_top5_accuracy"):
        assert read_json(killed / "all_results.json")[key] == read_json(whole / "all_results.json")[key]


@pytest.mark.parametrize("tower", [TINY_RESNET, TINY_VIT], ids=["resnet", "vit"])
def test_resumed_run_goes_on_from_the_named_checkpoint(tower, train, images_dir, tmp_path):
    flags = (*TINY, "--vision_config", json.dumps(tower), "--train_dir", images_dir, "--save_total_limit", 3)
    folder = train(*flags)
    expected = {name: read_weights(folder / name) for name in ("checkpoint-12", "checkpoint-18")}
    for name in expected:
        shutil.rmtree(folder / name)
    train(*flags, "--resume_from_checkpoint", folder / "checkpoint-6")
    assert {name: read_weights(folder / name) for name in expected} == expected


def test_moved_run_ends_with_its_best_checkpoint(train, images_dir, tmp_path):
    flags = (*TINY, "--train_dir", images_dir, "--save_total_limit", 3)
    train(*flags)
    moved = (tmp_path / "run").rename(tmp_path / "moved")
    state_file = moved / "checkpoint-18" / "trainer_state.json"
    state = read_json(state_file) | {
        "best_global_step": 6,
        "best_model_checkpoint": str(tmp_path / "run/checkpoint-6"),
    }
    state_file.write_text(json.dumps(state))
    (state_file.parent / "manifest.json").unlink()  # the state was changed on purpose
    train(*flags, "--resume_from_checkpoint", "true", output_dir=moved)
    assert read_weights(moved) == read_weights(moved / "checkpoint-6") != read_weights(moved / "checkpoint-18")
    assert read_json(moved / "all_results.json")["best_step"] == 6
    shutil.rmtree(moved / "checkpoint-6")
    before = read_folder(moved)
    with pytest.raises(SystemExit, match="checkpoint-6, is not beside"):
        train(*flags, "--resume_from_checkpoint", "true", output_dir=moved)
    assert read_folder(moved) == before


def test_early_stopping_of_a_resumed_run_stops_where_it_would_have_stopped(train, images_dir, tmp_path):
    flags = (*TINY, "--train_dir", images_dir, "--num_train_epochs", 30, "--early_stopping_patience", 2)
    flags = (*flags, "--save_total_limit", 99)
    whole = train(*flags)
    last = max(int(path.name.removeprefix("checkpoint-")) for path in whole.glob("checkpoint-*"))
    assert last < 30 * 6
    weights, result = read_weights(whole), read_json(whole / "trainer_state.json")["global_step"]
    for end in (last, last - 6):  # it had stopped; it had one evaluation to go
        (whole / "all_results.json").unlink()
        shutil.rmtree(whole / f"checkpoint-{last}") if end < last else None
        train(*flags, "--resume_from_checkpoint", "true")
        assert read_json(whole / "trainer_state.json")["global_step"] == result
        assert read_weights(whole) == weights


def test_extended_run_goes_on_from_its_end_and_says_so(train, images_dir, capsys):
    flags = (*TINY, "--train_dir", images_dir)
    folder = train(*flags, "--num_train_epochs", 2)
    assert (folder / "checkpoint-12").is_dir()
    with pytest.warns(UserWarning, match="num_train_epochs 2 and extended to 3"):
        train(*flags, "--num_train_epochs", 3, "--resume_from_checkpoint", "true")
    assert "checkpoint-12, after step 12 (epoch 2)" in capsys.readouterr().out
    assert "Begun with num_train_epochs 2 and extended to 3" in (folder / "README.md").read_text()
    assert "repeats the run" not in (folder / "README.md").read_text()


def test_resuming_a_checkpoint_of_weights_alone_is_refused(train, refusal, images_dir):
    flags = (*TINY, "--train_dir", images_dir, "--num_train_epochs", 1, "--save_only_model", "true")
    train(*flags)
    assert "lacks optimizer.pt, scheduler.pt" in refusal(*flags, "--resume_from_checkpoint", "true")


def test_resuming_with_other_settings_is_refused_and_nothing_is_written(train, refusal, images_dir):
    flags = (*TINY, "--train_dir", images_dir, "--num_train_epochs", 1)
    before = read_folder(train(*flags))
    message = refusal(*flags, "--loss_type", "ce", "--num_train_epochs", 2, "--resume_from_checkpoint", "true")
    assert "The run began with loss_type 'js', now it is 'ce'" in message
    assert read_folder(train.folder) == before


@pytest.mark.filterwarnings("ignore:.*training images")  # the splits are copies of each other
def test_test_split_is_scored_once_at_the_end(train, images, tmp_path):
    (tmp_path / "set").mkdir()
    images.rename(tmp_path / "set" / "train")
    shutil.copytree(tmp_path / "set" / "train", tmp_path / "set" / "test")
    folder = train(*TINY, "--train_dir", tmp_path / "set", "--num_train_epochs", 1)
    results = json.loads((folder / "all_results.json").read_text())
    assert results["test_samples"] == 32
    assert 0 <= results["test_top1_accuracy"] <= results["test_top5_accuracy"]
    assert len(json.loads((folder / "split.json").read_text())["test"]) == 32


def test_folder_with_nothing_to_train_on_is_refused(refusal, images, tmp_path):
    (tmp_path / "set").mkdir()
    images.rename(tmp_path / "set" / "validation")
    assert "There is no training split" in refusal(*TINY, "--train_dir", tmp_path / "set")


@pytest.mark.filterwarnings("ignore:.*training images")  # the splits are copies of each other
def test_class_that_no_training_image_shows_is_named(train, images, tmp_path):
    shutil.copytree(images, tmp_path / "validation")
    shutil.rmtree(images / CLASS_NAMES[2])
    with pytest.warns(UserWarning, match=f"without a training image: {CLASS_NAMES[2]}"):
        train(*TINY, "--train_dir", images, "--validation_dir", tmp_path / "validation", "--num_train_epochs", 1)


def test_tower_that_takes_no_such_image_is_refused_before_an_earlier_run_is_replaced(train, refusal, images_dir):
    flags = (*TINY, "--train_dir", images_dir, "--num_train_epochs", 1)
    before = read_folder(train(*flags))
    vit = json.dumps(TINY_VIT | {"image_size": 64})
    assert "doesn't match" in refusal(*flags, "--vision_config", vit, "--overwrite")
    assert read_folder(train.folder) == before


def test_frozen_tower_of_random_weights_is_warned_of(train, images_dir):
    with pytest.warns(UserWarning, match="The text tower is frozen and has random weights"):
        train(*TINY, "--train_dir", images_dir, "--num_train_epochs", 1, "--freeze_text_model")


def test_run_normalises_as_its_pretrained_vision_tower_does(train, images_dir, tmp_path):
    mean, std = [0.48, 0.46, 0.41], [0.27, 0.26, 0.28]
    AutoModel.from_config(AutoConfig.for_model(**TINY_RESNET)).save_pretrained(tmp_path / "tower")
    ViTImageProcessorPil(image_mean=mean, image_std=std).save_pretrained(tmp_path / "tower")
    tower = ("--vision_model_name_or_path", tmp_path / "tower")
    folder = train(*TEXT_TOWER, *TRAINING, *tower, "--train_dir", images_dir, "--num_train_epochs", 1)
    processor = AutoProcessor.from_pretrained(folder).image_processor
    assert (list(processor.image_mean), list(processor.image_std)) == (mean, std)


def test_towers_in_half_precision_train(train, images_dir, tmp_path):
    AutoModel.from_config(AutoConfig.for_model(**TINY_RESNET)).half().save_pretrained(tmp_path / "tower")
    flags = (*TINY[2:], "--vision_model_name_or_path", tmp_path / "tower", "--train_dir", images_dir)
    folder = train(*flags, "--num_train_epochs", 1)
    assert str(tmp_path / "tower") not in (folder / "config.json").read_text()


def test_nothing_pickled_and_no_token_is_written(train, refusal, images_dir):
    flags = (*TINY, "--train_dir", images_dir, "--num_train_epochs", 1)
    words = refusal(*flags, "--hub_token", "hf_SECRET")
    assert "HF_TOKEN" in words
    assert "hf_SECRET" not in words
    assert not train.folder.exists()
    assert not list(train(*flags).rglob("training_args.bin"))


def test_push_that_is_refused_is_reported_before_the_training(refusal, train, hub_client, images_dir):
    flags = (*TINY, "--train_dir", images_dir, "--push_to_hub", "--hub_model_id")
    assert "may not write to other/model" in refusal(*flags, "other/model")
    assert "is not a repository name" in refusal(*flags, "org/my model")
    assert not train.folder.exists()


def test_push_that_breaks_off_leaves_the_run_and_says_how_to_go_on(refusal, train, hub_client, images_dir):
    hub_client.break_off = "commit"
    flags = (*TINY, "--train_dir", images_dir, "--num_train_epochs", 1)
    words = refusal(*flags, "--push_to_hub", "--hub_model_id", "org/model")
    assert words.endswith(f"To retry, run: mg-vtc push {train.folder} org/model")
    assert hub_client.files("org/model").keys() == {".gitattributes"}
    assert (train.folder / "README.md").exists()


@pytest.mark.parametrize("state", ["", '{"best_global_step": 7,'], ids=["empty", "torn"])
def test_checkpoint_whose_last_file_was_torn_is_passed_over(state, train, images_dir):
    flags = (*TINY, "--train_dir", images_dir, "--num_train_epochs", 2)
    weights = read_weights(folder := train(*flags))
    torn = shutil.copytree(next(folder.glob("checkpoint-*")), folder / "checkpoint-99")
    (torn / "trainer_state.json").write_text(state)
    with pytest.warns(UserWarning, match=r"checkpoint-99/trainer_state\.json is .*checkpoint-12 instead"):
        train(*flags, "--resume_from_checkpoint", "true")
    assert read_weights(folder) == weights


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth"])
def test_damaged_checkpoint_is_passed_over_and_the_weights_are_those_of_a_whole_run(name, train, images_dir):
    flags = (*TINY, "--train_dir", images_dir, "--save_total_limit", 3)
    weights = read_weights(folder := train(*flags))
    content = bytearray((folder / "checkpoint-18" / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "checkpoint-18" / name).write_bytes(content)
    with pytest.warns(UserWarning, match=rf"checkpoint-18/{re.escape(name)} is damaged.*checkpoint-12 instead"):
        train(*flags, "--resume_from_checkpoint", "true")
    assert read_weights(folder) == weights
    assert find_damage(folder / "checkpoint-18") == []


def test_changed_file_of_a_finished_run_is_named_by_each_command(train, images_dir, tmp_path, mg_vtc_command):
    folder = train(*TINY, "--train_dir", images_dir, "--num_train_epochs", 1)
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(config.replace("Head up", "Head in"))
    commands = (
        ("evaluate", folder, images_dir),
        ("predict", folder, images_dir, "--output", tmp_path / "predictions.csv"),
        ("export", folder, "--format", "classifier", "--output_dir", tmp_path / "classifier"),
    )
    for command in commands:
        with pytest.raises(SystemExit, match=r"config\.json is damaged.* delete .*manifest\.json"):
            mg_vtc_command(*command)
    with pytest.raises(ValueError, match=r"config\.json is damaged"):
        write_upload(folder, tmp_path / "upload")
    (folder / "config.json").write_text(config)
    assert "manifest.json" in write_upload(folder, tmp_path / "upload")
    assert find_damage(tmp_path / "upload") == []


def test_resuming_with_other_images_is_refused(train, refusal, images):
    flags = (*TINY, "--train_dir", images, "--num_train_epochs", 1)
    before = read_folder(train(*flags))
    (images / "Head up" / "0000.0.png").rename(images / "Head up" / "9999.0.png")
    assert "The rows differ from those in" in refusal(*flags, "--resume_from_checkpoint", "true")
    assert before == read_folder(images.parent / "run")


def test_resuming_where_nothing_was_saved_is_refused(refusal, images_dir):
    message = refusal(*TINY, "--train_dir", images_dir, "--resume_from_checkpoint", "true")
    assert "There is no complete checkpoint in" in message


# Splits


@pytest.mark.parametrize(
    ("flags", "kind", "words"),
    [
        ((), "clip", "held out by clip: no clip is on both sides"),
        (
            ("--split_by", "frame"),
            "frame",
            "frame-level split: images held out at random, frames of one clip are on both sides",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:.*training images")  # of the split of frames
def test_what_was_held_out_stands_beside_the_score_and_in_the_card(flags, kind, words, train, images_dir, capsys):
    folder = train(*TINY, "--train_dir", images_dir, "--num_train_epochs", 1, *flags)
    assert read_json(folder / "split.json")["split_by"] == kind
    assert words in capsys.readouterr().out
    assert words in (folder / "README.md").read_text()


def test_no_clip_is_on_both_sides_unless_asked(train, images_dir):
    split = read_json(train(*TINY, "--train_dir", images_dir, "--num_train_epochs", 1) / "split.json")
    clips = [{name.rsplit(".", 2)[0] for name in split[part]} for part in ("train", "validation")]
    assert not clips[0] & clips[1]


def test_split_by_what_is_not_known_is_refused_with_the_way_out(refusal, images_dir):
    message = refusal(*TINY, "--train_dir", images_dir, "--split_by", "subject")
    assert "To split by subject" in message
    assert "file_name,subject" in message


def test_cross_validation_is_the_runs_of_its_folds_and_goes_on_where_it_was(train, images_dir, tmp_path, capsys):
    flags = (*TINY, "--train_dir", images_dir, "--num_folds", 2, "--num_train_epochs", 1)
    folder = train(*flags)
    alone = train(*flags, "--fold", 1, output_dir=tmp_path / "alone")
    assert read_weights(folder / "fold-1") == read_weights(alone)
    validated = [name for fold in (0, 1) for name in read_json(folder / f"fold-{fold}" / "split.json")["validation"]]
    assert sorted(validated) == sorted(path.relative_to(images_dir).as_posix() for path in images_dir.rglob("*.png"))

    before = read_json(folder / "cross_validation.json")
    scores = [read_json(folder / f"fold-{fold}" / "all_results.json")["eval_top1_accuracy"] for fold in (0, 1)]
    assert before["eval_top1_accuracy"]["folds"] == scores
    shutil.rmtree(folder / "fold-1")
    (folder / "cross_validation.json").unlink()
    capsys.readouterr()
    train(*flags, "--resume_from_checkpoint", "true")
    assert read_json(folder / "cross_validation.json") == before
    assert "fold 0" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--num_folds", 40, "--split_by", "clip"), "Fold .* of 40 cannot be trained: No clip"),
        (("--num_folds", 2, "--per_device_train_batch_size", 3), "Fold 0 of 2 .* leave a single image"),
    ],
)
def test_cross_validation_of_which_a_fold_cannot_be_trained_is_refused_before_the_first(
    flags, words, refusal, images_dir, tmp_path
):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes that a fold lacks
        assert re.search(words, refusal(*TINY, "--train_dir", images_dir, *flags))
    assert not (tmp_path / "run").exists()


def test_all_images_are_trained_on_if_none_shall_be_held_out(train, refusal, images_dir, mg_vtc_command, capsys):
    flags = (*TINY, "--train_dir", images_dir, "--num_train_epochs", 2, "--train_val_split", 0)
    folder = train(*flags)
    screen = capsys.readouterr().out
    assert "32 images to train on, none to validate" in screen
    assert len(re.findall(r"^epoch +[12]/2  loss [\d.]+  saturated", screen, flags=re.MULTILINE)) == 2
    assert (
        "no images were held out: all were used for training, so there is no score; the last weights were kept"
        in screen
    )
    assert read_weights(folder) == read_weights(folder / "checkpoint-16")
    split = read_json(folder / "split.json")
    assert (split["split_by"], len(split["train"]), "validation" in split) == ("none", 32, False)
    assert "no images were held out" in (folder / "README.md").read_text()
    mg_vtc_command("predict", folder, images_dir, "--top_k", 1)
    with pytest.raises(SystemExit, match="was trained on 32 of these 32 images"):
        mg_vtc_command("evaluate", folder, images_dir)
    assert "holds out no images, which early_stopping_patience needs" in refusal(
        *flags, "--early_stopping_patience", 2, "--overwrite"
    )


def test_seeds_are_trained_one_after_another_on_one_split_if_asked(train, images_dir, capsys):
    flags = (*TINY, "--train_dir", images_dir, "--num_train_epochs", 1, "--num_seeds", 2, "--split_seed", 7)
    folder = train(*flags)
    splits = [read_json(folder / f"seed-{seed}" / "split.json") for seed in (0, 1)]
    assert splits[0] == splits[1]
    assert splits[0]["seed"] == 7
    assert read_weights(folder / "seed-0") != read_weights(folder / "seed-1")
    assert "mean of 2 seeds ± standard deviation" in capsys.readouterr().out
    assert read_json(folder / "seeds.json")["split"] == "fixed"


def test_run_ends_with_commands_that_work(train, images_dir, mg_vtc_command, capsys):
    folder = train(*TINY, "--train_dir", images_dir, "--num_train_epochs", 1)
    lines = [line.strip() for line in capsys.readouterr().out.splitlines() if "/mg-vtc " in line]
    verbs = {words[1]: words[2:] for words in map(shlex.split, lines)}
    assert list(verbs) == ["evaluate", "predict", "app"]
    assert verbs["evaluate"] == [str(folder), str(images_dir)]
    assert Path(verbs["predict"][1]).is_file()
    mg_vtc_command("evaluate", *verbs["evaluate"])
    mg_vtc_command("predict", *verbs["predict"])
    assert "prediction                score" in capsys.readouterr().out


def test_commands_of_a_run_work_where_labels_are_in_a_file_of_their_own(train, images, mg_vtc_command, capsys):
    names = sorted(path.name for path in images.iterdir())
    for number, name in enumerate(names):
        (images / name).rename(images / str(number))
    (images.parent / "names.csv").write_text("id,name\n" + "".join(f"{n},{name}\n" for n, name in enumerate(names)))
    folder = train(
        *(*TINY, "--train_dir", images, "--labels_file", images.parent / "names.csv", "--num_train_epochs", 1)
    )
    mg_vtc_command("evaluate", folder, images)
    assert read_json(folder / "report" / "results.json")["conditions"]["split"] == "validation"


def test_cross_validation_that_is_there_is_not_replaced(train, refusal, images_dir):
    flags = (*TINY, "--train_dir", images_dir, "--num_folds", 2, "--num_train_epochs", 1)
    before = read_folder(train(*flags))
    assert "holds a finished run" in refusal(*flags)
    assert read_folder(train.folder) == before


@pytest.fixture
def own_split(images_dir, tmp_path):
    """Folders of training and validation images as a user makes them, of different clips."""
    for part, clips in (("train", "012"), ("validation", "3")):
        for path in images_dir.rglob("*.png"):
            if path.name[3] in clips:
                target = tmp_path / "own" / part / path.relative_to(images_dir)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
    return tmp_path / "own"


def test_images_that_bring_their_validation_split_are_not_split_again(train, refusal, own_split):
    flags = (*TINY, "--train_dir", own_split, "--num_train_epochs", 1)
    assert "bring their own validation split" in refusal(*flags, "--num_folds", 2)
    parts = ("--train_dir", own_split / "train", "--validation_dir", own_split / "validation", "--num_train_epochs", 1)
    for given in (flags, (*TINY, *parts)):
        with pytest.warns(UserWarning, match="`split_by` 'frame' does not divide these images"):
            folder = train(*given, "--split_by", "frame", "--overwrite")  # as the recipes of the method do
        assert read_json(folder / "split.json")["split_by"] == "given"


def plant_clip(folder):
    (folder / "validation/Head up/0003.0.png").rename(folder / "validation/Head up/0002.7.png")


def plant_bytes(folder):
    shutil.copyfile(folder / "train/Head up/0001.0.png", folder / "validation/Head up/0009.0.png")


def plant_near_duplicate(folder):
    with Image.open(folder / "train/Head up/0001.0.png") as image:
        image.convert("RGB").point(lambda value: value * 1.03).save(folder / "validation/Head up/0009.0.png")


@pytest.mark.parametrize(
    ("plant", "kind", "words"),
    [
        (plant_clip, "same_clip", "1 validation images are from the same clips as training images"),
        (plant_bytes, "same_bytes", "1 validation images are byte-identical to training images"),
        (plant_near_duplicate, "near_duplicate", "1 validation images are near duplicates of training images"),
    ],
)
def test_planted_leak_in_a_users_own_split_is_reported_and_recorded(plant, kind, words, train, own_split, capsys):
    plant(own_split)
    with pytest.warns(UserWarning, match=words):
        folder = train(*TINY, "--train_dir", own_split, "--num_train_epochs", 1)
    assert f"of these, {words.replace(' validation images', '')}\n" in capsys.readouterr().out  # beside the scores
    leakage = {"same_clip": 0, "same_bytes": 0, "near_duplicate": 0} | {kind: 1}
    assert read_json(folder / "split.json")["leakage"] == {"validation": leakage}


def test_split_without_leakage_is_recorded_as_looked_at(train, own_split):
    split = read_json(train(*TINY, "--train_dir", own_split, "--num_train_epochs", 1) / "split.json")
    assert split["leakage"] == {"validation": {"same_clip": 0, "same_bytes": 0, "near_duplicate": 0}}


def test_split_of_frames_tells_of_the_clips_on_both_sides(train, images_dir):
    with pytest.warns(UserWarning, match="from the same clips as training images"):
        train(*TINY, "--train_dir", images_dir, "--num_train_epochs", 1, "--split_by", "frame")


# Objectives, towers, settings


@pytest.mark.parametrize("loss_type", TRAINING_LOSS_TYPES)
def test_every_objective_learns_the_colours(loss_type, train, images_dir):
    folder = train(*TINY, "--train_dir", images_dir, "--loss_type", loss_type, "--num_train_epochs", 40)
    results = read_json(folder / "all_results.json")
    assert results["eval_top1_accuracy"] > 2 * results["baseline_majority_class_top1_accuracy"]
    assert math.isfinite(results["eval_loss"])


@pytest.mark.parametrize(("tower", "size"), [(TINY_ALEXNET, 64), (TINY_RESNET, 32)], ids=["alexnet", "resnet"])
def test_vision_only_model_trains_and_opens(tower, size, train, images_dir):
    towers = ("--vision_config", json.dumps(tower), "--vision_only", "--loss_type", "ce", "--image_size", size)
    folder = train(*TRAINING, *towers, "--train_dir", images_dir)
    logits, labels = score_split(folder, images_dir)
    assert read_json(folder / "all_results.json")["eval_top1_accuracy"] == (logits.argmax(1) == labels).mean()


def test_model_is_the_best_checkpoint_whatever_the_tower(train, images_dir):
    folder = train(*TINY, "--vision_config", json.dumps(TINY_VIT), "--train_dir", images_dir)
    best = read_json(folder / "trainer_state.json")["best_model_checkpoint"]
    assert read_weights(folder) == read_weights(Path(best))


def test_flags_override_the_file(train, images_dir, tmp_path):
    recipe = {"vision_config": TINY_RESNET, "text_config": TINY_DISTILBERT, "num_train_epochs": 5, "image_size": 32}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe | {"loss_type": "kl", "projection_dim": 12}))
    flags = ("--train_dir", images_dir, "--num_train_epochs", 1, "--loss_type", "ce")
    merged = yaml.safe_load((train(tmp_path / "recipe.yaml", *flags) / "recipe.yaml").read_text())
    assert (merged["num_train_epochs"], merged["loss_type"], merged["projection_dim"]) == (1, "ce", 12)
    assert read_json(tmp_path / "run" / "trainer_state.json")["epoch"] == 1


def test_early_stopping_stops_when_patience_ends(train, images_dir):
    patience = ("--early_stopping_patience", 2, "--num_train_epochs", 30)
    state = read_json(train(*TINY, "--train_dir", images_dir, *patience) / "trainer_state.json")
    scores = [log["eval_top1_accuracy"] for log in state["log_history"] if "eval_top1_accuracy" in log]
    assert scores.index(max(scores)) == len(scores) - 3
    assert state["global_step"] == len(scores) * 6 < 30 * 6


def test_tensorboard_gets_the_scores(train, images_dir):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    flags = (*TINY, "--train_dir", images_dir, "--num_train_epochs", 2, "--report_to", "tensorboard")
    (log,) = {path.parent for path in train(*flags).rglob("events.out.tfevents.*")}
    events = EventAccumulator(str(log)).Reload()
    assert [event.step for event in events.Scalars("eval/top1_accuracy")][:2] == [6, 12]


# What is refused, and with which words


def test_refusal_is_all_that_the_screen_shows_and_the_exit_code_is_1(tmp_path):
    process = start(*TINY, "--train_dir", tmp_path / "nowhere", "--output_dir", tmp_path / "run")
    screen, _ = process.communicate(timeout=300)
    assert (process.returncode, screen) == (1, f"train.py: There is no folder {tmp_path / 'nowhere'}.\n")
    assert not (tmp_path / "run").exists()


def test_empty_folder_is_refused(refusal, tmp_path):
    (tmp_path / "images").mkdir()
    assert "images is empty: put the images of each class into a folder" in refusal(
        *TINY, "--train_dir", tmp_path / "images"
    )


def test_single_class_is_refused(refusal, images):
    for folder in CLASS_NAMES[1:4]:
        shutil.rmtree(images / folder)
    assert "At least two classes are needed, not 1: ['Covering face']" in refusal(*TINY, "--train_dir", images)


@pytest.fixture
def bad_images(images):
    """Three files that are no images among 32 that are."""
    whole = (images / "Head up" / "0000.0.png").read_bytes()
    for name, content in {"note.txt": b"hello", "torn.png": whole[: len(whole) // 2], "empty.jpg": b""}.items():
        (images / "Head up" / name).write_bytes(content)
    return images


def test_files_that_are_not_images_are_refused_and_listed(refusal, bad_images):
    message = refusal(*TINY, "--train_dir", bad_images)
    assert "3 of 35 files are not readable images" in message
    assert all(f"{bad_images}/Head up/{name}: " in message for name in ("note.txt", "torn.png", "empty.jpg"))
    assert "--skip_corrupt_images" in message


def test_files_that_are_not_images_are_counted_and_left_out_if_told(train, bad_images, capsys):
    with pytest.warns(UserWarning, match="3 of 35 files are not readable images and are skipped"):
        folder = train(*TINY, "--train_dir", bad_images, "--skip_corrupt_images", "--num_train_epochs", 1)
    split = read_json(folder / "split.json")
    assert len(split["train"] + split["validation"]) == 32
    assert not {"Head up/note.txt", "Head up/torn.png", "Head up/empty.jpg"} & {*split["train"], *split["validation"]}
    assert split["num_left_out"] == 2
    assert "2 image files were left out; the first lines of the run name them" in capsys.readouterr().out


def test_labels_file_of_other_ids_is_refused(refusal, images_dir, tmp_path):
    (tmp_path / "names.csv").write_text("id,name\n1,Head up\n2,Arms akimbo\n")
    message = refusal(*TINY, "--train_dir", images_dir, "--labels_file", tmp_path / "names.csv")
    assert "'Covering face', 'Folding arms', 'Head up', 'Rubbing eyes'; ids in the file: '1', '2'" in message


def test_class_of_one_image_goes_to_training_with_a_warning(train, images):
    for image in sorted((images / "Head up").iterdir())[1:]:
        image.unlink()
    with pytest.warns(UserWarning, match="in training only: 'Head up'"):
        folder = train(*TINY, "--train_dir", images, "--num_train_epochs", 1)
    assert "Head up/0000.0.png" in read_json(folder / "split.json")["train"]


def test_folder_of_a_finished_run_is_refused_and_stays_as_it_is(refusal, launched, images_dir):
    before = read_folder(launched)
    message = refusal(*TINY, "--train_dir", images_dir, output_dir=launched)
    assert f"{launched} holds a finished run" in message
    assert "--overwrite" in message
    assert read_folder(launched) == before


def test_run_that_cannot_begin_overwrites_nothing(refusal, launched, images_dir, tmp_path):
    folder = shutil.copytree(launched, tmp_path / "run")
    before = read_folder(folder)
    towers = ("--vision_config", json.dumps(TINY_RESNET), "--vision_only", "--loss_type", "ce_identity")
    message = refusal(*TRAINING, *towers, "--train_dir", images_dir, "--overwrite")
    assert "'ce_identity' needs texts" in message
    assert read_folder(folder) == before


def test_overwriting_leaves_nothing_of_the_earlier_run(train, launched, images_dir, tmp_path):
    shutil.copytree(launched, tmp_path / "run")
    towers = ("--vision_config", json.dumps(TINY_RESNET), "--vision_only", "--loss_type", "ce")
    folder = train(*TRAINING, *towers, "--train_dir", images_dir, "--overwrite")
    names = {path.name for path in folder.iterdir()}
    assert not names & {"processor_config.json", "tokenizer.json", "tokenizer_config.json"}
    assert type(AutoProcessor.from_pretrained(folder)).__name__ == "ViTImageProcessorPil"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--loss_type", "jss"), ["loss_type 'jss'", "js, kl, ce, ce_identity, ce_soft", "Did you mean 'js'?"]),
        (("--lerning_rate", "1"), ["unknown argument '--lerning_rate'", "learning_rate'?"]),
        (
            ("--per_device_train_batch_size", "1"),
            ["batches of 1 leave a single image", "per_device_train_batch_size", "'classes'"],
        ),
        (("--report_to", "comet_ml"), ["pip install comet_ml"]),
    ],
    ids=["unknown_objective", "unknown_flag", "batch_of_one", "reporter_that_is_not_installed"],
)
def test_settings_that_cannot_be_are_refused(flags, words, refusal, images_dir):
    message = refusal(*TINY, "--train_dir", images_dir, *flags)
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"loss_typ": "js"}, "unknown key 'loss_typ'. Did you mean 'loss_type'?"),
        ({"random_shift": 2.5}, "random_shift"),
        ({"learning_rate": "fast"}, "learning_rate"),
        ({"vision_config": TINY_RESNET | {"hiden_sizes": [8]}}, "hiden_sizes"),
    ],
    ids=["unknown_key", "half_a_pixel", "no_number", "unknown_key_of_a_tower"],
)
def test_recipe_with_a_wrong_line_is_refused(wrong, words, refusal, images_dir, tmp_path):
    recipe = {"vision_config": TINY_RESNET, "text_config": TINY_DISTILBERT, "image_size": 32, "num_train_epochs": 1}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe | wrong))
    assert words in refusal(tmp_path / "recipe.yaml", "--train_dir", images_dir)


@pytest.mark.parametrize("part", ["vision", "text"])
def test_tower_that_cannot_be_reached_is_refused_with_the_flag_that_takes_a_folder(part, refusal, images_dir):
    towers = ("--vision_config", json.dumps(TINY_RESNET)) if part == "text" else TEXT_TOWER
    message = refusal(*TRAINING, *towers, f"--{part}_model_name_or_path", "some/tower", "--train_dir", images_dir)
    assert "'some/tower' cannot be loaded" in message
    assert f"--{part}_model_name_or_path takes a local folder" in message


def test_loss_that_is_not_finite_stops_the_run_and_names_the_batch(refusal, images_dir, tmp_path):
    message = refusal(*TINY, "--train_dir", images_dir, "--learning_rate", "1e30")
    rows = json.loads(re.search(r"training rows (\[.*?\])", message)[1])
    assert 1 <= len(rows) <= 4
    assert max(rows) < len(read_json(tmp_path / "run" / "split.json")["train"])
    assert not (tmp_path / "run" / "all_results.json").exists()


def test_last_checkpoint_before_a_loss_that_is_not_finite_is_kept(images_dir, tmp_path):
    flags = (*TINY, "--train_dir", str(images_dir), "--output_dir", str(tmp_path))
    trainer, _ = build_trainer(parse_recipe(list(flags)))
    collate = trainer.data_collator

    def collate_and_spoil(rows):
        batch = collate(rows)
        if trainer.state.global_step >= 6:  # after the first epoch
            batch["pixel_values"] = batch["pixel_values"].float()
            batch["pixel_values"][batch["index"] == 5] = math.nan
        return batch

    trainer.data_collator = collate_and_spoil
    with pytest.raises(FloatingPointError, match=r"training rows \[(.*, )?5(, .*)?\]"):
        run_to_the_end(trainer, {})
    AutoModelForZeroShotImageClassification.from_pretrained(tmp_path / "checkpoint-6")
    weights = load_file(tmp_path / "checkpoint-6" / "model.safetensors")
    assert all(tensor.isfinite().all() for tensor in weights.values())

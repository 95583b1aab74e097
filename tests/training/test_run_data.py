"""The images of a run: the same whether they are decoded once or each time, or a stream of shards."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
from conftest import TINY_DISTILBERT, TINY_RESNET
from datasets import ClassLabel, Dataset, Features, Image
from PIL import Image as ReleaseImage
from safetensors.torch import load_file
from train_command import finish, kill_after, start

from mg_vtc.data.cache import cache_folder
from mg_vtc.data.decoding import Resizing
from mg_vtc.training.recipe import parse_recipe
from mg_vtc.training.run_data import find_descriptions, load_run_data


def load(*flags, said=None):
    recipe = parse_recipe([str(flag) for flag in (*flags, "--output_dir", "unused", "--image_size", 24)])
    return load_run_data(
        recipe.data, recipe.training, Resizing(recipe.data.image_size), say=(said if said is not None else []).append
    )


def assert_equal_rows(first, second):
    assert len(first) == len(second)
    for row, other in zip(first, second, strict=True):
        assert torch.equal(row.pop("pixel_values"), other.pop("pixel_values"))
        assert row == other


@pytest.mark.parametrize(
    "flags", [(), ("--random_shift", 3), ("--augmentation", 1, "--horizontal_flip", "true"), ("--jpeg_draft", "true")]
)
def test_images_decoded_once_are_those_decoded_each_time(images_dir, flags):
    once = load("--train_dir", images_dir, *flags)
    each_time = load("--train_dir", images_dir, *flags, "--cache_images", "false")
    for name in ("train", "validation"):
        rows = [part.splits[name].__getitems__(range(len(part.splits[name]))) for part in (once, each_time)]
        assert_equal_rows(*rows)


def test_training_images_alone_are_augmented_and_their_labels_stay(images_dir):
    flags = ("--augmentation", 1, "--horizontal_flip", "true", "--random_shift", 2)
    plain, augmented = load("--train_dir", images_dir), load("--train_dir", images_dir, *flags)
    assert_equal_rows(plain.splits["validation"], augmented.splits["validation"])
    for row, other in zip(plain.splits["train"], augmented.splits["train"], strict=True):
        assert not torch.equal(row.pop("pixel_values"), other.pop("pixel_values"))
        assert row == other


def test_each_part_has_the_images_of_its_file_names(images_dir):
    data = load("--train_dir", images_dir)
    assert data.split["split_by"] == "clip"  # as the names of the files tell clips
    for name, dataset in data.splits.items():
        for file_name, row in zip(data.split[name], dataset.__getitems__(range(len(dataset))), strict=True):
            folder = file_name.split("/")[0]
            assert data.class_names[row["labels"]] == folder
    assert not set(data.split["train"]) & set(data.split["validation"])


@pytest.mark.filterwarnings("ignore:.*training images")  # the splits are copies of each other
def test_given_splits_have_their_own_images(images_dir, tmp_path):
    for name in ("train", "val", "test"):
        shutil.copytree(images_dir, tmp_path / name)
    folder = next(path for path in (tmp_path / "val").iterdir())
    for path in folder.iterdir():
        ReleaseImage.new("RGB", (8, 8)).save(path)  # black, unlike all others
    with pytest.warns(UserWarning, match="8 of 96 images are of one colour"):
        data = load("--train_dir", tmp_path)
    assert (data.split["split_by"], list(data.splits)) == ("given", ["train", "validation", "test"])
    black = {
        name: sum(not row["pixel_values"].any() for row in dataset.__getitems__(range(len(dataset))))
        for name, dataset in data.splits.items()
    }
    assert black == {"train": 0, "validation": 8, "test": 0}


def test_another_split_of_the_same_images_decodes_nothing(images_dir):
    said = []
    load("--train_dir", images_dir, "--image_size", 20, "--seed", 0, said=said)
    before = sorted(cache_folder().iterdir())
    load("--train_dir", images_dir, "--seed", 1, said=said)
    load("--train_dir", images_dir, "--seed", 2, said=said)
    assert sorted(cache_folder().iterdir()) == before


def test_what_it_costs_is_said_before(images_dir):
    said = []
    recipe = parse_recipe(["--train_dir", str(images_dir), "--output_dir", "unused", "--image_size", "21"])
    for _ in range(2):
        load_run_data(recipe.data, recipe.training, Resizing(recipe.data.image_size), say=said.append)
    assert len(said) == 1
    assert said[0].startswith("decoding 32 images once: 0.0 MB in ")


@pytest.fixture(scope="session")
def shards(images_dir, tmp_path_factory):
    """The images as Parquet shards with the bytes inside: four to train on, one to validate."""
    folder = tmp_path_factory.mktemp("shards")
    names = sorted(path.name for path in images_dir.iterdir())
    rows = [
        {"image": {"bytes": path.read_bytes(), "path": None}, "label": label}
        for label, name in enumerate(names)
        for path in sorted((images_dir / name).iterdir())
    ]
    features = Features(image=Image(), label=ClassLabel(names=names))
    order = np.random.default_rng(0).permutation(len(rows))
    train, validation = order[:24], order[24:]
    for number in range(4):
        part = Dataset.from_list([rows[row] for row in train[number::4]], features=features)
        part.to_parquet(folder / f"train-{number:05d}-of-00004.parquet")
    Dataset.from_list([rows[row] for row in validation], features=features).to_parquet(
        folder / "validation-00000-of-00001.parquet"
    )
    return folder


NO_BEST = ("--load_best_model_at_end", "false")
STREAMING = (
    *("--streaming", "--max_steps", "6", "--shuffle_buffer_size", "10", "--image_size", "32", "--augmentation", "1"),
    *("--vision_config", json.dumps(TINY_RESNET), "--text_config", json.dumps(TINY_DISTILBERT)),
    *("--eval_strategy", "steps", "--eval_steps", "3", "--save_strategy", "steps", "--save_steps", "3"),
    *("--save_total_limit", "2"),  # the last one, too, where it is not the best
    *("--logging_strategy", "steps", "--logging_steps", "3", "--per_device_train_batch_size", "8", "--use_cpu"),
)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "no known length: set max_steps"),
        (("--max_steps", "4", "--dataset_name", "demo"), "streaming reads shards"),
        (("--max_steps", "4", "--clip_column_name", "video"), "a stream brings its own splits: leave them out"),
        (("--max_steps", "4", "--dataset_name", "nowhere/nothing"), "There is no data set 'nowhere/nothing'"),
    ],
)
def test_stream_that_cannot_be_read_is_refused(shards, flags, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        load("--dataset_name", shards, "--streaming", "--save_strategy", "steps", "--eval_strategy", "steps", *flags)


def test_stream_without_validation_split_is_refused(shards, tmp_path):
    shutil.copy(next(shards.glob("train*")), tmp_path / "train-00000-of-00001.parquet")
    with pytest.raises(ValueError, match="has no validation split, only train"):
        load("--dataset_name", tmp_path, "--streaming", "--max_steps", 4)


def test_split_of_a_stream_without_labels_is_left_out(shards, tmp_path):
    folder = shutil.copytree(shards, tmp_path / "shards")
    names = sorted(path.name for path in folder.iterdir())
    hidden = Dataset.from_parquet(str(folder / names[-1])).map(lambda row: {"label": -1})
    hidden.to_parquet(folder / "test-00000-of-00001.parquet")
    with pytest.warns(UserWarning, match="No row of the split test has a label, so it is left out"):
        data = load("--dataset_name", folder, "--streaming", "--max_steps", 4, "--save_strategy", "no", *NO_BEST)
    assert set(data.splits) == {"train", "validation"}


def test_stream_that_would_save_nothing_before_its_end_is_warned_of(shards):
    with pytest.warns(UserWarning, match="A stream has no epochs"):
        load("--dataset_name", shards, "--streaming", "--max_steps", 4)


def test_streamed_run_that_was_killed_goes_on_to_the_same_weights(shards, tmp_path):
    flags = ("--dataset_name", str(shards), *STREAMING)
    screen = finish(start(*flags, "--output_dir", str(tmp_path / "whole")))
    assert "a stream of images to train on" in screen
    assert "step      6/6" in screen
    assert re.search(r"The best evaluated step on these images was kept: [36]\b", screen)
    killed = start(*flags, "--output_dir", str(tmp_path / "killed"))
    kill_after(killed, tmp_path / "killed" / "checkpoint-3")
    finish(start(*flags, "--output_dir", str(tmp_path / "killed"), "--resume_from_checkpoint", "true"))
    whole, resumed = (
        load_file(tmp_path / name / "checkpoint-6" / "model.safetensors") for name in ("whole", "killed")
    )
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in whole.items())
    finish(start(*flags, "--output_dir", str(tmp_path / "killed"), "--resume_from_checkpoint", "true"))
    assert not (tmp_path / "killed" / "checkpoint-7").exists()  # a finished run has nothing to go on with
    results = json.loads((tmp_path / "killed" / "all_results.json").read_text())
    assert results["eval_samples"] == 8
    assert not any(name.startswith("baseline") for name in results)
    assert (tmp_path / "killed" / "README.md").is_file()


def test_columns_of_texts_are_not_read_for_a_vision_only_model(images_dir, tmp_path):
    names = sorted(path.name for path in images_dir.iterdir())
    path = tmp_path / "labels.csv"
    path.write_text("id,name,text\n" + "".join(f"{name},{name},someone {name}\n" for name in names))
    recipe = parse_recipe(["--train_dir", str(images_dir), "--labels_file", str(path), "--output_dir", "unused"])
    assert find_descriptions(recipe.data, names, vision_only=False) == [[f"someone {name}"] for name in names]
    assert find_descriptions(recipe.data, names, vision_only=True) is None


def test_few_shots_are_recorded_with_the_images_that_were_left(images_dir):
    data = load("--train_dir", images_dir, "--shots", 1)
    assert len(data.splits["train"]) == 4 * 2  # a clip of two frames of each class
    assert data.split["shots"] == 1
    every = {*data.split["train"], *data.split["validation"], *data.split["unused"]}
    assert len(every) == 32
    assert len(data.split["train"]) == len(data.split["digests"]["train"]) == 8


def test_a_tenth_of_the_training_clips_chooses_the_interpolation(images_dir):
    data = load("--train_dir", images_dir, "--model_name_or_path", "org/model", "--wise_ft_alpha", "auto")
    names = {split: set(data.split[split]) for split in ("train", "validation", "selection")}
    assert len(names["selection"]) == len(data.splits["selection"]) > 0
    assert sum(map(len, names.values())) == 32
    clips = {split: {name.rsplit(".", 2)[0] for name in own} for split, own in names.items()}
    assert not clips["selection"] & (clips["train"] | clips["validation"])
    assert len(data.split["digests"]["selection"]) == len(names["selection"])

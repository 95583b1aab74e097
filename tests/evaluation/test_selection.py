"""Which rows are scored: the run's own held-out ones, and those of its training only when they are asked for."""

import json

import datasets
import pytest

from mg_vtc.data.digests import digest_images
from mg_vtc.evaluation.selection import assign_splits, choose_rows
from mg_vtc.runs.records import RunRecords, read_records

FRAME = {"split_by": "frame", "seed": 7, "train": ["a/0", "a/1", "b/0"], "validation": ["a/2", "b/1"]}
GIVEN = {"split_by": "given", "train": ["a/0", "b/0"], "validation": ["a/0", "b/1"], "test": ["a/9"]}


def make_splits(**splits):
    """Rows of two classes, a and b, the first part of a file name."""
    features = datasets.Features(label=datasets.ClassLabel(names=["a", "b"]), file_name=datasets.Value("string"))
    return datasets.DatasetDict(
        {
            split: datasets.Dataset.from_dict(
                {"label": ["ab".index(name[0]) for name in names], "file_name": names}, features=features
            )
            for split, names in splits.items()
        }
    )


def names_of(chosen):
    return chosen.rows["file_name"][:]


def test_run_is_scored_on_its_own_validation_rows_alone():
    chosen = choose_rows(make_splits(train=["a/0", "a/1", "a/2", "b/0", "b/1"]), FRAME)
    assert names_of(chosen) == ["a/2", "b/1"]
    assert chosen.scored[:4] == ("validation", True, "frame", 0)
    assert chosen.scored.train_labels.tolist() == [0, 0, 1]


def test_rows_of_the_training_are_counted_when_they_are_asked_for():
    splits = make_splits(train=["a/0", "a/1", "a/2", "b/0", "b/1"])
    everything = choose_rows(splits, FRAME, "all")
    assert (len(everything.rows), everything.scored.num_training_rows, everything.scored.split_by) == (5, 3, None)
    training = choose_rows(splits, FRAME, "train")
    assert names_of(training) == FRAME["train"]
    assert (training.scored.num_training_rows, training.scored.split_by) == (3, None)  # they were not held out


def test_images_that_are_gone_since_are_no_doubt():
    assert names_of(choose_rows(make_splits(train=["a/0", "b/1"]), FRAME)) == ["b/1"]


def test_images_of_which_some_are_the_runs_are_refused_and_can_be_chosen():
    splits = make_splits(train=["a/0", "a/2", "b/7"])
    with pytest.raises(
        ValueError, match=r"2 of these 3 images belong to the run .* 1 do not.*`split='all'` .* including 1 training"
    ):
        choose_rows(splits, FRAME)
    assert names_of(choose_rows(splits, FRAME, "validation")) == ["a/2"]
    assert choose_rows(splits, FRAME, "all").scored.num_training_rows == 1


def test_nothing_but_rows_of_the_training_is_refused():
    with pytest.raises(ValueError, match=r"trained on 2 of these 2 images.*`split='all'`"):
        choose_rows(make_splits(train=["a/0", "b/0"]), FRAME)


@pytest.mark.parametrize("run", [{}, {"split_by": "given"}, FRAME], ids=["no run", "stream", "other images"])
def test_other_images_are_all_scored(run):
    chosen = choose_rows(make_splits(train=["a/10", "b/11"]), run)
    assert names_of(chosen) == ["a/10", "b/11"]
    assert chosen.scored == ("all", False, None, 0, None)


def test_test_rows_come_before_validation_rows_before_all():
    rows = {"train": ["a/10"], "validation": ["a/11"], "test": ["a/12"], "extra": ["b/13"]}
    chosen = choose_rows(make_splits(**rows), {})
    assert (names_of(chosen), chosen.scored.split_by) == (["a/12"], "given")
    del rows["test"]
    assert names_of(choose_rows(make_splits(**rows), {})) == ["a/11"]
    del rows["validation"]
    assert names_of(choose_rows(make_splits(**rows), {})) == ["a/10", "b/13"]


def test_given_split_of_a_run_is_matched_split_by_split():
    splits = make_splits(train=["a/0", "b/0"], validation=["a/0", "b/1"])  # a/0 is another file in each
    chosen = choose_rows(splits, GIVEN)
    assert names_of(chosen) == ["a/0", "b/1"]
    assert chosen.scored[1:4] == (True, "given", 0)
    assert chosen.scored.train_labels.tolist() == [0, 1]


def test_folder_of_one_part_of_a_run_is_known_by_all_of_its_names():
    assert assign_splits({"train": ["a/0", "b/1"]}, GIVEN) == {"train": ["validation"] * 2}
    assert assign_splits({"train": ["b/0", "a/0"]}, GIVEN) == {"train": ["train"] * 2}
    assert assign_splits({"train": ["a/0", "b/1", "a/9", "c"]}, GIVEN) == {
        "train": ["train", "validation", "test", None]
    }


def test_test_rows_of_a_run_that_split_the_rest_itself_are_given():
    splits = make_splits(train=["a/0", "a/1", "a/2", "b/0", "b/1"], test=["a/5", "b/0"])
    chosen = choose_rows(splits, FRAME | {"test": ["a/5", "b/0"]})
    assert (names_of(chosen), chosen.scored.split, chosen.scored.split_by) == (["a/5", "b/0"], "test", "given")
    assert chosen.scored.num_training_rows == 0
    assert len(chosen.scored.train_labels) == 3


@pytest.mark.parametrize("split", [None, "test"])
def test_test_split_that_grew_is_refused_and_not_scored_in_part(split):
    run = GIVEN | {"test": ["a/9", "b/9"]}
    splits = make_splits(train=["a/0"], test=["a/9", "b/9", "a/10"])
    with pytest.raises(ValueError, match=r"does not know 1 of the 3 rows of the split 'test'.*`split='all'`"):
        choose_rows(splits, run, split)
    assert names_of(choose_rows(splits, run, "all")) == ["a/0", "a/9", "b/9", "a/10"]
    assert names_of(choose_rows(make_splits(train=["a/0"], test=["b/9"]), run, split)) == ["b/9"]


def test_validation_split_that_grew_can_be_chosen_as_the_message_says():
    splits = make_splits(train=["a/0", "b/0"], validation=["a/0", "b/1", "a/10"])
    with pytest.raises(ValueError, match="`split='validation'`"):
        choose_rows(splits, GIVEN)
    assert names_of(choose_rows(splits, GIVEN, "validation")) == ["a/0", "b/1"]


def test_training_rows_beside_a_test_split_are_chosen_without_those_held_out():
    splits = make_splits(train=["a/0", "a/1", "a/2", "b/0", "b/1"], test=["a/5"])
    assert names_of(choose_rows(splits, FRAME | {"test": ["a/5"]}, "train")) == FRAME["train"]


def test_part_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match=r"no split 'test', only train, validation; `split='all'`"):
        choose_rows(make_splits(train=["a/10"], validation=["a/11"]), {}, "test")
    with pytest.raises(ValueError, match=r"`split` must be train, validation, test, selection or all, got 'dev'"):
        choose_rows(make_splits(train=["a/10"]), {}, "dev")


def test_checkpoint_has_the_records_of_its_run(tmp_path):
    (tmp_path / "split.json").write_text(json.dumps(FRAME))
    (tmp_path / "recipe.yaml").write_text("jpeg_draft: true\n")
    (tmp_path / "checkpoint-3").mkdir()
    (tmp_path / "checkpoint-3" / "trainer_state.json").write_text("{}")
    assert read_records(str(tmp_path / "checkpoint-3")) == RunRecords(FRAME, None, {"jpeg_draft": True}, {})


def test_model_without_a_run_has_no_records(tmp_path):
    assert read_records(str(tmp_path)) == RunRecords({}, None, {}, {})


def make_images(**splits):
    """Rows that have bytes, as (name, content); the class is no matter."""
    features = datasets.Features(
        image=datasets.Image(), label=datasets.ClassLabel(names=["a", "b"]), file_name=datasets.Value("string")
    )
    columns = {
        split: {
            "image": [{"bytes": content, "path": None} for _, content in rows],
            "label": [0] * len(rows),
            "file_name": [name for name, _ in rows],
        }
        for split, rows in splits.items()
    }
    return datasets.DatasetDict(
        {split: datasets.Dataset.from_dict(rows, features=features) for split, rows in columns.items()}
    )


def record(split_by="frame", **rows):
    """What `split.json` says of a run that had these rows."""
    images = make_images(**rows)
    names = {part: rows["file_name"][:] for part, rows in images.items()}
    digests = {part: digest_images(rows) for part, rows in images.items()}
    return {"split_by": split_by, "seed": 0, "digests": digests, **names}


RUN = {"train": [("0", b"x"), ("2", b"z")], "validation": [("1", b"y")]}


def test_images_of_the_same_names_and_other_bytes_are_not_those_of_the_run():
    run = record(**RUN)
    assert names_of(choose_rows(make_images(train=[("0", b"x"), ("1", b"y"), ("2", b"z")]), run)) == ["1"]
    others = choose_rows(make_images(train=[("0", b"X"), ("1", b"Y"), ("2", b"Z")]), run)
    assert (len(others.rows), others.scored.split, others.scored.num_training_rows) == (3, "all", 0)


def test_training_images_under_other_names_are_training_images():
    run = record(**RUN)
    renamed = make_images(train=[("train/0", b"z"), ("train/1", b"x")])
    with pytest.raises(ValueError, match="trained on 2 of these 2 images \\(same bytes or names"):
        choose_rows(renamed, run)
    assert choose_rows(renamed, run, "all").scored.num_training_rows == 2
    given = choose_rows(make_images(train=[("a", b"new")], test=[("b", b"x"), ("c", b"other")]), run)
    assert (given.scored.split, len(given.rows), given.scored.num_training_rows) == ("test", 2, 1)
    both = choose_rows(make_images(train=[("train/0", b"x"), ("train/1", b"y")]), run)
    assert (names_of(both), both.scored.split, both.scored.num_training_rows) == (["train/1"], "validation", 0)


@pytest.mark.parametrize("split_by", ["frame", "given"])
def test_validation_image_with_the_bytes_of_a_training_image_stays_one(split_by):
    """The run scored it, and counts it as a leak: its scores are found again."""
    rows = RUN | {"validation": [("1", b"y"), ("3", b"x")]}
    images = make_images(**(rows if split_by == "given" else {"train": [*rows["train"], *rows["validation"]]}))
    assert names_of(choose_rows(images, record(split_by, **rows))) == ["1", "3"]


@pytest.mark.parametrize("name", ["split.json", "trainer_state.json", "recipe.yaml"])
def test_damaged_record_of_a_run_is_refused_by_name(name, tmp_path):
    (tmp_path / name).write_text('{"train": [')
    with pytest.raises(ValueError, match=f"{name} is damaged"):
        read_records(str(tmp_path))

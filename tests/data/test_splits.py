"""Splits: sizes by largest remainder, groups whole, classes on both sides, nothing lost."""

import warnings
from collections import Counter

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, Value
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold, StratifiedShuffleSplit

from mg_vtc.data.splits import SPLIT_KINDS, SPLIT_MEANINGS, draw_shots, split_fold, split_stratified


def make_dataset(class_sizes: list[int], seed: int = 0) -> Dataset:
    """Return rows with `label` in mixed order and `row`, the row's number."""
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(class_sizes)), class_sizes))
    names = [f"class {label}" for label in range(len(class_sizes))]
    features = Features(label=ClassLabel(names=names), row=Value("int64"))
    return Dataset.from_dict({"label": labels, "row": np.arange(len(labels))}, features=features)


def count(dataset: Dataset) -> list[int]:
    return np.bincount(dataset["label"][:], minlength=dataset.features["label"].num_classes).tolist()


def test_even_classes_split_exactly():
    parts = split_stratified(make_dataset([10, 20, 30]), 0.1, seed=0)
    assert count(parts["validation"]) == [1, 2, 3]
    assert count(parts["train"]) == [9, 18, 27]


def test_largest_remainders_get_the_rows_left_over():
    # Quotas of 0.25 * (9, 6, 7) are 2.25, 1.5 and 1.75; round(5.5) = 6 rows leave 2 beyond the whole parts.
    assert count(split_stratified(make_dataset([9, 6, 7]), 0.25, seed=0)["validation"]) == [2, 2, 2]


@settings(deadline=None, max_examples=50)
@given(
    class_sizes=st.lists(st.integers(2, 30), min_size=2, max_size=8),
    fraction=st.floats(0.2, 0.8),
    seed=st.integers(0, 9),
)
def test_parts_are_disjoint_complete_ordered_and_of_the_asked_size(class_sizes, fraction, seed):
    dataset = make_dataset(class_sizes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes whose quota is less than a row
        parts = split_stratified(dataset, fraction, seed)
    rows = {name: part["row"][:] for name, part in parts.items()}
    assert sorted(rows["train"] + rows["validation"]) == list(range(len(dataset)))
    assert all(part == sorted(part) for part in rows.values())
    assert min(count(parts["train"])) >= 1
    most = sum(class_sizes) - len(class_sizes)
    assert len(rows["validation"]) == min(round(fraction * len(dataset)), most)


def test_class_sizes_are_within_one_row_of_those_of_sklearn():
    dataset = make_dataset([104, 183, 12, 27, 347, 14, 57])
    splitter = StratifiedShuffleSplit(n_splits=1, test_size=0.15, random_state=0)
    _, held_out = next(splitter.split(np.zeros(len(dataset)), dataset["label"][:]))
    ours = count(split_stratified(dataset, 0.15, seed=0)["validation"])
    assert np.abs(np.subtract(ours, count(dataset.select(held_out)))).max() <= 1


def test_same_seed_same_rows_other_seed_other_rows():
    dataset = make_dataset([20, 20])
    first, second, other = (split_stratified(dataset, 0.2, seed)["validation"]["row"][:] for seed in (1, 1, 2))
    assert first == second != other


def test_single_images_stay_in_training_with_a_warning():
    with pytest.warns(UserWarning, match="too few frames .* in training only: 'class 1', 'class 3'"):
        parts = split_stratified(make_dataset([10, 1, 10, 1]), 0.5, seed=0)
    assert count(parts["train"])[1] == count(parts["train"])[3] == 1
    assert len(parts["validation"]) == 11  # the other classes make up for them


def test_classes_without_images_are_left_alone():
    assert count(split_stratified(make_dataset([10, 0, 10]), 0.5, seed=0)["validation"]) == [5, 0, 5]


@pytest.mark.parametrize("fraction", [-0.1, 0, 1, 20, float("nan")])
def test_fraction_outside_its_range_is_refused(fraction: float):
    with pytest.raises(ValueError, match=f"above 0 and below 1, but it is {fraction}"):
        split_stratified(make_dataset([4, 4]), fraction, seed=0)


@pytest.mark.parametrize(("class_sizes", "fraction"), [([4, 4], 0.01), ([1, 1, 1], 0.5)])
def test_split_that_holds_out_nothing_is_refused(class_sizes: list[int], fraction: float):
    with pytest.raises(ValueError, match=r"No frame of \d images can be held out"):
        split_stratified(make_dataset(class_sizes), fraction, seed=0)


# Groups


def make_grouped(groups_of_class: list[list[int]], column: str = "clip") -> Dataset:
    """Rows of classes whose groups have the given sizes, in mixed order; a group has one class."""
    rows = [
        (label, f"{label}/{number}")
        for label, sizes in enumerate(groups_of_class)
        for number, size in enumerate(sizes)
        for _ in range(size)
    ]
    return mix(rows, len(groups_of_class), column)


def make_subjects(num_subjects: int, num_classes: int, seed: int) -> Dataset:
    """Rows of subjects who show most classes, some often and some seldom."""
    rng = np.random.default_rng(seed)
    sizes = rng.poisson(rng.exponential(4, (num_subjects, 1)) * rng.exponential(1, (1, num_classes)))
    sizes[:2] += 1  # so that every class has two subjects
    rows = [(label, f"s{subject}") for (subject, label), size in np.ndenumerate(sizes) for _ in range(size)]
    return mix(rows, num_classes, "subject")


def mix(rows: list[tuple[int, str]], num_classes: int, column: str) -> Dataset:
    order = np.random.default_rng(0).permutation(len(rows))
    labels, groups = ([rows[row][part] for row in order] for part in (0, 1))
    names = [f"class {label}" for label in range(num_classes)]
    features = Features({"label": ClassLabel(names=names), column: Value("string"), "row": Value("int64")})
    return Dataset.from_dict({"label": labels, column: groups, "row": range(len(rows))}, features=features)


def chi_square(held_out: Dataset, whole: Dataset, share: float) -> float:
    """Distance of both sides from their shares of each class."""
    sizes, targets = np.array(count(held_out)), share * np.array(count(whole))
    return float((((sizes - targets) ** 2) * (1 / targets + 1 / (np.array(count(whole)) - targets))).sum())


@settings(deadline=None, max_examples=50)
@given(
    groups=st.lists(st.lists(st.integers(1, 6), min_size=2, max_size=6), min_size=2, max_size=6),
    fraction=st.floats(0.1, 0.9),
    seed=st.integers(0, 9),
)
def test_clips_stay_whole_and_every_class_is_on_both_sides(groups, fraction, seed):
    dataset = make_grouped(groups)
    parts = split_stratified(dataset, fraction, seed, split_by="clip")
    train, validation = parts["train"], parts["validation"]
    assert not set(train["clip"][:]) & set(validation["clip"][:])
    assert min(count(train)) >= 1
    assert min(count(validation)) >= 1
    assert sorted(train["row"][:] + validation["row"][:]) == list(range(len(dataset)))
    assert train["row"][:] == sorted(train["row"][:])


def test_equal_clips_are_held_out_in_exact_proportion():
    parts = split_stratified(make_grouped([[6] * 10, [3] * 5, [4] * 20]), 0.2, seed=0, split_by="clip")
    assert count(parts["validation"]) == [12, 3, 16]


def test_class_of_one_clip_is_in_training_with_a_warning_that_names_it():
    with pytest.warns(UserWarning, match="too few clips for validation are in training only: 'class 1'"):
        parts = split_stratified(make_grouped([[2, 2], [9], [2, 2]]), 0.5, seed=0, split_by="clip")
    assert count(parts["train"])[1] == 9


def test_one_clip_a_class_is_refused_with_the_way_out():
    with pytest.raises(ValueError, match=r"No clip of 15 images can be held out .* more clips per class, or split by"):
        split_stratified(make_grouped([[5], [5], [5]]), 0.2, seed=0, split_by="clip")


@pytest.mark.parametrize("column", ["clip", "subject"])
def test_missing_column_is_refused_and_the_present_ones_named(column):
    with pytest.raises(ValueError, match=rf"To split by {column}.* columns are 'label', 'row'\. .*file_name,{column}"):
        split_stratified(make_dataset([4, 4]), 0.2, seed=0, split_by=column)


def test_unknown_kind_of_split_is_refused():
    with pytest.raises(ValueError, match="split_by must be one of frame, clip, subject, not 'video'"):
        split_stratified(make_dataset([4, 4]), 0.2, seed=0, split_by="video")


def test_subjects_of_many_classes_are_more_stratified_than_by_scikit_learn():
    distances = []
    for seed in range(8):
        dataset = make_subjects(num_subjects=40, num_classes=12, seed=seed)
        labels, subjects = dataset["label"][:], dataset["subject"][:]
        splitter = StratifiedGroupKFold(4, shuffle=True, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of classes with fewer images than folds
            ours = [split_fold(dataset, 4, fold, seed, split_by="subject")["validation"] for fold in range(4)]
            theirs = [dataset.select(held_out) for _, held_out in splitter.split(labels, labels, subjects)]
        distances.append([sum(chi_square(fold, dataset, 0.25) for fold in folds) for folds in (ours, theirs)])
    mean_ours, mean_theirs = np.mean(distances, axis=0)
    assert mean_ours < mean_theirs


def test_subject_is_on_one_side_and_no_class_is_missing_in_training():
    dataset = make_subjects(num_subjects=6, num_classes=8, seed=1)
    for seed in range(10):
        parts = split_stratified(dataset, 0.3, seed, split_by="subject")
        assert not set(parts["train"]["subject"][:]) & set(parts["validation"]["subject"][:])
        assert min(count(parts["train"])) >= 1


@pytest.mark.parametrize("split_by", ["frame", "clip"])
def test_every_row_is_validated_in_exactly_one_fold(split_by):
    dataset = make_grouped([[3] * 5, [2] * 7, [4] * 5])
    folds = [split_fold(dataset, 5, fold, seed=3, split_by=split_by) for fold in range(5)]
    validated = [row for parts in folds for row in parts["validation"]["row"][:]]
    assert sorted(validated) == list(range(len(dataset)))
    assert all(min(count(parts["train"])) >= 1 for parts in folds)


def test_folds_of_images_have_equal_sizes_but_for_one_row():
    folds = [split_fold(make_dataset([7, 9, 12]), 4, fold, seed=0)["validation"] for fold in range(4)]
    sizes = np.array([count(fold) for fold in folds])  # (num_folds, num_classes)
    assert np.ptp(sizes, axis=0).max() <= 1
    assert np.ptp(sizes.sum(axis=1)) <= 1


def test_class_of_one_clip_is_validated_in_no_fold():
    dataset = make_grouped([[2] * 4, [5]])
    with pytest.warns(UserWarning, match="'class 1'"):
        assert all(count(split_fold(dataset, 4, fold, 0, split_by="clip")["validation"])[1] == 0 for fold in range(4))


@pytest.mark.parametrize(("num_folds", "fold"), [(1, 0), (5, 5), (5, -1)])
def test_fold_out_of_range_is_refused(num_folds, fold):
    with pytest.raises(ValueError, match=f"got {num_folds} and {fold}"):
        split_fold(make_dataset([9, 9]), num_folds, fold, seed=0)


@pytest.mark.filterwarnings("ignore:Classes with too few clips")  # there are more folds than clips of a class
def test_folds_of_clips_have_like_sizes():
    """Classes with fewer clips than folds, which come to other folds each."""
    rows = make_grouped([[6] * 4] * 16 + [[6] * 5] * 16)
    sizes = [len(split_fold(rows, 10, fold, seed=0, split_by="clip")["validation"]) for fold in range(10)]
    assert sum(sizes) == len(rows)
    assert max(sizes) <= 1.2 * min(sizes)


def test_subject_whose_gestures_others_show_too_can_be_held_out():
    """Two subjects have a gesture of their own and must be trained on; the third one need not."""
    rows = mix(
        [
            (label, subject)
            for subject, labels in (("a", (0, 1, 2)), ("b", (0, 1, 3)), ("c", (0, 1)))
            for label in labels
        ],
        4,
        "subject",
    )
    with pytest.warns(UserWarning, match="in training only: 'class 2', 'class 3'"):
        split = split_stratified(rows, 0.3, seed=0, split_by="subject")
    assert set(split["validation"]["subject"]) == {"c"}


def test_same_seed_same_clips_other_seed_other_clips():
    dataset = make_grouped([[2] * 8, [2] * 8])
    first, second, other = (
        split_stratified(dataset, 0.25, seed, split_by="clip")["validation"]["row"][:] for seed in (1, 1, 2)
    )
    assert first == second != other


def test_only_the_split_of_frames_is_called_frame_level():
    assert [kind for kind, meaning in SPLIT_MEANINGS.items() if "frame-level split" in meaning] == ["frame"]
    assert set(SPLIT_KINDS) < set(SPLIT_MEANINGS)


@pytest.mark.parametrize("num_folds", [2, 3])
def test_folds_share_out_the_groups_that_can_move_where_one_shows_all_classes(num_folds):
    names = ["waving", *(f"gesture {number}" for number in range(6))]
    everybody = [(label, "all") for label in range(7)]  # alone with "waving", so always in training
    rows = everybody + [(label, f"only {label}") for label in range(1, 7) for _ in range(3)]
    features = Features(label=ClassLabel(names=names), subject=Value("string"))
    columns = {"label": [label for label, _ in rows], "subject": [subject for _, subject in rows]}
    data = Dataset.from_dict(columns, features=features)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes that a fold lacks
        folds = [split_fold(data, num_folds, fold, 0, split_by="subject") for fold in range(num_folds)]
    subjects = [set(fold["validation"]["subject"][:]) for fold in folds]
    assert [len(of_fold) for of_fold in subjects] == [6 // num_folds] * num_folds
    assert set().union(*subjects) == {f"only {label}" for label in range(1, 7)}


def make_clips(*clips_of_class):
    clips = [[f"{label}-{clip}"] * 3 for label, number in enumerate(clips_of_class) for clip in range(number)]
    names = [name for three in clips for name in three]
    labels = [int(name.split("-")[0]) for name in names]
    features = Features(label=ClassLabel(names=["bow", "nod"]), clip=Value("string"))
    return Dataset.from_dict({"label": labels, "clip": names}, features=features)


def test_shots_are_whole_clips_of_each_class_and_grow():
    rows = make_clips(6, 9)
    drawn = {shots: draw_shots(rows, shots, seed=0)[0] for shots in (1, 2, 4)}
    for shots, few in drawn.items():
        assert Counter(few["label"][:]) == {0: 3 * shots, 1: 3 * shots}
        assert len(set(few["clip"][:])) == 2 * shots
    assert set(drawn[1]["clip"][:]) < set(drawn[2]["clip"][:]) < set(drawn[4]["clip"][:])
    others = draw_shots(rows, 2, seed=1)
    assert others[0]["clip"][:] != drawn[2]["clip"][:]
    assert {*others[0]["clip"][:]} | {*others[1]["clip"][:]} == {*rows["clip"][:]}


def test_shots_are_images_where_clips_are_unknown():
    few, _ = draw_shots(make_clips(6, 9).remove_columns("clip"), 2, seed=0)
    assert Counter(few["label"][:]) == {0: 2, 1: 2}


def test_class_with_fewer_clips_than_shots_gives_all_with_a_warning():
    with pytest.warns(
        UserWarning, match=r"shots is 7, but these classes have fewer clips .* give all of them: 'bow \(6\)'\.$"
    ):
        few, others = draw_shots(make_clips(6, 9), 7, seed=0)
    assert Counter(few["label"][:]) == {0: 3 * 6, 1: 3 * 7}
    assert Counter(others["label"][:]) == {1: 3 * 2}

"""The stratified split: sizes by largest remainder, rows at random, nothing lost."""

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, Value
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedShuffleSplit

from mg_vtc.data.splits import split_stratified


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


def test_single_pictures_stay_in_training_with_a_warning():
    with pytest.warns(UserWarning, match="single picture are in training only: class 1, class 3"):
        parts = split_stratified(make_dataset([10, 1, 10, 1]), 0.5, seed=0)
    assert count(parts["train"])[1] == count(parts["train"])[3] == 1
    assert len(parts["validation"]) == 11  # the other classes make up for them


def test_classes_without_pictures_are_left_alone():
    assert count(split_stratified(make_dataset([10, 0, 10]), 0.5, seed=0)["validation"]) == [5, 0, 5]


@pytest.mark.parametrize("fraction", [-0.1, 0, 1, 20, float("nan")])
def test_fraction_outside_its_range_is_refused(fraction: float):
    with pytest.raises(ValueError, match=f"above 0 and below 1, but it is {fraction}"):
        split_stratified(make_dataset([4, 4]), fraction, seed=0)


@pytest.mark.parametrize(("class_sizes", "fraction"), [([4, 4], 0.01), ([1, 1, 1], 0.5)])
def test_split_that_holds_out_nothing_is_refused(class_sizes: list[int], fraction: float):
    with pytest.raises(ValueError, match="holds out no row for validation"):
        split_stratified(make_dataset(class_sizes), fraction, seed=0)

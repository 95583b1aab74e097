"""The order of the rows: a function of seed and epoch, shared out to the processes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mg_vtc.data.sampler import GlobalBatchSampler, balance_classes

SIZES = {"num_rows": st.integers(1, 60), "batch_size": st.integers(1, 20), "epoch": st.integers(0, 3)}


def batches(num_rows, batch_size, epoch=0, **settings):
    sampler = GlobalBatchSampler(num_rows, batch_size, **settings)
    sampler.set_epoch(epoch)
    result = list(sampler)
    assert len(sampler) == len(result)
    return result


@given(**SIZES)
def test_every_row_comes_once_an_epoch(num_rows, batch_size, epoch):
    rows = [row for batch in batches(num_rows, batch_size, epoch) for row in batch]
    assert sorted(rows) == list(range(num_rows))


@given(**SIZES, num_processes=st.integers(2, 5), balanced=st.booleans())
def test_shares_of_a_batch_are_the_batch_of_one_process_and_differ_by_one_row(
    num_rows, batch_size, epoch, num_processes, balanced
):
    labels = np.arange(num_rows) ** 2 % 7 if balanced else None
    whole = batches(num_rows, batch_size, epoch, labels=labels)
    shares = [
        batches(num_rows, batch_size, epoch, labels=labels, num_processes=num_processes, process_index=index)
        for index in range(num_processes)
    ]
    for number, batch in enumerate(whole):
        parts = [share[number] for share in shares]
        assert sorted(batch) == sorted(row for part in parts for row in part)
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


LABELS = st.lists(st.integers(0, 8).map(lambda label: label**2 % 11), min_size=1, max_size=60).map(np.array)


@given(labels=LABELS, batch_size=st.integers(1, 20), epoch=st.integers(0, 3))
def test_balanced_epoch_has_as_many_rows_and_each_class_as_often(labels, batch_size, epoch):
    rows = [row for batch in batches(len(labels), batch_size, epoch, labels=labels) for row in batch]
    assert len(rows) == len(labels)
    drawn = np.bincount(labels[rows], minlength=labels.max() + 1)[np.unique(labels)]
    assert drawn.max() - drawn.min() <= 1


@given(labels=LABELS, num_epochs=st.integers(1, 6))
def test_over_many_epochs_classes_and_the_rows_of_a_class_come_equally_often(labels, num_epochs):
    drawn = np.concatenate([balance_classes(labels, 3, epoch) for epoch in range(num_epochs)])
    by_row = np.bincount(drawn, minlength=len(labels))
    by_class = [by_row[labels == label].sum() for label in np.unique(labels)]
    assert max(by_class) - min(by_class) <= 1
    for label in np.unique(labels):
        assert np.ptp(by_row[labels == label]) <= 1


def test_balanced_rows_of_a_class_come_in_another_order_each_round():
    labels = np.zeros(20, dtype=int)
    assert balance_classes(labels, 0, 0).tolist() != balance_classes(labels, 0, 1).tolist() != list(range(20))


@given(**SIZES)
def test_dropping_the_last_leaves_full_batches_alone(num_rows, batch_size, epoch):
    dropped = batches(num_rows, batch_size, epoch, drop_last=True)
    assert dropped == [batch for batch in batches(num_rows, batch_size, epoch) if len(batch) == batch_size]


@pytest.mark.parametrize("labels", [None, np.arange(30) % 4 // 2])
def test_order_is_a_function_of_seed_and_epoch(labels):
    orders = {(seed, epoch): batches(30, 8, epoch, seed=seed, labels=labels) for seed in (0, 1) for epoch in (0, 1)}
    assert batches(30, 8, 1, seed=1, labels=labels) == orders[1, 1]
    for first in orders:
        for second in orders:
            assert (orders[first] == orders[second]) == (first == second)


@pytest.mark.parametrize("epoch", range(3))
def test_rows_are_shuffled(epoch):
    assert batches(100, 100, epoch)[0] != list(range(100))

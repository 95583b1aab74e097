"""The order of the rows: a function of seed and epoch, shared out to the processes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mg_vtc.data.batches import GlobalBatchSampler

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


@given(**SIZES, num_processes=st.integers(2, 5))
def test_shares_of_a_batch_are_the_batch_of_one_process_and_differ_by_one_row(
    num_rows, batch_size, epoch, num_processes
):
    whole = batches(num_rows, batch_size, epoch)
    shares = [
        batches(num_rows, batch_size, epoch, num_processes=num_processes, process_index=index)
        for index in range(num_processes)
    ]
    for number, batch in enumerate(whole):
        parts = [share[number] for share in shares]
        assert sorted(batch) == sorted(row for part in parts for row in part)
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


@given(**SIZES)
def test_dropping_the_last_leaves_full_batches_alone(num_rows, batch_size, epoch):
    dropped = batches(num_rows, batch_size, epoch, drop_last=True)
    assert dropped == [batch for batch in batches(num_rows, batch_size, epoch) if len(batch) == batch_size]


def test_order_is_a_function_of_seed_and_epoch():
    orders = {(seed, epoch): batches(30, 8, epoch, seed=seed) for seed in (0, 1) for epoch in (0, 1)}
    assert batches(30, 8, 1, seed=1) == orders[1, 1]
    for first in orders:
        for second in orders:
            assert (orders[first] == orders[second]) == (first == second)


@pytest.mark.parametrize("epoch", range(3))
def test_rows_are_shuffled(epoch):
    assert batches(100, 100, epoch)[0] != list(range(100))

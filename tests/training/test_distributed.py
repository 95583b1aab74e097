"""Two processes are one with the same global batch: rows, losses, gradients, weights, scores."""

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from pages import free_port
from several_processes import GLOBAL_BATCH, NUM_EVALUATED, NUM_ROWS, SETTINGS

from mg_vtc.training.distributed import gather_rows, join_cpu_processes, take_share

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parents[1] / "several_processes.py"


def run(folder, *launcher):
    subprocess.run(
        [*launcher, str(SCRIPT), str(folder)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What one process and two processes saw."""
    folder = tmp_path_factory.mktemp("processes")
    for name in ("one", "two"):
        (folder / name).mkdir()
    run(folder / "one", sys.executable)
    run(folder / "two", sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
    return folder


@pytest.fixture(params=SETTINGS)
def runs(request, folder):
    paths = [f"one/{request.param}-0.pt", *(f"two/{request.param}-{rank}.pt" for rank in (0, 1))]
    return [torch.load(folder / path, weights_only=True) for path in paths]


def assert_equal_tensors(given, expected):
    largest = max(tensor.abs().max() for tensor in expected.values())
    assert given.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(given[name], tensor, rtol=1e-8, atol=1e-10 * float(largest), msg=name)


def test_every_row_is_on_one_process_once_an_epoch(runs):
    one, *two = runs
    steps = len(one["rows"]) // 2
    assert steps == -(-NUM_ROWS // GLOBAL_BATCH)
    for run_ in ([one], two):
        for epoch in (slice(steps), slice(steps, None)):
            seen = [row for process in run_ for batch in process["rows"][epoch] for row in batch]
            assert sorted(seen) == list(range(NUM_ROWS))


def test_batches_are_those_of_one_process_and_no_share_is_empty(runs):
    one, *two = runs
    for whole, *shares in zip(one["rows"], *(process["rows"] for process in two), strict=True):
        assert sorted(whole) == sorted(row for share in shares for row in share)
        assert abs(len(shares[0]) - len(shares[1])) <= 1
        assert all(shares)


def test_loss_is_that_of_one_process_at_every_step(runs):
    one, *two = runs
    for process in two:
        assert process["losses"] == pytest.approx(one["losses"], rel=1e-9)


def test_gradients_are_those_of_one_process(runs):
    one, *two = runs
    assert any(gradient.any() for gradient in one["gradients"].values())
    for process in two:
        assert_equal_tensors(process["gradients"], one["gradients"])


def test_weights_after_two_epochs_are_those_of_one_process(runs):
    one, *two = runs
    for process in two:
        assert_equal_tensors(process["weights"], one["weights"])


def test_evaluation_counts_every_row_once(runs):
    one, *two = runs
    assert one["metrics"]["eval_num_rows"] == NUM_EVALUATED
    for process in two:
        for name in ("eval_num_rows", "eval_loss", "eval_top1_accuracy", "eval_top5_accuracy"):
            assert process["metrics"][name] == pytest.approx(one["metrics"][name], rel=1e-6)


def test_logged_loss_is_that_of_one_process(runs):
    one, *two = runs
    assert two[0]["logged"] == pytest.approx(one["logged"], rel=1e-6)


def test_unequal_rows_are_joined_in_order_of_their_ranks(folder):
    for rank in (0, 1):
        joined = torch.load(folder / "two" / f"gathered-{rank}.pt", weights_only=True)["joined"]
        assert joined.tolist() == [[0, 1], [10, 11], [12, 13]]


def test_gradient_of_a_row_is_the_sum_over_the_losses_of_all_processes(folder):
    expected = 3 * torch.arange(6.0).view(3, 2)  # weights of process 0, and twice as much of process 1
    for rank, rows in ((0, slice(0, 1)), (1, slice(1, 3))):
        gradient = torch.load(folder / "two" / f"gathered-{rank}.pt", weights_only=True)["gradient"]
        assert torch.equal(gradient, expected[rows])


def test_shares_of_all_processes_begin_with_the_whole(folder):
    for rank in (0, 1):
        for size, joined in torch.load(folder / "two" / f"gathered-{rank}.pt", weights_only=True)["shares"].items():
            assert joined.tolist() == list(range(size))


def test_gathered_rows_may_be_added_up(folder):
    for rank in (0, 1):
        saved = torch.load(folder / "two" / f"gathered-{rank}.pt", weights_only=True)
        # the square of the sum of a row and itself, on two processes that add their losses
        assert torch.equal(saved["gradient of a sum"], 16 * saved["summed"])


def test_buffers_become_those_of_the_first_process(folder):
    for rank in (0, 1):
        assert torch.load(folder / "two" / f"gathered-{rank}.pt", weights_only=True)["buffer"].tolist() == [0.0]


def test_streamed_evaluation_counts_every_row_once_whatever_the_workers(folder):
    for rank in (0, 1):
        saved = torch.load(folder / "two" / f"gathered-{rank}.pt", weights_only=True)
        assert saved["streamed"] == {0: list(range(19)), 2: list(range(19))}


def test_one_process_gathers_and_shares_nothing():
    rows = torch.randn(3, 2)
    assert gather_rows(rows) is rows
    assert take_share(rows) is rows


@pytest.mark.parametrize(("rank", "reason"), [(0, "1/2 clients joined"), (1, "timed out")])
def test_process_that_waits_in_vain_for_the_others_says_where(rank, reason, monkeypatch):
    port = str(free_port())
    settings = {"WORLD_SIZE": "2", "RANK": str(rank), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(OSError, match=rf"2 processes of the run did not meet at 127\.0\.0\.1:{port}: .*{reason}"):
        join_cpu_processes(None, timedelta(seconds=1))

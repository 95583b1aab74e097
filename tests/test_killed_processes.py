"""A process of a run that ends early ends the run, with the cause, within seconds, and leaves none behind."""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import torch
from conftest import TINY_RESNET
from torch.utils.data import DataLoader

from mg_vtc.data.decoding import collate_images

SECONDS = 30
SMALL_FILES = 4096  # bytes


class Rows(torch.utils.data.Dataset):
    """Grey images of 64 px."""

    def __len__(self):
        return 8

    def __getitem__(self, index):
        return {"pixel_values": torch.zeros(3, 64, 64, dtype=torch.uint8), "labels": 0, "index": index}


def limit_files(_: int) -> None:
    """Leave a worker no room for a batch in shared memory, which is a file."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL_FILES, SMALL_FILES))


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_full_shared_memory_is_an_error_and_not_a_hang():
    loader = DataLoader(
        Rows(), 4, num_workers=1, collate_fn=collate_images, worker_init_fn=limit_files, timeout=SECONDS
    )
    with pytest.raises(OSError, match=r"The shared memory has no room for a batch of images .* enlarge /dev/shm"):
        list(loader)


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_batches_of_workers_are_those_of_one_process():
    of_workers = list(DataLoader(Rows(), 4, num_workers=2, collate_fn=collate_images))
    for one, other in zip(DataLoader(Rows(), 4, collate_fn=collate_images), of_workers, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)
        assert other["pixel_values"].is_contiguous(memory_format=torch.channels_last)


def find_children(parent):
    """Ids of the running processes that a process has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, rest = path.read_text().split(" ", 1)
        except OSError:  # ended meanwhile
            continue
        state, of_parent = rest.rpartition(")")[2].split()[:2]
        if int(of_parent) == parent and state != "Z":
            found.append(int(pid))
    return sorted(found)


PROCESSES = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are found in /proc")


@contextmanager
def training(images, folder, *flags):
    """Train for long in a process of its own; give it and the file of its screen once two epochs are done."""
    towers = ("--vision_config", json.dumps(TINY_RESNET), "--image_size", "32", "--num_train_epochs", "5000")
    command = [sys.executable, "-m", "mg_vtc", "train", "vision_only", "--train_dir", images, *towers, *flags]
    command += ["--output_dir", folder / "run", "--report_to", "none", "--per_device_train_batch_size", "4"]
    screen = folder / "screen.txt"
    with screen.open("w") as file:
        run = subprocess.Popen(
            list(map(str, command)),
            env=os.environ | {"OMP_NUM_THREADS": "1", "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "5"},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    others = []
    try:
        while "epoch     2/5000" not in screen.read_text():
            assert run.poll() is None, screen.read_text()
            time.sleep(0.1)
        others = find_children(run.pid)
        yield run, others, screen
        assert not [pid for pid in others if Path(f"/proc/{pid}").exists()]
    finally:
        for pid in (*others, run.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        run.wait()


@pytest.mark.slow
@PROCESSES
@pytest.mark.parametrize(
    ("flags", "cause"),
    [
        (("--num_processes", "2"), "process 1 of the run was ended by SIGKILL"),
        (
            ("--dataloader_num_workers", "2", "--dataloader_persistent_workers", "true"),
            "DataLoader worker .* is killed by signal: Killed",
        ),
    ],
    ids=["one of two processes", "a loader worker"],
)
def test_killed_process_ends_the_run_with_the_cause(images_dir, tmp_path, flags, cause):
    with training(images_dir, tmp_path, *flags) as (run, others, screen):
        os.kill(others[-1], signal.SIGKILL)
        assert run.wait(SECONDS) == 1
    assert re.search(cause, screen.read_text()), screen.read_text()


@pytest.mark.slow
@PROCESSES
def test_process_that_raises_ends_the_run_with_its_reason(images_dir, tmp_path):
    images = shutil.copytree(images_dir, tmp_path / "images")
    flags = ("--num_processes", "2", "--cache_images", "false")
    with training(images, tmp_path, *flags) as (run, _, screen):
        for path in images.rglob("*.png"):  # of which each process reads some
            path.unlink()
        assert run.wait(SECONDS) == 1
    assert re.search(r"The image of row .*\.png\) cannot be decoded", screen.read_text()), screen.read_text()


@pytest.mark.slow
@PROCESSES
def test_process_that_hangs_ends_the_run_after_the_timeout_with_a_line_that_says_so(images_dir, tmp_path):
    timeout = 10
    flags = ("--num_processes", "2", "--ddp_timeout", timeout)
    with training(images_dir, tmp_path, *flags) as (run, others, screen):
        os.kill(others[-1], signal.SIGSTOP)
        assert run.wait(timeout + SECONDS) == 1
    assert "Another process of the run does not respond: it hangs or was stopped. --ddp_timeout" in screen.read_text()
    assert "Traceback" not in screen.read_text()

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
from pathlib import Path

import pytest
import torch
from conftest import TINY_RESNET
from torch.utils.data import DataLoader

from mg_vtc.cli.train import describe_lost_worker
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


class RowsOfLostWorkers(Rows):
    """A worker is killed half a second after the first batch."""

    def __getitem__(self, index):
        if index == 4:
            time.sleep(0.5)
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(index)


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("step", [0, SECONDS], ids=["waits for a batch", "is in a step"])
def test_lost_worker_is_named_with_its_signal_wherever_the_run_is(step):
    loader = DataLoader(RowsOfLostWorkers(), 4, num_workers=1, collate_fn=collate_images)
    with pytest.raises(RuntimeError) as caught:
        [time.sleep(step) for batch in loader]  # the error ends the sleep
    assert re.fullmatch(
        r"DataLoader worker \(pid \d+\) is killed by signal: Killed\.", describe_lost_worker(caught.value)
    )


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


def find_second(processes):
    """The one of rank 1; of workers, any."""
    return next(
        (pid for pid in processes if b"\0RANK=1\0" in Path(f"/proc/{pid}/environ").read_bytes()), processes[-1]
    )


def kill(process, images):
    os.kill(process, signal.SIGKILL)


def suspend(process, images):
    os.kill(process, signal.SIGSTOP)


def lose_an_image(process, images):
    """Have the process that reads it raise an error, and not the other one."""
    next(images.rglob("*.png")).unlink()


TWO = ("--num_processes", "2")
SUSPENDED = ("--ddp_timeout", "5")
LAUNCHER = 90  # seconds, of which it leaves a process 30 to heed SIGTERM; a suspended one does not


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are found in /proc")
@pytest.mark.parametrize(
    ("flags", "end", "cause", "seconds"),
    [
        (TWO, kill, "process 1 of the run was ended by SIGKILL", SECONDS),
        ((*TWO, "--cache_images", "false"), lose_an_image, r"ValueError: .*\.png\) cannot be decoded", SECONDS),
        (
            (*TWO, *SUSPENDED),
            suspend,
            "mg-vtc train: A process of the run did not take part within --ddp_timeout seconds",
            SECONDS + LAUNCHER,
        ),
        (
            ("--dataloader_num_workers", "2", "--dataloader_persistent_workers", "true"),
            kill,
            "DataLoader worker .* is killed by signal: Killed",
            SECONDS,
        ),
    ],
    ids=["one of two processes", "an error in one of two", "one of two is suspended", "a loader worker"],
)
def test_lost_process_ends_the_run_with_the_cause(images_dir, tmp_path, flags, end, cause, seconds):
    images = shutil.copytree(images_dir, tmp_path / "images")
    towers = ("--vision_config", json.dumps(TINY_RESNET), "--image_size", "32", "--num_train_epochs", "5000")
    command = [sys.executable, "-m", "mg_vtc", "train", "vision_only", "--train_dir", images, *towers, *flags]
    command += ["--output_dir", tmp_path / "run", "--report_to", "none", "--per_device_train_batch_size", "4"]
    screen = tmp_path / "screen.txt"
    with screen.open("w") as file:
        run = subprocess.Popen(
            list(map(str, command)),
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        while "epoch     2/5000" not in screen.read_text():
            assert run.poll() is None, screen.read_text()
            time.sleep(0.1)
        others = find_children(run.pid)
        end(find_second(others), images)
        assert run.wait(seconds) == 1
        assert not [pid for pid in others if Path(f"/proc/{pid}").exists()]
    finally:
        if run.poll() is None:
            for pid in (*find_children(run.pid), run.pid):
                os.kill(pid, signal.SIGKILL)
    assert re.search(cause, screen.read_text()), screen.read_text()

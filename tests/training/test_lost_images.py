"""Images that are damaged or vanish after the check end a training in one line that names the file."""

import os
import shutil
import subprocess
import sys
import time

import pytest
from chaos_runs import TINY, draw_images, flags_of

LONG = TINY | {"num_train_epochs": 500, "cache_images": "false"}


def cut_off(folder):
    for path in folder.rglob("*.png"):
        start = path.with_suffix(".start")
        start.write_bytes(path.read_bytes()[:200])
        start.replace(path)  # at once: a run that reads an empty file would call it no image


@pytest.mark.slow
@pytest.mark.parametrize("num_workers", ["0", "1"])
@pytest.mark.parametrize(("lose", "reason"), [(cut_off, "truncated"), (shutil.rmtree, "No such file")])
def test_image_that_is_lost_in_the_training_is_named_in_one_line(lose, reason, num_workers, tmp_path):
    images, screen = draw_images(tmp_path / "images"), tmp_path / "screen.txt"
    command = [sys.executable, "-m", "mg_vtc", "train", *flags_of(LONG), "--dataloader_num_workers", num_workers]
    with screen.open("w") as file:
        run = subprocess.Popen(
            [*command, "--train_dir", str(images), "--output_dir", str(tmp_path / "run")],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        while "epoch     1/500" not in screen.read_text():
            assert run.poll() is None, screen.read_text()
            time.sleep(0.05)
        lose(images)
        assert run.wait(60) == 1  # it waited for its workers for ever
    finally:
        run.kill()
    *_, last = screen.read_text().splitlines()
    assert last.startswith("mg-vtc")
    assert ".png) cannot be decoded" in last
    assert reason in last
    assert "Traceback" not in screen.read_text()

"""The training command as a process: started, waited for, killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]


def start(*arguments, launcher=()):
    """Start the command in a group of its own, so that a kill takes all of it."""
    return subprocess.Popen(
        [sys.executable, *launcher, "train.py", *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(process):
    screen, _ = process.communicate(timeout=120)
    assert process.returncode == 0, screen
    return screen


def is_complete(checkpoint):
    state = checkpoint / "trainer_state.json"  # written last
    return state.is_file() and state.read_text().endswith("\n}\n")


def kill_after(process, checkpoint):
    """Kill the command, `kill -9`, as soon as a checkpoint is complete."""
    while not is_complete(checkpoint):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL

"""Signals: a checkpoint is saved, the run asks to be run again, and it ends with the bytes of an undisturbed one."""

import copy
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest
from conftest import make_rows
from torch.utils.data import _utils
from torch.utils.data._utils.worker import _worker_loop
from transformers import TrainerCallback

from mg_vtc.runs.manifest import find_damage
from mg_vtc.runs.results_table import tabulate
from mg_vtc.training import preemption
from mg_vtc.training import run as training_run
from mg_vtc.training.preemption import (
    ENDS_SOON,
    EXIT_CODE,
    SAME_SIGNAL,
    SIGNALS,
    Interrupted,
    check_signals,
    deferring_signals,
    watching_signals,
)

STEPS = {"max_steps": -1, "num_train_epochs": 3, "eval_strategy": "epoch", "load_best_model_at_end": False}


class SendSignal(TrainerCallback):
    """Send this process a signal at an event of a step."""

    def __init__(self, event, step, number=signal.SIGTERM):
        self._step, self._number = step, number
        setattr(self, event, self._send)

    def _send(self, args, state, control, **kwargs):
        if state.global_step == self._step:
            self._step = None
            os.kill(os.getpid(), self._number)
            time.sleep(0.01)


@pytest.fixture
def train(make_trainer, model, tmp_path):
    """Train four steps an epoch on noise with dropout, and return the weights; with callbacks, under a watch."""

    def run(*callbacks, resume=None, **settings):
        trainer = make_trainer(copy.deepcopy(model), train=make_rows(32), **(STEPS | settings))
        for callback in callbacks:
            trainer.add_callback(callback)
        with watching_signals(), deferring_signals(trainer):
            trainer.train(resume_from_checkpoint=resume)
        return {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}, trainer.state.log_history

    return run


def assert_equal(first, second):
    assert first.keys() == second.keys()
    assert not [name for name in first if not first[name].equal(second[name])]


@pytest.mark.parametrize("name", SIGNALS)
def test_signal_saves_a_whole_checkpoint_after_the_step(name, train, tmp_path):
    with pytest.raises(Interrupted, match=f"ended by {name} after step 3, whose checkpoint was saved"):
        train(SendSignal("on_step_begin", 2, signal.Signals[name]))
    assert sorted(os.listdir(tmp_path)) == ["checkpoint-3", "train_batch.jpg"]
    assert find_damage(tmp_path / "checkpoint-3") == []


@pytest.mark.parametrize(
    ("event", "step", "saved"),
    [
        ("on_step_begin", 5, 6),  # in mid-epoch
        ("on_step_begin", 3, 4),  # the last step of an epoch: its evaluation comes before the checkpoint
        ("on_prediction_step", 8, 8),  # in an evaluation
        ("on_step_begin", 11, 12),  # the last step of the training
        ("on_save", 4, 4),
    ],
)
@pytest.mark.parametrize("strategy", ["epoch", "steps", "no"])
def test_interrupted_run_ends_with_the_bytes_and_scores_of_an_undisturbed_one(
    strategy, event, step, saved, train, tmp_path
):
    settings = {"save_strategy": strategy} | ({"save_steps": 4} if strategy == "steps" else {})
    if strategy == "no" and event == "on_save":
        pytest.skip("nothing is saved")
    if strategy == "no" and event == "on_prediction_step":
        saved += 1  # as nothing is saved after that evaluation
    whole, history = train(**settings)
    with pytest.raises(Interrupted, match=f"after step {saved}, whose"):
        train(SendSignal(event, step), **settings)
    resumed, resumed_history = train(resume=str(tmp_path / f"checkpoint-{saved}"), **settings)
    assert_equal(whole, resumed)
    assert tabulate(history) == tabulate(resumed_history)


def test_checkpoint_of_the_last_step_of_an_epoch_is_resumed_bit_for_bit_though_only_steps_are_saved(train, tmp_path):
    settings = {"save_strategy": "steps", "save_steps": 4, "save_total_limit": None}
    whole, history = train(**settings)
    resumed, resumed_history = train(resume=str(tmp_path / "checkpoint-4"), **settings)
    assert_equal(whole, resumed)
    assert tabulate(history) == tabulate(resumed_history)


def test_interrupted_run_saves_its_whole_state_even_if_others_save_the_model_alone(train, tmp_path):
    with pytest.raises(Interrupted, match="after step 3"):
        train(SendSignal("on_step_begin", 2), save_only_model=True)
    assert (tmp_path / "checkpoint-3" / "optimizer.pt").is_file()


def test_signal_before_the_training_ends_the_run_there():
    with watching_signals(), pytest.raises(Interrupted, match="ended by SIGTERM before the training began"):
        signal.raise_signal(signal.SIGTERM)


def test_signal_in_predictions_ends_the_run_before_its_results(make_trainer):
    trainer = make_trainer()
    trainer.add_callback(SendSignal("on_prediction_step", 0, signal.SIGUSR1))
    with pytest.raises(Interrupted, match="before its results"), watching_signals(), deferring_signals(trainer):
        trainer.predict(make_rows(40))


class SignalWorkers(TrainerCallback):
    """Send the workers of an evaluation a signal, as their whole group gets it."""

    def __init__(self):
        self.received = set()

    def on_prediction_step(self, args, state, control, **kwargs):
        for worker in multiprocessing.active_children():
            if worker.pid not in self.received:
                os.kill(worker.pid, signal.SIGTERM)
                self.received.add(worker.pid)


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_workers_of_an_evaluation_outlive_a_signal(make_trainer):
    signals = SignalWorkers()
    trainer = make_trainer(dataloader_num_workers=2, dataloader_prefetch_factor=1, per_device_eval_batch_size=4)
    trainer.add_callback(signals)
    with watching_signals():
        scores = trainer.predict(make_rows(40))
    assert scores.predictions.shape[0] == 40
    assert len(signals.received) == 2


def ask_whether_signals_are_blocked():
    os._exit(len(signal.pthread_sigmask(signal.SIG_BLOCK, []) & {signal.SIGTERM, signal.SIGINT, signal.SIGUSR1}))


def signalled_worker_loop(*args):
    """What a worker does whose group gets a signal before its first line."""
    os.kill(os.getpid(), signal.SIGTERM)
    _worker_loop(*args)


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
@pytest.mark.parametrize(
    "method", ["fork", *(pytest.param(one, marks=pytest.mark.slow) for one in ("spawn", "forkserver"))]
)
def test_workers_outlive_a_signal_that_they_get_while_they_start(method, make_trainer, monkeypatch):
    monkeypatch.setattr(_utils.worker, "_worker_loop", signalled_worker_loop)
    workers = {"dataloader_num_workers": 1, "dataloader_multiprocessing_context": method}
    trainer = make_trainer(max_steps=1, **workers)
    with watching_signals():
        assert trainer.train().global_step == 1
        assert trainer.predict(make_rows(4)).predictions.shape[0] == 4


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_signals_are_blocked_only_while_a_worker_starts(make_trainer):
    with watching_signals():
        loader = make_trainer(dataloader_num_workers=1).get_train_dataloader()
        process = loader.multiprocessing_context.Process(target=ask_whether_signals_are_blocked)
        process.start()
        assert not signal.pthread_sigmask(signal.SIG_BLOCK, []) & {signal.SIGTERM, signal.SIGINT, signal.SIGUSR1}
        process.join()
    assert process.exitcode == 3


def test_process_whose_launcher_ends_it_does_not_wait_for_that(monkeypatch):
    def lose_the_other_process(arguments):
        preemption._WATCH.get().note(signal.SIGTERM)
        raise RuntimeError("Connection closed by peer")

    monkeypatch.setattr(training_run, "train_recipe", lose_the_other_process)
    monkeypatch.setattr(training_run.time, "sleep", None)
    with pytest.raises(SystemExit, match="another process of the run has ended"):
        training_run.main([])


def test_signal_while_results_are_written_is_seen_before_the_next_run(make_trainer):
    with watching_signals():
        with deferring_signals(make_trainer()):
            os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Interrupted, match="ended by SIGTERM between two runs"):
            check_signals("between two runs")


def test_signals_are_handled_as_before_after_the_run():
    before = [signal.getsignal(signal.Signals[name]) for name in SIGNALS]
    with watching_signals():
        assert signal.getsignal(signal.SIGTERM) not in before
    assert [signal.getsignal(signal.Signals[name]) for name in SIGNALS] == before


def test_trainer_in_python_leaves_signals_alone(make_trainer):
    trainer = make_trainer()
    trainer.add_callback(SendSignal("on_step_begin", 0, signal.SIGINT))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        with pytest.raises(KeyboardInterrupt) as interrupt:
            trainer.train()
    finally:
        signal.signal(signal.SIGINT, before)
    assert not isinstance(interrupt.value, Interrupted)


# The command


def start(folder, *flags):
    """Start the command in a group of its own, on images that are learned for minutes."""
    command = (
        sys.executable,
        "-m",
        "mg_vtc",
        "train",
        "demo",
        "--output_dir",
        folder,
        "--num_train_epochs",
        99,
        *flags,
    )
    return subprocess.Popen(
        [*map(str, command), "--resume_from_checkpoint", "auto"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )


def wait_for_a_line(process, words):
    for line in process.stdout:
        if words in line:
            return
    raise AssertionError(process.stderr.read())


def end(process):
    """Wait for the end; return the exit code, the lines of the command on stderr, and the seconds."""
    begun = time.monotonic()
    _, errors = process.communicate(timeout=300)
    others = ("[W", "This DataLoader will create")  # torch's own, the second where the machine has one core
    lines = [line for line in errors.splitlines() if not any(words in line for words in others)]
    return process.returncode, lines, time.monotonic() - begun


def find_workers(process):
    children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True)
    return [int(pid) for pid in children.stdout.split()]


FINISHED = {"README.md", "all_results.json", "model.safetensors", "config.json", "results", "provenance.json"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "num_workers"), [(signal.SIGTERM, 2), (signal.SIGINT, 2), (signal.SIGUSR1, 0)], ids=str
)
def test_command_ends_with_the_code_to_be_run_again_and_a_line_that_says_how(number, num_workers, tmp_path):
    process = start(tmp_path / "run", "--dataloader_num_workers", num_workers)
    wait_for_a_line(process, "epoch     1/")
    os.killpg(process.pid, number)
    code, lines, seconds = end(process)
    assert code == EXIT_CODE == os.EX_TEMPFAIL
    received, line = lines
    assert received == f"mg-vtc train: received {number.name}: {ENDS_SOON}"
    assert line.startswith(f"mg-vtc train: ended by {number.name} after step ")
    assert line.endswith("to go on, repeat the command with --resume_from_checkpoint auto")
    assert seconds < 10
    assert not FINISHED & set(os.listdir(tmp_path / "run"))
    step = line.partition("after step ")[2].partition(",")[0]
    assert find_damage(tmp_path / "run" / f"checkpoint-{step}") == []


@pytest.mark.slow
@pytest.mark.parametrize("to", ["launcher", "one worker", "all"])
def test_two_processes_save_one_checkpoint_whichever_gets_the_signal(to, tmp_path):
    process = start(tmp_path / "run", "--num_processes", 2)
    wait_for_a_line(process, "epoch     1/")
    workers = find_workers(process)
    receivers = {"launcher": [process.pid], "one worker": workers[-1:], "all": [process.pid, *workers]}
    for pid in receivers[to]:
        os.kill(pid, signal.SIGUSR1)
    code, lines, seconds = end(process)
    *received, line = lines
    assert code == EXIT_CODE, lines
    assert line.startswith("mg-vtc train: ended by SIGUSR1 after step ")
    said = [f"mg-vtc train: received SIGUSR1: {ENDS_SOON}"]  # by the first process alone
    assert received == said or (to == "one worker" and not received), lines
    assert seconds < 20
    assert not FINISHED & set(os.listdir(tmp_path / "run"))
    last = tmp_path / "run" / f"checkpoint-{line.partition('after step ')[2].partition(',')[0]}"
    assert find_damage(last) == []
    assert (last / "rng_state_1.pth").is_file()


@pytest.mark.slow
def test_second_signal_ends_at_once(tmp_path):
    script = """
import signal, sys, time
from mg_vtc.training.preemption import watching_signals
with watching_signals() as watch:
    watch.deferring = True
    print("ready", flush=True)
    while True:
        time.sleep(0.1)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_for_a_line(process, "ready")
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGTERM)  # the same, passed on by a launcher
    try:
        assert process.stderr.readline() == f"mg-vtc train: received SIGTERM: {ENDS_SOON}\n"
        time.sleep(SAME_SIGNAL + 0.2)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        code, lines, seconds = end(process)
    finally:
        process.kill()
    assert (code, seconds < 1) == (EXIT_CODE, True)
    assert [line.partition(";")[0] for line in lines] == ["mg-vtc train: ended at once by a second signal"]

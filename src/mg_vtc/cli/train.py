"""`mg-vtc train`: train a model by a recipe, in this process or with accelerate's launcher."""

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

TRAINING = "mg_vtc.training.run"  # the module that the launcher starts
OUT_OF_MEMORY = (
    "Often the memory was full: lower --per_device_train_batch_size or --dataloader_num_workers. To resume from the "
    "last checkpoint, add --resume_from_checkpoint true."
)
# Flags without which the launcher prints a notice.
LAUNCHER_DEFAULTS = {"--num_machines": "1", "--mixed_precision": "no", "--dynamo_backend": "no"}
# Flags that say how processes find each other; without them, they are on this machine.
OF_RENDEZVOUS = {"__config_file", "__num_machines", "__machine_rank", "__main_process_ip", "__main_process_port"}
OF_RENDEZVOUS |= {"__rdzv_backend", "__rdzv_conf"}
PASSED_ON = "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1"  # signals that the launcher passes on to the processes


def add_parser(verbs: Any) -> None:
    verbs.add_parser("train", help="train a model by a recipe", add_help=False)


def train(arguments: Sequence[str]) -> None:
    """Train a recipe, overridden by flags; without arguments, list the recipes.

    Flags of `accelerate launch`, such as `--num_processes 2`, are passed to it.

    Raises:
        SystemExit: The user's input is at fault, or a process of the launcher failed.
    """
    if not arguments:
        _print_recipes()
        return
    from ..training.recipe import list_flags

    launcher, arguments = _split_launcher_flags(arguments, list_flags())
    if launcher:
        _launch(launcher, arguments)
        return
    from ..training.run import main

    try:
        main(arguments)
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        sys.exit(f"mg-vtc train: {describe_lost_worker(error)} {OUT_OF_MEMORY}")


def describe_lost_worker(error: RuntimeError) -> str:
    """Return PyTorch's sentence that names the signal; it is the cause of `error` if a batch was waited for."""
    cause = error.__cause__
    known = cause if isinstance(cause, RuntimeError) and "DataLoader worker" in str(cause) else error
    return f"{' '.join(str(known).split()).rstrip('.')}."


def _print_recipes() -> None:
    from ..recipes import list_recipes

    recipes = list_recipes()
    width = max(map(len, recipes))
    print("Give a recipe:  mg-vtc train RECIPE [--train_dir FOLDER] [--output_dir RUN] [--flag value ...]\n")
    for name, sentence in recipes.items():
        print(f"  {name:{width}}  {sentence}")
    print("\nA path that ends in .yaml is a recipe of your own. All flags:  mg-vtc train --help")


def _split_launcher_flags(arguments: Sequence[str], own: set[str]) -> tuple[list[str], list[str]]:
    """Return the flags of the launcher with their values, and the other arguments."""
    if not [word for word in arguments if word.startswith("-") and word.partition("=")[0] not in own]:
        return [], list(arguments)
    from accelerate.commands.launch import launch_command_parser

    actions = launch_command_parser()._option_string_actions
    launcher: list[str] = []
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        flag, sign, _ = word.partition("=")
        if flag in own or flag not in actions:
            rest.append(word)
            continue
        if actions[flag].dest == "mixed_precision":
            sys.exit("mg-vtc train: --mixed_precision is a flag of the launcher: give --bf16 or --fp16 instead.")
        launcher.append(word)
        if actions[flag].nargs != 0 and not sign:
            launcher += [value for value in (next(words, None),) if value is not None]
    return launcher, rest


def _launch(launcher: list[str], arguments: list[str]) -> None:
    """Start the processes of a run and wait for them, without messages of the launcher."""
    from accelerate.commands.launch import launch_command, launch_command_parser
    from torch.distributed.elastic.agent.server import api as agent_api
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing import api as multiprocessing_api
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    from ..training.preemption import EXIT_CODE

    given = {word.partition("=")[0].replace("-", "_") for word in launcher}
    defaults = {} if "__config_file" in given else dict(LAUNCHER_DEFAULTS)
    if not given & {"__config_file", "__num_machines", "__machine_rank"}:
        defaults["--main_process_port"] = "0"  # a free one: other runs may be on this machine
    launcher = [*(word for flag in defaults.items() for word in flag), *launcher]  # the last one counts
    parser = launch_command_parser()
    parser.error = lambda message: sys.exit(f"mg-vtc train: {message}")  # without pages of usage
    options = parser.parse_args([*launcher, "--module", TRAINING, *arguments])
    options.multi_gpu = options.multi_gpu or (options.num_processes or 1) > 1  # also without GPUs, over gloo
    options.cpu = options.cpu and not options.multi_gpu
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    options.signals_to_handle = PASSED_ON
    # else restarted processes find the addresses of those that failed, and wait for them
    options.standalone = not given & OF_RENDEZVOUS
    os.environ.setdefault("TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "1")
    for logger in (multiprocessing_api.logger, agent_api.logger):  # the processes print their errors
        logger.setLevel(logging.CRITICAL)
    try:
        launch_command(options)
    except SignalException:  # the processes have ended, and the first one has printed how to go on
        sys.exit(EXIT_CODE)
    except ChildFailedError as error:
        _end_like(*error.get_first_failure(), exit_codes={failure.exitcode for failure in error.failures.values()})
    except subprocess.CalledProcessError as error:
        sys.exit(EXIT_CODE if error.returncode == EXIT_CODE else 1)
    except (ValueError, OSError) as error:  # of the launcher itself
        sys.exit(f"mg-vtc train: {error}")


def _end_like(rank: int, first: Any, exit_codes: set[int]) -> None:
    """End as failed processes did: interrupted, at fault, or killed."""
    from ..training.preemption import EXIT_CODE

    if EXIT_CODE in exit_codes:
        sys.exit(EXIT_CODE)
    if first.exitcode >= 0:  # it has printed its error
        sys.exit(1)
    name = signal.Signals(-first.exitcode).name
    sys.exit(f"mg-vtc train: process {rank} of the run was ended by {name}, and the others with it. {OUT_OF_MEMORY}")

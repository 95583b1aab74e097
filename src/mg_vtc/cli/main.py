"""The `mg-vtc` command, whose commands are the other files of this folder."""

import argparse
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence

from .. import __version__
from ..messages import name_flags
from . import (
    app,
    benchmark,
    calibrate,
    compare,
    cross_evaluate,
    evaluate,
    export,
    interpolate,
    predict,
    prepare,
    push,
    push_space,
    train,
)

EXTRA_OF = (
    dict.fromkeys(("onnx", "onnx_ir", "onnxruntime", "onnxscript"), "onnx")
    | dict.fromkeys(("matplotlib", "sklearn"), "report")
    | {"gradio": "space", "av": "video", "peft": "peft"}
)  # module: the extra that installs it
SWITCH_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command.

    Raises:
        SystemExit: The user's input is at fault, which is printed in one line.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        if arguments[:1] == ["train"]:  # whose flags are those of recipes
            train.train(arguments[1:])
        else:
            _run_verb(arguments)
    except ModuleNotFoundError as error:
        if error.name not in EXTRA_OF:
            raise
        _stop(f'{error.name} is not installed: pip install "mg-vtc[{EXTRA_OF[error.name]}]"')
    except BrokenPipeError:  # the reader, such as `head`, has stopped
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is left in the buffer
        sys.exit(1)
    except (ValueError, OSError) as error:
        _stop(name_flags(str(error)))
    except KeyboardInterrupt:
        print("mg-vtc: ended by Ctrl-C", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)


def _run_verb(arguments: list[str]) -> None:
    parser = _build_parser()
    options = parser.parse_args(_read_switches(arguments, parser))
    warnings.formatwarning = lambda message, *_: f"warning: {name_flags(str(message))}\n"
    options.run(options)


def _read_switches(arguments: Sequence[str], parser: argparse.ArgumentParser) -> list[str]:
    """Read `--flag true` as `--flag` and drop `--flag=false`, as in `mg-vtc train`."""
    switches = set(_find_switches(parser))
    read: list[str] = []
    words = [word for argument in arguments for word in _part_switch(argument, switches)]
    for place, word in enumerate(words):
        if place > 0 and words[place - 1] in switches and word.lower() in SWITCH_WORDS:
            if not SWITCH_WORDS[word.lower()]:
                read.pop()
        else:
            read.append(word)
    return read


def _find_switches(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Yield the switches of a parser and of its commands."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _find_switches(command)
        elif isinstance(action, argparse._StoreTrueAction):
            yield from action.option_strings


def _part_switch(argument: str, switches: set[str]) -> list[str]:
    flag, sign, value = argument.partition("=")
    return [flag, value] if sign and flag in switches else [argument]


def _stop(message: str) -> None:
    lines = [" ".join(line.split()) for line in message.splitlines() if line.strip()]
    sys.exit("mg-vtc: " + "\n  ".join(lines))


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mg-vtc",
        description="Train micro-gesture models by recipes, and use them.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"mg-vtc {__version__}")
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in (
        *(train, prepare, evaluate, calibrate, compare, cross_evaluate, predict, export, benchmark, interpolate),
        *(app, push, push_space),
    ):
        command.add_parser(verbs)
    return parser

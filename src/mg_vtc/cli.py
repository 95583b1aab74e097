"""The `mg-vtc` command: what comes before training and after it. Its verbs are in `commands`."""

import argparse
import os
import sys
import warnings
from collections.abc import Sequence

from . import __version__
from .commands import demo_app, evaluate, export, predict, prepare, publish, publish_space

EXTRA_OF = (
    dict.fromkeys(("onnx", "onnx_ir", "onnxruntime", "onnxscript"), "onnx")
    | dict.fromkeys(("matplotlib", "sklearn"), "report")
    | {"gradio": "space", "av": "video"}
)  # module: extra that brings it


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command.

    Raises:
        SystemExit: It is done, or the user's input is at fault, which is then told in one line.
    """
    options = _build_parser().parse_args(arguments)
    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"
    try:
        options.run(options)
    except ModuleNotFoundError as error:
        if error.name not in EXTRA_OF:
            raise
        _stop(f'{error.name} is not installed: pip install "mg-vtc[{EXTRA_OF[error.name]}]"')
    except BrokenPipeError:  # whoever reads, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is left in the buffer
        sys.exit(1)
    except (ValueError, OSError) as error:
        _stop(str(error))


def _stop(message: str) -> None:
    sys.exit(f"mg-vtc: {' '.join(message.split())}")


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mg-vtc",
        description="Make data ready for train.py, and use the models of micro-gestures that it trains.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"mg-vtc {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    for command in (prepare, evaluate, predict, export, demo_app, publish, publish_space):
        command.add_parser(verbs)
    return parser


if __name__ == "__main__":
    main()

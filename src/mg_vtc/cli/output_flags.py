"""The flags `--output` and `--overwrite` of commands that also write their scores as JSON."""

import argparse
import json
from pathlib import Path
from typing import Any

from ..files import atomic_write
from ..messages import escape


def add_output_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags to a command."""
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the scores as JSON to FILE, too")
    parser.add_argument("--overwrite", action="store_true", help="replace FILE")


def check_output(options: argparse.Namespace) -> None:
    """Check that the file can be written, before the command does any work.

    Raises:
        ValueError: It exists and is not to be replaced, or it is a folder.
    """
    if options.output is None:
        return
    if options.output.is_dir():
        raise ValueError(f"{options.output} is a folder: --output needs the name of a file.")
    if options.output.exists() and not options.overwrite:
        raise ValueError(f"{options.output} exists: choose another --output, or add --overwrite.")


def write_output(path: Path, scores: Any) -> None:
    """Write the scores, and print the name of the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        file.write(f"{json.dumps(scores, indent=1, allow_nan=False)}\n".encode())
    print(escape(str(path)))

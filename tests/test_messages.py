"""Messages of the library name arguments in backticks, which are flags of the command line."""

import ast
import re
from pathlib import Path

import pytest

from mg_vtc.cli.main import _build_parser
from mg_vtc.messages import name_flags
from mg_vtc.training.recipe import list_flags

SOURCES = sorted((Path(__file__).parents[1] / "src" / "mg_vtc").rglob("*.py"))


def texts_raised(path):
    """The texts of errors and warnings in a source."""
    for node in ast.walk(ast.parse(path.read_text())):
        is_warning = isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "warn"
        if isinstance(node, ast.Raise) or is_warning:
            yield from (
                one.value for one in ast.walk(node) if isinstance(one, ast.Constant) and isinstance(one.value, str)
            )


@pytest.fixture(scope="module")
def flags():
    return set(flags_of(_build_parser())) | list_flags()


def flags_of(parser):
    yield from parser._option_string_actions
    for action in parser._actions:
        if isinstance(action.choices, dict):  # commands
            for command in action.choices.values():
                yield from flags_of(command)


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("set `overwrite`.", "set --overwrite."),
        ("(`resume_from_checkpoint=True`)", "(--resume_from_checkpoint true)"),
        ("`split='all'` scores all rows", "--split all scores all rows"),
        ("repeat with `missing_class=NAME` to", "repeat with --missing_class NAME to"),
        ("Set `image_column` and", "Set --image_column_name and"),
        ("run `hf auth login`", "run `hf auth login`"),
    ],
)
def test_arguments_become_flags(message, shown):
    assert name_flags(message) == shown


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_each_argument_in_a_message_is_a_flag(path, flags):
    shown = [name_flags(text) for text in texts_raised(path) if "`" in text]
    named = {flag for text in shown for flag in re.findall(r"--[a-z0-9_]+", text)}
    assert named <= flags | {"--multi_gpu", "--num_processes"}  # of the launcher

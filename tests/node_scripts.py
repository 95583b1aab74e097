"""Scripts of `tests/node`, run with the packages that `make node-packages` has fetched."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).with_name("node")


def require_node(package):
    """The folder of a package of the version that package.json pins; the test is skipped where one is missing."""
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    folder = FOLDER / "node_modules" / package
    if not folder.is_dir():
        pytest.skip(f"{package} is not here: make node-packages")
    wanted = json.loads((FOLDER / "package.json").read_text())["devDependencies"]
    assert json.loads((folder / "package.json").read_text())["version"] == wanted[package]
    return folder


def run_node(script, question):
    """What a script prints for a question, both as JSON."""
    done = subprocess.run(
        ["node", FOLDER / script], input=json.dumps(question), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)

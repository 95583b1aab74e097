"""Build `.compat/`, which git ignores: an environment with the oldest versions that pyproject.toml allows.

torch alone is that of constraints.txt: of old versions, the package index has builds for CUDA only, of gigabytes.
"""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".compat"
PYTHON = FOLDER / "bin" / "python"
PINS = FOLDER / "oldest.txt"


def oldest_versions() -> list[str]:
    """Pins of the lower bounds of the project's dependencies, such as "numpy==2"."""
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    pins = [re.sub(r">=([^,]+).*", r"==\1", dependency) for dependency in dependencies]
    pinned = (ROOT / "constraints.txt").read_text().splitlines()
    return [pin for pin in pins if not pin.startswith("torch=")] + [pin for pin in pinned if pin.startswith("torch=")]


def build() -> None:
    """Build the environment, unless it is there with these versions.

    Raises:
        subprocess.CalledProcessError: The lower bounds cannot be installed together; pip's message is shown.
    """
    pins = "\n".join(oldest_versions())
    if PINS.exists() and PINS.read_text() == pins:
        return
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(FOLDER)], check=True)
    (FOLDER / "wanted.txt").write_text(pins)
    pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--constraint", str(FOLDER / "wanted.txt"), "--editable", str(ROOT)], check=True)
    (FOLDER / "wanted.txt").rename(PINS)


if __name__ == "__main__":
    build()

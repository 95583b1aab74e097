"""Write `requirements.lock`: all packages that the tests need, with the SHA-256 of each of their files.

    python .ci/lock.py

The packages are those of the extra `dev`, for all Python versions and platforms, in the versions of `constraints.txt`.
torch and its CUDA libraries are left out: their builds differ by package index.
"""

import re
import subprocess
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements.lock"
COMPILER = "uv==0.13.9"
OF_TORCH = re.compile(r"(torch|triton|nvidia-.*|cuda-.*)==")
HEADER = """\
# All packages that the tests need but torch and its CUDA libraries, with hashes; written by `make lock`.
"""


def resolve() -> str:
    """Return the pins with their hashes.

    Raises:
        subprocess.CalledProcessError: The package index cannot be reached, or the versions exclude each other.
    """
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        install = [Path(folder, "bin", "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, COMPILER], check=True)
        compile_pins = [Path(folder, "bin", "uv"), "pip", "compile", "pyproject.toml", "--extra", "dev"]
        compile_pins += ["--constraint", "constraints.txt", "--universal", "--python-version", "3.11", "--quiet"]
        compile_pins += ["--generate-hashes", "--no-header", "--no-annotate", "--no-emit-index-url"]
        return subprocess.run(compile_pins, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def without_torch(pins: str) -> str:
    """Return the pins, each with the lines of its hashes, but torch and its CUDA libraries."""
    each = re.split(r"^(?=\S)", pins, flags=re.MULTILINE)
    return "".join(one for one in each if not OF_TORCH.match(one))


if __name__ == "__main__":
    LOCK.write_text(HEADER + without_torch(resolve()))

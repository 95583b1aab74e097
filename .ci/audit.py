"""Compare the installed packages with known vulnerabilities, and list their licences.

`pip-audit` runs in an environment of its own, which leaves that of the project as it is. Where the package index or
its list of vulnerabilities cannot be reached in time, this is said and nothing fails.
"""

import json
import subprocess
import sys
import tempfile
import venv
from collections import defaultdict
from collections.abc import Sequence
from importlib.metadata import distributions
from pathlib import Path

AUDITOR = "pip-audit==2.10.1"
SECONDS = 120  # for the installation, and for the comparison


def list_licences() -> dict[str, list[str]]:
    """Return the installed packages by licence."""
    found = defaultdict(list)
    for package in distributions():
        data = package.metadata
        kinds = [
            kind.rpartition(" :: ")[2] for kind in data.get_all("Classifier") or [] if kind.startswith("License ::")
        ]
        stated = (data.get("License") or "").strip().partition("\n")[0][:60]
        licence = data.get("License-Expression") or ", ".join(kinds) or stated or "not stated"
        found[licence].append(f"{data['Name']} {package.version}")
    return {licence: sorted(set(found[licence]), key=str.lower) for licence in sorted(found, key=str.lower)}


def run(command: Sequence[str | Path]) -> subprocess.CompletedProcess | None:
    """Run a command without input; return nothing if it takes too long."""
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=SECONDS, stdin=subprocess.DEVNULL, check=False
        )
    except subprocess.TimeoutExpired:
        return None


def find_vulnerabilities() -> list[str] | None:
    """Return known vulnerabilities of the installed packages, or nothing if they cannot be looked up."""
    pinned = sorted({f"{package.metadata['Name']}=={package.version}" for package in distributions()} - own_package())
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder, "bin", "python")
        installed = run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", AUDITOR])
        if installed is None or installed.returncode != 0:
            return None
        wanted = Path(folder, "installed.txt")
        wanted.write_text("\n".join(pinned))
        audit = [python, "-m", "pip_audit", "--format", "json", "--progress-spinner", "off", "--timeout", "10"]
        done = run([*audit, "--no-deps", "--disable-pip", "--requirement", wanted])
    if done is None or not done.stdout.startswith("{"):
        return None
    packages = json.loads(done.stdout)["dependencies"]
    return [
        f"{package['name']} {package['version']}: {fault['id']}, fixed in {', '.join(fault['fix_versions']) or 'none'}"
        for package in packages
        for fault in package.get("vulns", ())
    ]


def own_package() -> set[str]:
    """Return the package of this project, which no index has."""
    return {f"{package.metadata['Name']}=={package.version}" for package in distributions(name="mg-vtc")}


def main() -> None:
    for licence, packages in list_licences().items():
        print(f"{licence}: {', '.join(packages)}")
    found = find_vulnerabilities()
    if found is None:
        print("Known vulnerabilities could not be looked up: the index cannot be reached. Nothing was compared.")
    elif found:
        sys.exit("\n".join(["Known vulnerabilities:", *found]))
    else:
        print("No known vulnerabilities.")


if __name__ == "__main__":
    main()

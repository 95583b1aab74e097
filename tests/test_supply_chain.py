"""Dependencies are pinned with hashes, and the checks of OpenSSF Scorecard hold that a repository alone can pass."""

import re
import runpy
import subprocess
import sys
import tomllib
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from mg_vtc.exporters.web_runtime import LIBRARIES

ROOT = Path(__file__).parents[1]
TRACKED = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
SECURITY = (ROOT / "SECURITY.md").read_text()
CI_RUN = (ROOT / ".ci" / "run").read_text()
LOCK = (ROOT / "requirements.lock").read_text()
LOCKING = runpy.run_path(str(ROOT / ".ci" / "lock.py"))
OF_TORCH = LOCKING["OF_TORCH"]
PIN = re.compile(r"([\w.-]+)==([\w.]+)(?: ; (.+))?((?: \\\n    --hash=sha256:[0-9a-f]{64})+)\n")
FROM_ELSEWHERE = re.compile(r"https?:|index-url|find-links|@ ")


def pins_of(lock):
    """Versions of each package, with their markers."""
    found = {}
    for name, version, marker, _ in PIN.findall(lock):
        found.setdefault(name, []).append((version, marker))
    return found


def read_requirements():
    """Requirements of the project and those of its extras, by name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    return project["dependencies"], {name: list(map(Requirement, texts)) for name, texts in extras.items()}


def list_needed():
    """Requirements of the extra `dev` and, as the installed packages state them, of all that it needs."""
    own, extras = read_requirements()
    waiting = [*map(Requirement, own), *extras["dev"]]
    seen = set()
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        if name == "mg-vtc":
            waiting += [one for extra in wanted.extras for one in extras[extra]]
            continue
        if (name, str(wanted)) in seen:
            continue
        seen.add((name, str(wanted)))
        yield name, wanted.specifier
        for one in map(Requirement, distribution(name).requires or ()):
            if any(one.marker is None or one.marker.evaluate({"extra": extra}) for extra in ("", *wanted.extras)):
                waiting.append(one)


def test_each_pin_of_the_lock_has_hashes_and_no_place():
    assert "".join(pin[0] for pin in PIN.finditer(LOCK)) == LOCK.removeprefix(LOCKING["HEADER"])
    assert not FROM_ELSEWHERE.search(LOCK)


def test_lock_has_the_versions_of_constraints():
    pins = pins_of(LOCK)
    _, extras = read_requirements()
    not_tested = {canonicalize_name(one.name) for extra in ("timm", "conformance") for one in extras[extra]}
    lines = [line.split()[0] for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line]
    constraints = {canonicalize_name(line.split("==")[0]): line.split("==")[1] for line in lines if line[0] != "#"}
    assert constraints.keys() - pins.keys() == {"torch"} | (not_tested - {"mg-vtc"})
    for name in constraints.keys() & pins.keys():
        assert [version for version, _ in pins[name]] == [constraints[name]], name


def test_lock_has_all_that_the_tests_need_but_torch():
    pins = pins_of(LOCK)
    needed = list(list_needed())
    assert {"numpy", "pluggy", "selenium", "starlette"} <= {name for name, _ in needed}  # some are needed by others
    for name, specifier in needed:
        if OF_TORCH.match(f"{name}=="):
            assert name not in pins
            continue
        here = [version for version, marker in pins.get(name, ()) if not marker or Marker(marker).evaluate()]
        assert len(here) == 1, f"{name}: run `make lock`"
        assert specifier.contains(here[0], prereleases=True), (name, here[0], str(specifier))


def test_lock_is_written_without_torch_and_its_cuda_libraries():
    entry = "{}==1 ; sys_platform == 'linux' \\\n    --hash=sha256:" + 64 * "0" + "\n"
    pins = {
        name: entry.format(name) for name in ("torch", "triton", "nvidia-nccl-cu13", "cuda-toolkit", "torchmetrics")
    }
    assert LOCKING["without_torch"]("".join(pins.values())) == pins["torchmetrics"]


@pytest.mark.slow
def test_package_with_another_hash_is_not_installed(tmp_path):
    wheel = tmp_path / "planted-1-py3-none-any.whl"
    wheel.write_bytes(b"planted")
    (tmp_path / "lock").write_text(f"planted==1 --hash=sha256:{64 * '0'}\n")
    command = [sys.executable, "-m", "pip", "install", "--require-hashes", "--no-deps", "--requirement", "lock"]
    command += ["--no-index", "--find-links", str(tmp_path), "--target", str(tmp_path / "target")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "DO NOT MATCH THE HASHES" in done.stderr


def check_binary_artifacts():
    """All files but one image are texts, none of them minified."""
    binary = []
    for name in TRACKED:
        try:
            lines = (ROOT / name).read_bytes().decode().splitlines()
        except UnicodeDecodeError:
            binary.append(name)
            continue
        assert not name.endswith((".js", ".css")) or max(map(len, lines)) < 200, name
    assert binary == ["docs/demo.png"]


def check_ci_tests():
    """CI runs lint, types and all tests, and a failure ends it."""
    assert "set -euo pipefail" in CI_RUN
    assert "make check docs test test-slow" in CI_RUN


def check_dangerous_workflow():
    """Nothing that comes with a change is run but the change itself: no arguments, tokens or downloaded scripts."""
    assert not re.search(r"\$[1-9@*]|\beval\b|\bcurl\b|\bwget\b|TOKEN|SECRET|PASSWORD", CI_RUN)
    assert not [name for name in TRACKED if name.startswith((".github/workflows", ".gitlab-ci"))]


def check_fuzzing():
    """The doors are fed generated inputs, by tests and by a campaign."""
    users = [name for name in TRACKED if name.endswith(".py") and "from hypothesis" in (ROOT / name).read_text()]
    assert "benchmarks/chaos_fuzz.py" in users
    assert len([name for name in users if name.startswith("tests/")]) > 3


def check_license():
    """A licence of OSI stands at the top, and the package states the same."""
    assert "Apache License" in (ROOT / "LICENSE").read_text()[:200]
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["license"] == "Apache-2.0"


def check_pinned_dependencies():
    """What CI installs has a hash or at least a version."""
    makefile = (ROOT / "Makefile").read_text()
    assert "--require-hashes --no-deps --requirement requirements.lock" in makefile
    unpinned = [line for line in makefile.splitlines() if "PIP_INSTALL)" in line and "require-hashes" not in line]
    assert all("--constraint constraints.txt --no-build-isolation" in line for line in unpinned)
    assert all(re.fullmatch(r"[\w@/-]+@\d+\.\d+\.\d+", library.name) and library.sha512 for library in LIBRARIES)
    for script in ("audit.py", "lock.py"):
        assert re.search(r'= "[\w-]+==[\d.]+"', (ROOT / ".ci" / script).read_text()), script


def check_sast():
    """`make check` runs ruff with bandit's rules, and mypy."""
    assert "S" in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]["select"]
    assert re.search(
        r"^check:.*\n\t.*ruff check\n(?:\t.*\n)*\t.*mypy\n", (ROOT / "Makefile").read_text(), re.MULTILINE
    )


def check_security_policy():
    """The policy names a private way to report, and what to send."""
    assert re.search(r"private vulnerability reporting", SECURITY)
    assert "Please do not open a public issue" in SECURITY


def check_vulnerabilities():
    """CI compares the installed packages with known vulnerabilities."""
    assert "make audit" in CI_RUN
    assert "find_vulnerabilities" in (ROOT / ".ci" / "audit.py").read_text()


CHECKS = {
    "Binary-Artifacts": check_binary_artifacts,
    "CI-Tests": check_ci_tests,
    "Dangerous-Workflow": check_dangerous_workflow,
    "Fuzzing": check_fuzzing,
    "License": check_license,
    "Pinned-Dependencies": check_pinned_dependencies,
    "SAST": check_sast,
    "Security-Policy": check_security_policy,
    "Vulnerabilities": check_vulnerabilities,
}


@pytest.mark.parametrize("name", CHECKS)
def test_check_of_scorecard_holds(name):
    CHECKS[name]()


def test_security_policy_lists_the_checks_that_are_tested():
    assert re.findall(r"^\| ([A-Z][\w-]+) \|", SECURITY, re.MULTILINE) == list(CHECKS)

"""The wheel as its users get it: the files of the repository, types, a README without dead links, a version."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

import mg_vtc
from mg_vtc.exporters.web_runtime import RUNTIME_FILES

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # for what hatchling itself loads by its path
from hatch_build import link_to  # noqa: E402

pytestmark = pytest.mark.slow

TRACKED = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A wheel of a checkout and one via its sdist; in the checkout a folder of the package has a second name."""
    folder = tmp_path_factory.mktemp("built")
    checkout = folder / "checkout"
    for name in TRACKED:
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, checkout / name, follow_symlinks=False)
    (checkout / "a_link").symlink_to("src/mg_vtc/app")
    (sdist,) = SdistBuilder(str(checkout)).build(directory=str(folder), versions=["standard"])
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "sdist", filter="data")
    (unpacked,) = (folder / "sdist").iterdir()
    sources = {"tree": checkout, "sdist": unpacked}
    return {
        name: Path(next(WheelBuilder(str(source)).build(directory=str(folder / name), versions=["standard"])))
        for name, source in sources.items()
    }


def files_of(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_wheels_of_the_tree_and_via_the_sdist_hold_the_files_of_the_repository(built):
    tree, sdist = (files_of(built[name]) for name in ("tree", "sdist"))
    assert tree == sdist  # to the byte, metadata too
    package = {name.removeprefix("src/") for name in TRACKED if name.startswith("src/mg_vtc/")}
    runtime = {f"mg_vtc/exporters/web_page/runtime/{name}" for name in RUNTIME_FILES}
    held = {name for name in tree if not name.startswith("mg_vtc-")}
    assert held - runtime == package
    assert held & runtime == (runtime if shutil.which("npm") else set())  # CI has npm
    assert {"mg_vtc/py.typed", "mg_vtc/app/page.py", "mg_vtc/app/README.md"} <= package


def test_no_link_of_the_repository_gives_a_folder_a_second_name():
    assert not [name for name in TRACKED if (ROOT / name).is_symlink()]


def test_installed_command_tells_its_version(built, tmp_path):
    site = install(built["sdist"], tmp_path / "env")
    code = "from mg_vtc.cli.main import main; main(['--version'])"
    done = subprocess.run(
        [tmp_path / "env" / "bin" / "python", "-I", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"mg-vtc {mg_vtc.__version__}\n", "")
    assert (site / "mg_vtc" / "app" / "page.py").is_file()


def install(wheel, folder):
    """A virtual environment with the wheel alone; what it depends on is that of the tests."""
    venv.create(folder, with_pip=False)
    (site,) = folder.glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    (site / "others.pth").write_text(f"{Path(pytest.__file__).parents[1]}\n")
    return site


def test_types_of_the_package_reach_its_users(built, tmp_path):
    install(built["tree"], tmp_path / "env")
    (tmp_path / "user.py").write_text(
        "import mg_vtc\n\nnames: int = mg_vtc.load_image_folder\nmg_vtc.push_to_hub('runs/mine', repo='org/name')\n"
    )
    skipped = "\n".join(
        f"[mypy-{name}.*]\nfollow_imports = skip\nignore_missing_imports = True"
        for name in ("torch", "transformers", "datasets", "huggingface_hub", "numpy", "gradio")
    )
    (tmp_path / "mypy.ini").write_text(f"[mypy]\nfollow_imports = silent\n{skipped}\n")
    command = [sys.executable, "-m", "mypy", "--config-file", "mypy.ini", "--python-executable"]
    done = subprocess.run(
        [*command, tmp_path / "env" / "bin" / "python", "user.py"],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert "py.typed" not in done.stdout
    assert '(expression has type "def load_image_folder(' in done.stdout, done.stdout
    assert 'user.py:4: error: Unexpected keyword argument "repo" for "push_to_hub"' in done.stdout


def test_readme_of_the_package_index_has_no_dead_link_and_the_project_has_an_address(built):
    (metadata,) = (
        message_from_bytes(content) for name, content in files_of(built["sdist"]).items() if name.endswith("/METADATA")
    )
    assert metadata["Description-Content-Type"] == "text/markdown"
    readme = metadata.get_payload()
    assert "# mg_vtc" in readme
    targets = re.findall(r"\]\(([^)]*)\)|\b(?:src|href)=[\"']?([^\"'\s>]+)", readme)
    assert [target for pair in targets for target in pair if target and not re.match("https://|#", target)] == []
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]
    assert [f"{name}, {url}" for name, url in urls.items()] == metadata.get_all("Project-URL")
    assert all(url.startswith("https://") for url in urls.values())


def test_links_of_the_readme_lead_into_a_public_repository():
    readme = "![A](docs/a.png) [b](docs/b.md#c), [d](https://e.org) [f](#g)"
    image, guide = "https://f.org/x/raw/HEAD/docs/a.png", "https://f.org/x/blob/HEAD/docs/b.md#c"
    assert link_to("https://f.org/x/", readme) == f"![A]({image}) [b]({guide}), [d](https://e.org) [f](#g)"
    assert link_to(None, readme) == " b, [d](https://e.org) [f](#g)"


def test_links_of_the_readme_lead_to_files_of_the_repository():
    targets = re.findall(r"\]\((?!https:|#)([^)#\s]+)", (ROOT / "README.md").read_text())
    assert "docs/push.md" in targets
    assert not [target for target in targets if target not in TRACKED]


def test_training_and_commands_need_no_extra():
    extras = ("av", "gradio", "matplotlib", "sklearn", "onnx", "onnxruntime", "onnxscript", "wandb", "trackio")
    extras += ("simplejpeg", "pillow_heif", "tensorboard")
    code = f"""
import runpy, sys
sys.modules.update(dict.fromkeys({extras}))
runpy.run_path({str(ROOT / "train.py")!r}, run_name="imported")
import mg_vtc.cli.main, mg_vtc.inference.predictor, mg_vtc.evaluation.evaluate, mg_vtc.evaluation.comparison
import mg_vtc.hub.push, mg_vtc.exporters.classifier
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_installed_wheel_trains_evaluates_predicts_exports_and_opens(built, tmp_path):
    environment = tmp_path / "env"
    venv.create(environment, with_pip=False)
    pip = [sys.executable, "-m", "pip", "--python", str(environment / "bin" / "python"), "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--quiet", "--no-deps", "--no-index", built["sdist"]], check=True, timeout=120)
    (site,) = environment.glob("lib/python*/site-packages")
    (site / "others.pth").write_text(f"{Path(pytest.__file__).parents[1]}\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*command):
        done = subprocess.run(
            [environment / "bin" / command[0], *command[1:]],
            cwd=elsewhere,
            env=kept | {"OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "recommended" in run("mg-vtc", "train")
    screen = run("mg-vtc", "train", "demo", "--max_steps", "2")
    for command in re.findall(r"^  \S*mg-vtc (?:evaluate|predict) .*$", screen, flags=re.MULTILINE):
        run("mg-vtc", *command.split()[1:])
    assert "classifier.onnx" in run("mg-vtc", "export", "runs/demo", "--format", "onnx")
    code = "import mg_vtc, transformers as t; print(mg_vtc.__file__, type(t.AutoModel.from_pretrained('runs/demo')))"
    assert re.match(rf"{re.escape(str(site))}\S* <class 'mg_vtc\.models\.modeling", run("python", "-I", "-c", code))
    assert (elsewhere / "runs" / "demo" / "report" / "report.html").is_file()
    assert (elsewhere / "runs" / "demo" / "README.md").is_file()

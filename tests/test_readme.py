"""The README as a newcomer reads it: every command in it is run, in its order, in a folder of its own."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from local_hub import client_environment, serving_hub
from PIL import Image

from mg_vtc.data.class_lists import IMIGUE_CLASS_NAMES
from mg_vtc.data.demo.dataset import render_contact_sheet, render_frame
from mg_vtc.recipes import list_recipes

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(bash|python)\n(.*?)```", README, flags=re.DOTALL)
TRAINING = re.compile(r"^(mg-vtc train .*--output_dir.*)$", flags=re.MULTILINE)
INSTALLATION = "pip install"


def run(command, folder, environment=os.environ):
    environment = {**environment, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory, images_dir):
    """A checkout with its demo trained by the command without arguments, images and an image."""
    folder = tmp_path_factory.mktemp("checkout")
    (folder / "train.py").symlink_to(ROOT / "train.py")
    (folder / "my_images").symlink_to(images_dir)
    render_frame(IMIGUE_CLASS_NAMES.index("Folding arms"), clip=0, frame=0, image_size=200).save(folder / "image.jpg")
    (folder / "demo.log").write_text(run(["accelerate", "launch", "train.py"], folder))
    return folder


def test_script_without_arguments_is_the_demo(checkout):
    log = (checkout / "demo.log").read_text()
    assert "640 images to train on, 128 to validate, 32 classes" in log
    assert len(re.findall(r"^epoch ", log, flags=re.MULTILINE)) == 80


def test_demo_ends_with_scores_far_above_a_baseline_the_folder_and_what_to_do_next(checkout):
    end = (checkout / "demo.log").read_text().split("\n\n")[-3:]
    results = json.loads((checkout / "runs" / "demo" / "all_results.json").read_text())
    assert results["eval_top1_accuracy"] > 0.6
    assert results["baseline_majority_class_top1_accuracy"] < 0.05
    for text in ("top-1", "top-5", "runs/demo", 'pipeline("image-classification"'):
        assert any(text in part for part in end), text


@pytest.mark.parametrize(("target", "command"), [("demo", "mg-vtc train demo"), ("test", "pytest")])
def test_make_runs_what_it_says(target, command):
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("MAKE")
    }  # we may be in make
    dry_run = ["make", "--dry-run", target]
    steps = subprocess.run(dry_run, cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout
    assert command in steps.splitlines()[-1]


def test_every_command_works(checkout, tmp_path):
    assert len(BLOCKS) >= 6
    with serving_hub() as hub:
        environment = client_environment(os.environ, hub, tmp_path)
        for language, code in BLOCKS:
            if INSTALLATION in code:
                continue
            if (
                '"runs/mine"' in code and "train(" in code
            ) or "mg-vtc train" in code:  # the same in Python and the shell
                shutil.rmtree(checkout / "runs" / "mine", ignore_errors=True)
            code = TRAINING.sub(r"\1 --num_train_epochs 2", code)  # the demo is not shortened
            code = code.replace('output_dir="runs/mine")', 'output_dir="runs/mine", num_train_epochs=2)')
            command = ["bash", "-euc", code] if language == "bash" else [sys.executable, "-c", code]
            run(command, checkout, environment)
        assert "model.safetensors" in hub.files("org/mg-vtc")


def test_python_of_the_quickstart_is_short():
    (code,) = [code for language, code in BLOCKS if language == "python" and "mg_vtc.train(" in code]
    assert len(code.strip().splitlines()) <= 12
    assert all(f"mg_vtc.{name}(" in code for name in ("train", "evaluate", "predict", "export", "push_to_hub"))


def test_readme_and_guides_train_by_the_same_recipe():
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), ROOT / "src" / "mg_vtc" / "cli" / "prepare.py"]
    command = rf"(?:mg-vtc\", \"train\", \"|mg-vtc train |train\.py )({'|'.join(list_recipes())})\b"
    recipes = {page.name: set(re.findall(command, page.read_text())) for page in pages}
    others = {
        "start_from_a_pretrained_model.md": {"clip", "pretrained"},
        "train_on_your_own_folder.md": {"pretrained", "recommended"},  # where towers can be downloaded, and where not
    }
    assert {name: found for name, found in recipes.items() if found - {"recommended", "demo"}} == others
    assert recipes["README.md"] == recipes["prepare.py"] == {"recommended"}


def test_every_command_for_several_processes_works(checkout):
    codes = re.findall(r"```bash\n(.*?)```", (ROOT / "docs" / "several_processes.md").read_text(), flags=re.DOTALL)
    *trainings, prediction = codes
    assert len(trainings) == 2
    for code in trainings:
        screen = run(["bash", "-euc", f"{code.strip()} --num_train_epochs 1 --use_cpu"], checkout)
        assert "on each of 2 processes" in screen
    assert run(["bash", "-euc", prediction], checkout) == "predictions-of-two.csv: 32 rows\n"


def test_the_image_is_what_the_package_draws():
    with Image.open(ROOT / "docs" / "demo.png") as image:
        shown = np.asarray(image.convert("RGB"), dtype=float)
    drawn = np.asarray(render_contact_sheet(), dtype=float)
    assert shown.shape == drawn.shape
    assert np.abs(shown - drawn).mean() < 1  # grey levels of 255: fonts and smoothing differ between Pillow versions


def test_layout_names_what_exists():
    layout = (ROOT / "CONTRIBUTING.md").read_text().partition("## Layout")[2]
    names = re.findall(r"`([^`]+)`", "".join(re.findall(r"^\| (`.*?`) \|", layout, flags=re.MULTILINE)))
    assert len(names) > 10
    for name in names:
        assert any((folder / name).exists() for folder in (ROOT, ROOT / "src" / "mg_vtc")), name

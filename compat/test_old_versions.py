"""A checkpoint predicts alike in the oldest versions that pyproject.toml allows and in those that are installed."""

import json
import os
import subprocess
import sys
from importlib.metadata import version

import numpy as np
import pytest
from build import PINS, PYTHON, ROOT
from packaging.version import Version
from PIL import Image
from safetensors.numpy import load_file

WITHOUT_EXTRAS = "ignore:The model card has no figures"  # as the old environment has none
TRAIN_DEMO = (ROOT / "train.py", ROOT / "src" / "mg_vtc" / "recipes" / "demo.yaml", "--use_cpu", "true")
TRAIN_DEMO += ("--cache_images", "false")
LAST_STEP = ("--eval_strategy", "no", "--load_best_model_at_end", "false")
PYTHONS = {"newest": sys.executable, "oldest": str(PYTHON)}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Runs a script in one of the two environments, with empty caches, no network and no standard input."""

    def run_script(age, *arguments):
        home = tmp_path_factory.mktemp("home")
        own = {"HF_HOME": str(home), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src")}
        done = subprocess.run(
            [PYTHONS[age], "-W", "error", "-W", WITHOUT_EXTRAS, *map(str, arguments)],
            cwd=home,
            env=os.environ | own,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run_script


@pytest.fixture(scope="module", params=["newest", "oldest"])
def checkpoints(request, run, tmp_path_factory):
    """Checkpoints that one of the environments wrote, and its own predictions by them."""
    folder = tmp_path_factory.mktemp(f"written_by_{request.param}")
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "image.png")
    script = ROOT / "compat" / "checkpoints.py"
    run(request.param, script, "write", folder)
    return folder, json.loads(run(request.param, script, "read", folder))


@pytest.mark.parametrize("way", [[], ["--without_package"]], ids=["package", "remote_code"])
@pytest.mark.parametrize("reader", ["newest", "oldest"])
def test_checkpoint_predictions_alike_whoever_wrote_it_and_whoever_reads_it(checkpoints, run, reader, way):
    folder, expected = checkpoints
    predictions = json.loads(run(reader, ROOT / "compat" / "checkpoints.py", "read", folder, *way))
    assert predictions.keys() == expected.keys()
    for towers, of_ways in expected.items():
        assert predictions[towers].keys() == of_ways.keys()
        for way_of_asking, values in of_ways.items():
            assert max(values) > min(values)  # or a permutation would not show
            assert predictions[towers][way_of_asking] == pytest.approx(values, abs=1e-5), (towers, way_of_asking)


def test_the_oldest_versions_are_the_lower_bounds_and_the_newest_are_newer(run):
    wanted = [pin.split("==") for pin in PINS.read_text().splitlines()]
    names = [name for name, _ in wanted]
    code = (
        "import json, sys; from importlib.metadata import version; print(json.dumps(list(map(version, sys.argv[1:]))))"
    )
    found = json.loads(run("oldest", "-c", code, *names))
    for (name, lower_bound), of_oldest in zip(wanted, found, strict=True):
        if name != "torch":
            assert Version(of_oldest) == Version(lower_bound), name
    assert Version(version("transformers")) > Version(found[names.index("transformers")])


def test_oldest_versions_train_and_the_newest_read_the_run(run, tmp_path):
    code = "from mg_vtc import MgVtcModel; import sys; print(MgVtcModel.from_pretrained(sys.argv[1]).num_parameters())"
    run("oldest", *TRAIN_DEMO, "--max_steps", "1", "--output_dir", tmp_path / "run")
    assert int(run("newest", "-c", code, tmp_path / "run")) == int(run("oldest", "-c", code, tmp_path / "run"))


def test_checkpoint_of_the_oldest_versions_is_resumed_by_the_newest_to_the_same_weights(run, tmp_path):
    steps = ["--max_steps", "4", "--save_strategy", "steps", "--save_steps", "2", "--save_total_limit", "2"]
    command = [*TRAIN_DEMO, *steps, *LAST_STEP, "--output_dir", tmp_path / "run"]
    run("oldest", *command)
    undisturbed = load_file(tmp_path / "run" / "model.safetensors")
    begun = load_file(tmp_path / "run" / "checkpoint-2" / "model.safetensors")
    assert "after step 2" in run("newest", *command, "--resume_from_checkpoint", tmp_path / "run" / "checkpoint-2")
    resumed = load_file(tmp_path / "run" / "model.safetensors")
    assert resumed.keys() == undisturbed.keys()
    for name, weight in undisturbed.items():
        np.testing.assert_allclose(resumed[name], weight, atol=1e-6, err_msg=name)
    assert max(np.abs(begun[name] - undisturbed[name]).max() for name in undisturbed) > 1e-4  # what two steps change

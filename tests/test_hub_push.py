"""From a finished training to a model that opens anywhere: pushes of the real commands, loads of fresh interpreters.

The Hub is that of `local_hub`, the client is the genuine one, and every step is a process of its own.
"""

import json
import os
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY_DISTILBERT, TINY_RESNET
from doors import OPEN_DOORS, WITH_PACKAGE, WITHOUT_PACKAGE
from local_hub import TOKEN, client_environment, serving_hub
from PIL import Image

ROOT = Path(__file__).parents[1]
REPO = "org/mg-vtc"
TINY = ("--vision_config", json.dumps(TINY_RESNET), "--text_config", json.dumps(TINY_DISTILBERT), "--seed", "0")
TRAINING = (*TINY, "--projection_dim", "12", "--image_size", "32", "--per_device_train_batch_size", "8")
PUSH = ("--push_to_hub", "--hub_model_id", REPO)
PUBLISH = (sys.executable, "-m", "mg_vtc.cli", "publish")


@pytest.fixture(scope="module")
def the_hub():
    with serving_hub() as hub:
        yield hub


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


def run(command, environment, *, cwd=ROOT, **options):
    streams = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True}
    return subprocess.run([*map(str, command)], cwd=cwd, env=environment, timeout=120, **streams, **options)


@pytest.fixture(scope="module")
def trained(the_hub, home, picture_folder, tmp_path_factory):
    """The folder of a run that ended with a push, what it printed, and the revision that it made."""
    folder = tmp_path_factory.mktemp("people") / "run"
    flags = ("--train_dir", picture_folder, "--num_train_epochs", "1", "--output_dir", folder)
    environment = client_environment(os.environ, the_hub, home)
    done = run((sys.executable, "train.py", *TRAINING, *flags, *PUSH), environment)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout, the_hub.repos[REPO].branches["main"]


@pytest.fixture(scope="module")
def published(trained, the_hub, home):
    """A second revision, by the command, with another weight; the first stays what it was."""
    folder, _, first = trained
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-4:] = np.float32(0.125).tobytes()
    (folder / "model.safetensors").write_bytes(weights)
    done = run((*PUBLISH, folder, REPO), client_environment(os.environ, the_hub, home))
    assert (done.returncode, done.stdout) == (0, f"{the_hub.address}/{REPO}\n"), done.stderr
    second = the_hub.repos[REPO].branches["main"]
    assert second != first
    return second


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    path = tmp_path_factory.mktemp("picture") / "picture.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(path)
    return path


@pytest.fixture(scope="module")
def open_from(the_hub, picture, tmp_path_factory):
    """Scores of one picture by door in a fresh interpreter, which knows the Hub and no folder of the run."""

    def load(way, source, *, home, revision=None, offline=False, token=None):
        environment = client_environment(os.environ, the_hub, home, token=token)
        environment.pop("PYTHONPATH", None)
        if offline:
            environment |= {"HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:9"}
        names = f"folder, picture = {str(source)!r}, {str(picture)!r}"
        path = f"sys.path.insert(0, {str(ROOT / 'src')!r})" if way == WITH_PACKAGE else ""
        pin = f"options['revision'] = {revision!r}" if revision else ""
        code = f"import json, sys\n{names}\n{path}\n{way}\n{pin}\n{OPEN_DOORS}\nprint(json.dumps([scores, home]))"
        done = run((sys.executable, "-I", "-W", "error", "-c", code), environment, cwd=home)
        return done if done.returncode else json.loads(done.stdout)

    return load


@pytest.fixture(scope="module")
def first_scores(open_from, trained, tmp_path_factory):
    """The run's own folder, opened from the disk before anything else happens to it."""
    return open_from(WITH_PACKAGE, trained[0], home=tmp_path_factory.mktemp("disk"))[0]


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """A machine that has never seen the model nor the package."""
    return tmp_path_factory.mktemp("elsewhere")


@pytest.fixture(scope="module")
def opened_elsewhere(open_from, first_scores, published, elsewhere):
    return open_from(WITHOUT_PACKAGE, REPO, home=elsewhere)


def assert_close(scores, others):
    assert scores.keys() == others.keys()
    assert len(scores) == 5
    for door in scores:
        assert scores[door] == pytest.approx(others[door], abs=1e-6), door


def test_run_ends_with_its_scores_and_the_page_of_the_model(trained, the_hub):
    folder, screen, _ = trained
    assert screen.splitlines()[-1] == f"The model is published: {the_hub.address}/{REPO}"
    assert "top-1" in screen
    assert list(the_hub.repos[REPO].messages.values())[:2] == ["initial commit", "End of training"]


def test_what_is_uploaded_is_the_list(trained, the_hub):
    folder, _, first = trained
    code = {path.name for part in ("configuration", "modeling") for path in folder.glob(f"{part}_*.py")}
    assert len(code) == 5
    shown = {
        f"{path.parent.name}/{path.name}" for part in ("figures", "samples") for path in folder.glob(f"{part}/*.png")
    }
    assert set(the_hub.files(REPO, first)) - shown - {"handler.py"} == code | {
        *("config.json", "model.safetensors", "processor_config.json", "preprocessor_config.json", "tokenizer.json"),
        *("tokenizer_config.json", "README.md", "requirements.txt", "recipe.yaml", "all_results.json"),
        ".gitattributes",
    }


def test_no_uploaded_byte_tells_of_token_machine_people_or_pickles(trained, the_hub, picture_folder):
    folder, _, first = trained
    pictures = {path.read_bytes() for path in picture_folder.rglob("*.png")}
    for name, content in the_hub.files(REPO, first).items():
        assert content not in pictures, name
        for secret in (
            TOKEN,
            str(folder.parent),
            str(picture_folder),
            str(Path.home()) + "/",
            str(ROOT),
            "0000.0.png",
        ):
            assert secret.encode() not in content, (name, secret)
        assert not re.match(rb"\x80[\x02-\x05]|PK\x03\x04", content), name  # pickles, and the archives of torch.save


def test_token_is_in_no_file_of_the_run(trained):
    files = [path for path in trained[0].rglob("*") if path.is_file()]
    assert len(files) > 10
    assert not [path for path in files if TOKEN.encode() in path.read_bytes()]
    assert not list(trained[0].rglob("training_args.bin"))


def test_weights_can_be_read_by_whom_the_umask_lets(trained):
    umask = os.umask(0)
    os.umask(umask)
    mode = (trained[0] / "model.safetensors").stat().st_mode
    assert stat.S_IMODE(mode) == 0o666 & ~umask


def test_every_door_opens_without_the_package(opened_elsewhere):
    scores, package = opened_elsewhere
    assert package == "transformers_modules"
    first = scores["AutoModel"]
    assert max(first) - min(first) > 1e-3
    assert_close(scores, dict.fromkeys(scores, first))


def test_every_door_opens_with_the_package_and_without_trust(open_from, opened_elsewhere, tmp_path):
    scores, package = open_from(WITH_PACKAGE, REPO, home=tmp_path)
    assert package == "mg_vtc"
    assert_close(scores, opened_elsewhere[0])


def test_pinned_revision_is_that_of_the_first_push(open_from, trained, first_scores, opened_elsewhere, tmp_path):
    scores, _ = open_from(WITHOUT_PACKAGE, REPO, home=tmp_path, revision=trained[2])
    assert_close(scores, first_scores)
    assert scores["AutoModel"] != pytest.approx(opened_elsewhere[0]["AutoModel"], abs=1e-6)


def test_cache_opens_offline(open_from, opened_elsewhere, elsewhere):
    scores, _ = open_from(WITHOUT_PACKAGE, REPO, home=elsewhere, offline=True)
    assert_close(scores, opened_elsewhere[0])


def test_push_that_is_killed_half_way_leaves_the_last_revision(the_hub, published, trained, home):
    folder, _, _ = trained
    before = the_hub.files(REPO)
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-4:] = np.float32(0.25).tobytes()
    (folder / "model.safetensors").write_bytes(weights)
    the_hub.break_off = "upload"
    process = subprocess.Popen(
        [*map(str, (*PUBLISH, folder, REPO))],
        cwd=ROOT,
        env=client_environment(os.environ, the_hub, home),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert the_hub.half_way.wait(timeout=60)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
        the_hub.break_off = None
    assert the_hub.repos[REPO].branches["main"] == published
    assert the_hub.files(REPO) == before
    assert len(the_hub.objects) == 2  # the weights of the two whole pushes


def test_private_model_opens_with_a_token_alone(the_hub, published, open_from, tmp_path):
    the_hub.repos[REPO].private = True
    try:
        refused = open_from(WITH_PACKAGE, REPO, home=tmp_path)
        assert refused.returncode == 1
        assert "hf auth login" in refused.stderr
        assert len(open_from(WITH_PACKAGE, REPO, home=tmp_path, token=TOKEN)[0]) == 5
    finally:
        the_hub.repos[REPO].private = False

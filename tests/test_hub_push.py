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

import pytest
import torch
from conftest import TINY_DISTILBERT, TINY_RESNET
from entry_points import OPEN_ENTRY_POINTS, WITH_PACKAGE, WITHOUT_PACKAGE
from local_hub import TOKEN, client_environment, serving_hub
from node_scripts import require_node, run_node
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoProcessor

from mg_vtc.runs.directory import RECORDS
from mg_vtc.runs.manifest import OF_MODEL, write_manifest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
REPO = "org/mg-vtc"
TINY = ("--vision_config", json.dumps(TINY_RESNET), "--text_config", json.dumps(TINY_DISTILBERT), "--seed", "0")
TRAINING = (*TINY, "--projection_dim", "12", "--image_size", "32", "--per_device_train_batch_size", "8")
PUSH = ("--push_to_hub", "--hub_model_id", REPO)
COMMAND = (sys.executable, "-m", "mg_vtc", "push")


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
def trained(the_hub, home, images_dir, tmp_path_factory):
    """The folder of a run that ended with a push, what it printed, and the revision that it made."""
    folder = tmp_path_factory.mktemp("people") / "run"
    flags = ("--train_dir", images_dir, "--num_train_epochs", "1", "--output_dir", folder)
    environment = client_environment(os.environ, the_hub, home)
    done = run((sys.executable, "train.py", *TRAINING, *flags, *PUSH), environment)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout, the_hub.repos[REPO].branches["main"]


def change_weights(folder, logit_scale):
    """Other weights, by which every score is another one."""
    weights = load_file(folder / "model.safetensors")
    weights["logit_scale"] = torch.tensor(logit_scale).reshape(weights["logit_scale"].shape)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    write_manifest(folder, (*OF_MODEL, *RECORDS))


@pytest.fixture(scope="module")
def published(trained, first_scores, the_hub, home):
    """A second revision, by the command, with other weights; the first stays what it was."""
    folder, _, first = trained
    change_weights(folder, 4.0)
    done = run((*COMMAND, folder, REPO), client_environment(os.environ, the_hub, home))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == f"{the_hub.address}/{REPO}"
    second = the_hub.repos[REPO].branches["main"]
    assert second != first
    return second


@pytest.fixture(scope="module")
def load(the_hub, image):
    """Loads by the name of the repository, in a fresh interpreter that knows the Hub and no folder of the run."""

    def run_elsewhere(way, code, *, home, token=None, offline=False):
        environment = client_environment(os.environ, the_hub, home, token=token)
        if offline:
            environment |= {"HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:9"}
        names = f"import json, sys\nfolder, image = {REPO!r}, {str(image)!r}"
        path = f"sys.path.insert(0, {str(ROOT / 'src')!r})" if way == WITH_PACKAGE else ""
        program = "\n".join([names, path, way, code])
        return run((sys.executable, "-I", "-W", "error", "-c", program), environment, cwd=home)

    return run_elsewhere


@pytest.fixture(scope="module")
def open_entry_points(load):
    """Scores of one image by entry_point, and the package that the model's class came from."""

    def read(way, **options):
        done = load(way, f"{OPEN_ENTRY_POINTS}\nprint(json.dumps([scores, home]))", **options)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return read


def score(folder, image):
    """Scores of the classes by the model of a folder, in this process."""
    pixels = AutoProcessor.from_pretrained(folder)(images=Image.open(image), return_tensors="pt")
    with torch.no_grad():
        return AutoModel.from_pretrained(folder)(**pixels).logits_per_image.softmax(dim=1)[0].tolist()


@pytest.fixture(scope="module")
def first_scores(trained, image):
    return score(trained[0], image)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """A machine that has never seen the model nor the package."""
    return tmp_path_factory.mktemp("elsewhere")


@pytest.fixture(scope="module")
def opened_elsewhere(open_entry_points, published, elsewhere):
    return open_entry_points(WITHOUT_PACKAGE, home=elsewhere)


def assert_close(scores, expected):
    assert len(scores) == 5
    for entry_point in scores:
        assert scores[entry_point] == pytest.approx(expected, abs=1e-5), entry_point


def test_run_ends_with_its_scores_and_the_page_of_the_model(trained, the_hub):
    _, screen, _ = trained
    assert screen.splitlines()[-1] == f"The model was pushed: {the_hub.address}/{REPO}"
    assert "top-1" in screen
    assert list(the_hub.repos[REPO].messages.values())[:2] == ["initial commit", "End of training"]


def test_what_is_uploaded_is_the_list(trained, the_hub):
    folder, _, first = trained
    code = {path.name for part in ("configuration", "modeling") for path in folder.glob(f"{part}_*.py")}
    assert len(code) == 5
    shown = {
        f"{path.parent.name}/{path.name}" for part in ("figures", "samples") for path in folder.glob(f"{part}/*.png")
    }
    assert set(the_hub.files(REPO, first)) - shown == code | {
        *("config.json", "model.safetensors", "processor_config.json", "preprocessor_config.json", "tokenizer.json"),
        *("tokenizer_config.json", "README.md", "requirements.txt", "handler.py", "recipe.yaml"),
        *("all_results.json", "results.csv", "manifest.json", ".gitattributes"),
    }


def test_no_uploaded_byte_tells_of_token_machine_people_or_pickles(trained, the_hub, images_dir):
    folder, _, first = trained
    images = {path.read_bytes() for path in images_dir.rglob("*.png")}
    assert "0000.0.png" in (folder / "split.json").read_text()  # so that there is something to leave behind
    assert str(images_dir) in (folder / "recipe.yaml").read_text()
    for name, content in the_hub.files(REPO, first).items():
        assert content not in images, name
        for secret in (
            TOKEN,
            str(folder.parent),
            str(images_dir),
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


def test_every_entry_point_opens_without_the_package(opened_elsewhere, trained, image, first_scores):
    scores, package = opened_elsewhere
    assert package == "transformers_modules"
    expected = score(trained[0], image)
    assert expected != pytest.approx(first_scores, abs=1e-4)
    assert_close(scores, expected)


def test_every_entry_point_opens_with_the_package_and_without_trust(open_entry_points, opened_elsewhere, tmp_path):
    scores, package = open_entry_points(WITH_PACKAGE, home=tmp_path)
    assert package == "mg_vtc"
    assert_close(scores, opened_elsewhere[0]["AutoModel"])


def test_cache_opens_offline(open_entry_points, opened_elsewhere, elsewhere):
    assert open_entry_points(WITHOUT_PACKAGE, home=elsewhere, offline=True)[0] == opened_elsewhere[0]


PINNED = """
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoProcessor
from transformers import AutoModel, AutoProcessor

options |= {"revision": revision}
inputs = AutoProcessor.from_pretrained(folder, **options)(images=Image.open(image), return_tensors="pt")
model = AutoModel.from_pretrained(folder, **options).eval()
print(json.dumps(model(**inputs).logits_per_image.softmax(dim=1)[0].tolist()))
"""


def test_pinned_revision_is_that_of_the_first_push(load, trained, published, first_scores, tmp_path):
    done = load(WITHOUT_PACKAGE, f"revision = {trained[2]!r}\n{PINNED}", home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == pytest.approx(first_scores, abs=1e-5)


def test_push_that_is_killed_half_way_leaves_the_last_revision(the_hub, published, trained, home):
    folder, _, _ = trained
    before, objects = the_hub.files(REPO), set(the_hub.objects)
    change_weights(folder, 1.0)
    the_hub.break_off = "upload"
    process = subprocess.Popen(
        [*map(str, (*COMMAND, folder, REPO))],
        cwd=ROOT,
        env=client_environment(os.environ, the_hub, home),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert the_hub.half_way.wait(timeout=300)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
        the_hub.break_off = None
    assert the_hub.repos[REPO].branches["main"] == published
    assert the_hub.files(REPO) == before
    assert set(the_hub.objects) == objects


def test_private_model_opens_with_a_token_alone(the_hub, published, monkeypatch, tmp_path):
    monkeypatch.setattr(the_hub.repos[REPO], "private", True)
    code = f"from mg_vtc.inference.loading import open_model; print(open_model({REPO!r})[0].config.num_labels)"
    done = {
        token: subprocess.run(
            [sys.executable, "-c", code],
            env=client_environment(os.environ, the_hub, tmp_path / str(token), token),
            capture_output=True,
            text=True,
            timeout=120,
        )
        for token in (None, TOKEN)
    }
    assert "Private repositories need a token (HF_TOKEN, or `hf auth login`)" in done[None].stderr
    assert done[TOKEN].stdout == "4\n", done[TOKEN].stderr


def test_transformers_js_opens_the_repository_for_both_tasks(the_hub, trained, published, images_dir, home, tmp_path):
    require_node("@huggingface/transformers")
    folder, _, _ = trained
    done = run((*COMMAND, folder, "org/web", "--onnx"), client_environment(os.environ, the_hub, home))
    assert done.returncode == 0, done.stderr
    labels = json.loads((folder / "config.json").read_text())["id2label"]
    names = [labels[str(index)] for index in range(len(labels))]
    (image, *_) = sorted(images_dir.rglob("*.png"))
    question = {"model": "org/web", "host": f"{the_hub.address}/", "cache": str(tmp_path), "dtype": "fp32"}
    question |= {"images": [str(image)], "names": names, "template": "{}"}
    expected = dict(zip(names, score(folder, image), strict=True))
    for task, ((*rows,),) in run_node("transformers.js", question).items():
        assert {row["label"]: row["score"] for row in rows} == pytest.approx(expected, abs=1e-3), task

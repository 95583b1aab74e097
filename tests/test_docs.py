"""The guides in `docs/`: every command of a page is run in its order, on made data, trained for one epoch."""

import base64
import csv
import http.client
import inspect
import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from conftest import CLASS_NAMES, TINY_RESNET
from dual_encoders import save_parent
from local_hub import client_environment, serving_hub
from made_releases import (
    make_cut_clips,
    make_image_release,
    make_ma52_release,
    make_miga_release,
    make_skeleton,
)
from pages import free_port
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import AutoConfig, AutoModel, BertConfig, ResNetConfig, ZeroShotImageClassificationPipeline

from mg_vtc import build_tokenizer, predict
from mg_vtc.data.class_lists import IMIGUE_CLASS_NAMES, MA52_CLASS_NAMES
from mg_vtc.training.preemption import EXIT_CODE
from mg_vtc.training.recipe import parse_recipe

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
GUIDES = (
    *("train_on_imigue", "train_on_your_own_folder", "enter_the_miga_challenge", "push", "watch_a_run"),
    *("start_from_a_pretrained_model", "train_on_micro_action_52", "prepare_cut_clips"),
)
TRAINING = re.compile(r"^((?:\w+=\S+ )*mg-vtc train .*)$", flags=re.MULTILINE)


def run_guide(name, folder, environment=os.environ, *, having="", epochs=1):
    """Run the code of a page, or the pieces that have some words, and return what each piece of it printed."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    screens = []
    for language, code in re.findall(
        r"```(bash|python)\n(.*?)```", (ROOT / "docs" / f"{name}.md").read_text(), flags=re.DOTALL
    ):
        if having not in code:
            continue
        shortened = TRAINING.sub(rf"\1 --num_train_epochs {epochs} --use_cpu", code)
        shortened = shortened.replace("train pretrained", "train pretrained --linear_probe_epochs 0")  # of one epoch
        command = ["bash", "-euc", shortened] if language == "bash" else [sys.executable, "-c", code]
        done = subprocess.run(
            command,
            cwd=folder,
            env={**environment, "PATH": path, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, f"{code}\n{done.stdout}\n{done.stderr}"
        screens.append(done.stdout)
    return screens


def test_prompt_of_the_zero_shot_pipeline_is_reported_where_it_is_shown():
    default = (
        inspect.signature(ZeroShotImageClassificationPipeline.preprocess).parameters["hypothesis_template"].default
    )
    shown = []
    for path in (
        ROOT / "README.md",
        ROOT / "src" / "mg_vtc" / "hub" / "model_card_template.md",
        *(ROOT / "docs").glob("*.md"),
    ):
        for code in re.findall(r"^```python\n(.*?)^```", path.read_text(), flags=re.DOTALL | re.MULTILINE):
            if 'pipeline("zero-shot' in code:
                shown.append(path.name)
                comment, line = re.findall(r"^(# .*)\n(.*candidate_labels=.*)$", code, flags=re.MULTILINE)[0]
                assert f'without hypothesis_template it would be "{default}"' in comment
                assert "hypothesis_template=" in line
    assert {"README.md", "model_card_template.md"} <= set(shown)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, images_dir):
    """What a user has: a folder of images, releases of iMiGUE and Micro-Action-52, clips, and unlabelled frames."""
    folder = tmp_path_factory.mktemp("workspace")
    for name in ("my_images", "new_images"):
        (folder / name).symlink_to(images_dir)
    make_miga_release(folder / "iMiGUE")
    for video in ("0001", "0002", "0003"):
        make_skeleton(folder / "iMiGUE" / "skeletons" / f"{video}_light_hand.csv", [(10, 5, 30, 40)] * 40)
    make_ma52_release(folder / "MA-52")
    make_cut_clips(folder / "my_clips", classes=("nodding", "waving"))
    make_cut_clips(folder / "iMiGUE_clips" / "RGB")
    (folder / "my_videos").symlink_to(folder / "my_clips")
    (folder / "clips.csv").write_text("name,label,split\nP1_0,0,train\nP2_1.mp4,1,val\n")
    make_image_release(folder / "images")
    (folder / "images" / "test").rename(folder / "frames")
    (folder / "image.jpg").symlink_to(next((folder / "frames").iterdir()))
    return folder


@pytest.fixture(scope="module")
def own_folder(workspace, pretrained):
    return run_guide("train_on_your_own_folder", workspace)


@pytest.fixture(scope="module")
def pretrained(workspace):
    """Folders with small models, which the commands find before the Hub is asked."""
    for family, name in (("clip", "openai/clip-vit-base-patch32"), ("siglip", "google/siglip-base-patch16-224")):
        save_parent(family, workspace / name)
    AutoModel.from_config(ResNetConfig.from_dict(TINY_RESNET)).save_pretrained(workspace / "microsoft" / "resnet-50")
    sentences = workspace / "sentence-transformers" / "all-MiniLM-L6-v2"
    tokenizer = build_tokenizer(CLASS_NAMES)
    tokenizer.save_pretrained(sentences)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    AutoModel.from_config(BertConfig(vocab_size=len(tokenizer), **sizes)).save_pretrained(sentences)
    descriptions = {name: [f"someone {name}"] for name in CLASS_NAMES[:4]}
    (workspace / "descriptions.json").write_text(json.dumps(descriptions))
    (sentences / "1_Pooling").mkdir()
    (sentences / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')


def test_files_for_clusters_are_valid_and_repeat_the_command_on_its_own_exit_code_alone():
    page = (ROOT / "docs" / "run_on_a_cluster.md").read_text()
    (script,) = re.findall(r"^```\n(#!/bin/bash\n.*?)^```", page, flags=re.DOTALL | re.MULTILINE)
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    assert f'"$code" -eq {EXIT_CODE} ' in script
    (job,) = re.findall(r"^```yaml\n(.*?)^```", page, flags=re.DOTALL | re.MULTILINE)
    rules = yaml.safe_load(job)["spec"]["podFailurePolicy"]["rules"]
    assert {rule["action"]: rule["onExitCodes"]["values"] for rule in rules} == {"Ignore": [EXIT_CODE], "FailJob": [1]}
    container = yaml.safe_load(job)["spec"]["template"]["spec"]["containers"][0]
    program, verb, *arguments = container["command"] + container["args"]
    assert (program, verb) == ("mg-vtc", "train")
    assert parse_recipe(arguments).training.resume_from_checkpoint == "auto"


def test_each_starting_point_is_trained_further(workspace, pretrained):
    duals, further, towers, _, _, mixed = run_guide("start_from_a_pretrained_model", workspace)
    assert duals.count("before training: top-1 ") == 2
    assert further.count("before training: top-1 ") == 1
    assert "before training" not in towers
    configs = {name: AutoConfig.from_pretrained(workspace / "runs" / name) for name in ("siglip", "further", "towers")}
    assert configs["siglip"].use_logit_bias
    assert configs["further"].projection == "linear"
    assert configs["towers"].text_pooling == "mean"
    assert mixed == "runs/quarter\n"


def test_guides_are_named_in_the_readme():
    readme = (ROOT / "README.md").read_text()
    assert not [name for name in GUIDES if f"docs/{name}.md" not in readme]


def test_tensorboard_gets_the_curves(workspace):
    run_guide("watch_a_run", workspace, having="--report_to tensorboard")
    (events,) = (workspace / "runs" / "tensorboard" / "runs").rglob("events.out.tfevents.*")
    curves = EventAccumulator(str(events)).Reload()
    assert {"train/loss", "eval/top1_accuracy"} <= set(curves.Tags()["scalars"])


def test_wandb_gets_the_curves_offline(workspace):
    pytest.importorskip("wandb")
    run_guide("watch_a_run", workspace, having="--report_to wandb")
    (run,) = (workspace / "wandb").glob("offline-run-*/run-*.wandb")
    assert b"eval/top1_accuracy" in run.read_bytes()


def test_trackio_gets_the_curves(workspace, tmp_path):
    pytest.importorskip("trackio")
    run_guide("watch_a_run", workspace, os.environ | {"HF_HOME": str(tmp_path)}, having="--report_to trackio")
    assert b"eval/top1_accuracy" in b"".join(path.read_bytes() for path in tmp_path.glob("trackio/gestures.db*"))


def test_run_is_stopped_early(workspace):
    run_guide("watch_a_run", workspace, having="--early_stopping_patience 10", epochs=60)
    state = json.loads((workspace / "runs" / "stopped" / "trainer_state.json").read_text())
    assert 10 < state["epoch"] < 60
    scores = [log["eval_top1_accuracy"] for log in state["log_history"] if "eval_top1_accuracy" in log]
    assert max(scores[-10:]) <= max(scores[:-10])


def test_extras_are_those_of_the_package():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    table = (ROOT / "docs" / "watch_a_run.md").read_text().partition("| extra |")[2]
    assert {name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])} == set(
        extras
    )


def test_release_becomes_images_a_model_and_a_report(workspace):
    prepared, cropped, trained, evaluated = run_guide("train_on_imigue", workspace)
    assert "not as labelled:\n  0004: there is no skeleton; the frames are whole" in cropped
    sizes = set()
    for path in workspace.glob("prepared/imigue_people/*/*/*.jpg"):
        with Image.open(path) as image:
            sizes.add((path.name[:4], image.size))
    assert sizes == {("0001", (33, 47)), ("0002", (33, 47)), ("0003", (33, 47)), ("0004", (64, 48))}
    assert re.search(r"^validation +1 +3 +24 +3$", prepared, flags=re.MULTILINE)
    assert "48 images to train on, 24 to validate, 32 classes" in trained
    assert "24 images of 3 clips, split test" in evaluated
    assert (workspace / "runs" / "imigue" / "report" / "report.html").is_file()


def test_micro_action_52_becomes_images_a_model_of_new_people_and_a_submission(workspace):
    prepared, divided, trained, evaluated, *_ = run_guide("train_on_micro_action_52", workspace)
    assert re.search(r"^validation +1 +8 +64 +3$", prepared, flags=re.MULTILINE)
    assert re.search(r"^validation +1 +6 +48 +3$", divided, flags=re.MULTILINE)
    assert "144 images to train on, 48 to validate, 52 classes" in trained

    results = json.loads((workspace / "runs" / "ma52" / "report" / "results.json").read_text())
    (person,) = results["subsets"]["subsets"]
    assert (person["num_clips"], person["num_images"]) == (6, 48)
    f1_mean = results["clips"]["class_groups"]["scores"]["f1_mean"]["value"]
    assert re.search(rf"^F1_mean +{f1_mean:.1%} ", evaluated, flags=re.MULTILINE)
    assert (
        "body (5), head (6), upper limb (13), lower limb (8), body-hand (6), head-hand (10), leg-hand (4)" in evaluated
    )

    (vote,) = predict(workspace / "runs" / "ma52", workspace / "MA-52" / "videos_test", frames_per_clip=8, vote="mean")
    actions = [MA52_CLASS_NAMES.index(label) for label in vote.labels]
    parts = [sum(action > last for last in (4, 10, 23, 31, 37, 47)) for action in actions]
    for name, row in (("prediction", [*actions, *parts]), ("prediction_2024", [parts[0], actions[0]])):
        with zipfile.ZipFile(workspace / f"{name}.zip") as archive:
            _, *rows = csv.reader(io.StringIO(archive.read("prediction.csv").decode()))
        assert rows == [["test0000.mp4", *map(str, row)]]


def test_cut_clips_become_images_and_a_model(workspace):
    folders, of_imigue, listed, people = run_guide("prepare_cut_clips", workspace)
    assert re.search(r"^test +1 +6 +48 +2$", folders, flags=re.MULTILINE)
    assert re.search(r"^train +1 +9 +72 +3$", of_imigue, flags=re.MULTILINE)
    assert re.search(r"^validation +1 +1 +8 +1$", listed, flags=re.MULTILINE)
    assert "48 images to train on, 48 to validate, 2 classes" in people


def test_own_folder_becomes_a_model_folds_and_predictions(workspace, own_folder):
    assert "mean of 3 folds" in own_folder[2]
    rows = list(csv.DictReader((workspace / "predictions.csv").read_text().splitlines()))
    assert len(rows) == 32
    assert {"label_1", "score_1", "label_3", "score_3"} <= rows[0].keys()
    assert "label_4" not in rows[0]


@pytest.fixture(scope="module")
def challenge(workspace):
    return run_guide("enter_the_miga_challenge", workspace)


def test_challenge_gets_the_votes_of_the_model_with_classes_from_zero(workspace, challenge):
    test = workspace / "iMiGUE" / "imigue_rgb_test"
    segments = workspace / "iMiGUE" / "imigue_skeleton_test"
    votes = predict(workspace / "runs" / "miga", test, segments=segments, frames_per_clip=8, vote="mean")
    expected = [[vote.clip, str(IMIGUE_CLASS_NAMES.index(vote.labels[0]))] for vote in votes]
    with zipfile.ZipFile(workspace / "submission.zip") as archive:
        (name,) = archive.namelist()
        rows = list(csv.reader(io.StringIO(archive.read(name).decode())))
    assert [clip for clip, _ in rows] == ["0004_0", "0004_1", "0004_2"]
    assert rows == expected
    assert "complete.zip: 3 rows\n" in challenge  # where all can be read, no answer is made up


def test_image_level_set_gets_a_row_a_frame_with_classes_from_one(workspace, challenge):
    (row,) = csv.DictReader((workspace / "submission.csv").read_text().splitlines())
    (vote,) = predict(workspace / "runs" / "miga", workspace / "frames", vote="mean")
    assert row == {"filename": "G10_0000.0.jpg", "class": str(IMIGUE_CLASS_NAMES.index(vote.labels[0]) + 1)}


def test_model_gets_a_page_a_folder_to_serve_and_a_space(workspace, own_folder, tmp_path):
    with serving_hub() as hub:
        pushed, answered, with_onnx, written, _, space = run_guide(
            "push", workspace, client_environment(os.environ, hub, tmp_path)
        )
        assert re.match(r"served: \d+ files", written)
        assert f"{hub.address}/org/mg-vtc" in pushed
        assert f"{hub.address}/org/mg-vtc" in with_onnx
        assert "onnx/model_quantized.onnx" in hub.files("org/mg-vtc")
        assert "handler.py" in hub.files("org/mg-vtc")
        assert f"{hub.address}/spaces/org/mg-vtc-space" in space
    assert {answer["label"] for answer in json.loads(answered.replace("'", '"'))} <= {
        path.name for path in (workspace / "my_images").iterdir()
    }
    check_container(workspace, tmp_path / "image")


def check_container(workspace, image):
    """The container of the guide without Docker: its files in a folder, its command as a process on loopback."""
    (dockerfile,) = re.findall(r"```dockerfile\n(.*?)```", (ROOT / "docs" / "push.md").read_text(), flags=re.DOTALL)
    steps = [line.split(maxsplit=1) for line in dockerfile.splitlines()]
    assert len(steps) == 10
    for source, target in (words.split() for step, words in steps if step == "COPY"):
        copy = shutil.copytree if (workspace / source).is_dir() else shutil.copy
        image.mkdir(exist_ok=True)
        copy(workspace / source, image / (Path(source).name if target == "." else target))
    settings = dict(word.split("=") for step, words in steps if step == "ENV" for word in words.split())
    (command,) = (json.loads(words) for step, words in steps if step == "CMD")
    port = free_port()
    assert command[0] == "python"
    assert command[-1].startswith("0.0.0.0:")
    process = subprocess.Popen(
        [sys.executable, "-I", *command[1:-1], f"127.0.0.1:{port}"],
        cwd=image,
        env=os.environ | settings | {"HF_HOME": str(image / "home"), "OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
    )
    try:
        sent = (workspace / "image.jpg").read_bytes()
        status, best = ask_server(port, sent, "image/jpeg")
        assert (status, {row["label"] for row in best}) == (200, {path.name for path in workspace.glob("my_images/*")})
        assert sum(row["score"] for row in best) == pytest.approx(1)
        question = {"inputs": base64.b64encode(sent).decode(), "parameters": {"candidate_labels": ["a", "b"]}}
        status, compared = ask_server(port, json.dumps(question).encode(), "application/json")
        assert (status, {row["label"] for row in compared}) == (200, {"a", "b"})
        for body, kind in ((b"no sent", "image/jpeg"), (b"no JSON", "application/json")):
            status, refused = ask_server(port, body, kind)
            assert status == 400
            assert refused["error"]
    finally:
        process.kill()
        process.wait()


def ask_server(port, body, kind):
    """Status and content of an answer, once the server is there."""
    for _ in range(600):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
        try:
            connection.request("POST", "/", body, {"Content-Type": kind})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        except ConnectionRefusedError:
            time.sleep(0.1)
        finally:
            connection.close()
    raise TimeoutError(port)

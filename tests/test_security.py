"""Nothing that strangers send runs as code, reaches other files or shows a secret."""

import io
import json
import os
import pickle
import subprocess
import sys
import tarfile
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from conftest import CLASS_NAMES, TINY_RESNET
from hostile_files import NOISE, encode
from saved_models import save_model

from mg_vtc import MgVtcModel, load_image_folder
from mg_vtc.data.streaming import ImageStream, load_stream

IGNORE_PROTOCOL = pytest.mark.filterwarnings("ignore:Detected pickle protocol:UserWarning")  # of torch, as it refuses
TOKEN = "hf_" + "Planted" * 5


class Planted:
    """A pickle that writes a file when it is loaded."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return (Path.write_text, (self.trace, "ran"))


@pytest.fixture
def trace(tmp_path):
    """Exists once a planted pickle has run."""
    path = tmp_path / "trace"
    Planted(path).__reduce__()[0](*Planted(path).__reduce__()[1])
    assert path.exists()
    path.unlink()
    return path


def plant(path, trace, *, as_torch):
    if as_torch:
        torch.save(Planted(trace), path)
    else:
        path.write_bytes(pickle.dumps(Planted(trace)))


@IGNORE_PROTOCOL
@pytest.mark.parametrize("as_torch", [True, False], ids=["archive of torch", "bare pickle"])
@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin"])
def test_pickle_in_a_checkpoint_does_not_run(make_trainer, tmp_path, trace, name, as_torch):
    settings = {"save_strategy": "steps", "save_steps": 1, "load_best_model_at_end": False, "eval_strategy": "no"}
    make_trainer(**settings).train()
    checkpoint = tmp_path / "checkpoint-1"
    plant(checkpoint / name, trace, as_torch=as_torch)
    trainer = make_trainer(**settings | {"max_steps": 2})
    if name == "training_args.bin":  # which nothing reads
        trainer.train(resume_from_checkpoint=str(checkpoint))
    else:
        with pytest.raises((ValueError, pickle.UnpicklingError, RuntimeError)):
            trainer.train(resume_from_checkpoint=str(checkpoint))
    assert not trace.exists()


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "training_args.bin", "custom_generate/generate.py"])
def test_pickle_in_a_model_folder_does_not_run(processor, tmp_path, trace, name):
    folder = tmp_path / "model"
    save_model(folder, TINY_RESNET, tokenizer=processor.tokenizer)
    (folder / name).parent.mkdir(exist_ok=True)
    plant(folder / name, trace, as_torch=True)
    MgVtcModel.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises((OSError, ValueError, RuntimeError, pickle.UnpicklingError)):
        MgVtcModel.from_pretrained(folder)
    assert not trace.exists()


def add_member(tar, name, content):
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


@IGNORE_PROTOCOL
@pytest.mark.parametrize("suffix", ["pkl", "pickle", "pyd", "pth", "pt", "npy", "npz"])
def test_pickle_in_a_shard_does_not_run(tmp_path, trace, suffix):
    (tmp_path / "shards").mkdir()
    with tarfile.open(tmp_path / "shards" / "train-00000.tar", "w") as tar:
        for number in range(2):
            add_member(tar, f"{number}.jpg", encode(NOISE, "JPEG"))
            add_member(tar, f"{number}.cls", b"1")
            add_member(tar, f"{number}.{suffix}", pickle.dumps(Planted(trace)))
    (tmp_path / "labels.csv").write_text("id,name\n0,a\n1,b\n")
    with suppress(ValueError, pickle.UnpicklingError):  # of numpy and torch, which refuse it
        rows = load_stream(str(tmp_path / "shards"), labels_file=tmp_path / "labels.csv")["train"]
        assert len(list(ImageStream(rows, 32, 1, repeat=False))) == 2
    assert not trace.exists()


def test_members_of_a_shard_are_written_nowhere(tmp_path):
    shards = tmp_path / "in" / "shards"
    shards.mkdir(parents=True)
    with tarfile.open(shards / "train-00000.tar", "w") as tar:
        for name in ("../../outside", str(tmp_path / "absolute"), "inside"):
            add_member(tar, f"{name}.jpg", encode(NOISE, "JPEG"))
            add_member(tar, f"{name}.cls", b"1")
        link = tarfile.TarInfo("link.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    (tmp_path / "labels.csv").write_text("id,name\n0,a\n1,b\n")
    rows = load_stream(str(shards), labels_file=tmp_path / "labels.csv")["train"]
    assert len(list(ImageStream(rows, 32, 1, repeat=False))) == 3
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["in", "labels.csv", "shards", "train-00000.tar"]


NAMES = ["../../escape", "<img src=x onerror=alert(1)>", "[a](javascript:alert(1))", "=cmd|' /C calc'!A0", "`a`|b"]


def test_class_names_name_no_file(tmp_path, processor):
    folder = tmp_path / "runs" / "model"
    save_model(folder, TINY_RESNET, tokenizer=processor.tokenizer, id2label=dict(enumerate(NAMES)))
    assert not list(tmp_path.rglob("*escape*"))
    assert list(MgVtcModel.from_pretrained(folder).config.id2label.values()) == NAMES


def test_link_out_of_the_folder_is_read_as_the_user_made_it(tmp_path):
    """Links are followed, as users link folders of images; only a table cannot name files elsewhere."""
    for name in CLASS_NAMES[:2]:
        (tmp_path / "data" / name).mkdir(parents=True)
        NOISE.save(tmp_path / "data" / name / "a.png")
    NOISE.save(tmp_path / "elsewhere.png")
    (tmp_path / "data" / CLASS_NAMES[0] / "link.png").symlink_to(tmp_path / "elsewhere.png")
    assert len(load_image_folder(tmp_path / "data")["train"]) == 3


@pytest.mark.parametrize(
    "model", ["../../etc/passwd", "/etc", "org/../../etc", "org/name/more", "-flag", "a\nb", "a" * 500]
)
def test_hub_ids_that_are_none_are_refused(refusal, tmp_path, model):
    NOISE.save(tmp_path / "a.png")
    words = refusal("predict", *(["--"] if model.startswith("-") else []), model, tmp_path / "a.png")
    assert words.startswith("mg-vtc: ")
    assert len(words) < 1500


def run(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "mg_vtc", *map(str, arguments)],
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        capture_output=True,
        text=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.slow
def test_token_is_in_no_output_and_no_file(images_dir, tmp_path):
    """Trained with a token in the environment and in the arguments, then failing with both."""
    towers = {"--vision_config": json.dumps(TINY_RESNET), "--image_size": 32, "--num_train_epochs": 1}
    flags = [word for pair in towers.items() for word in pair]
    command = ["train", "vision_only", "--train_dir", images_dir, *flags]
    done = run(*command, "--output_dir", tmp_path / "run", HF_TOKEN=TOKEN)
    assert done.returncode == 0, done.stderr
    failed = run(*command, "--output_dir", tmp_path / "run", HF_TOKEN=TOKEN)
    wrong = run(*command, "--output_dir", tmp_path / "other", "--hub_token", TOKEN)
    assert "hub_token would be saved" in wrong.stderr
    lost = run("push", tmp_path / "run", "org/name", HF_TOKEN=TOKEN)
    assert failed.returncode == wrong.returncode == lost.returncode == 1
    for output in (done, failed, wrong, lost):
        assert TOKEN not in output.stdout + output.stderr
    for path in (path for path in (tmp_path / "run").rglob("*") if path.is_file()):
        assert TOKEN.encode() not in path.read_bytes(), path

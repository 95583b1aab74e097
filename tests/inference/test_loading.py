import json
import tempfile
from pathlib import Path

import pytest
import torch
from conftest import TINY_RESNET
from safetensors.torch import load_file, save_file
from saved_models import save_model
from transformers import AutoModel, ResNetConfig

from mg_vtc.app.gesture_model import GestureModel
from mg_vtc.files import atomic_write_folder, check_destination
from mg_vtc.hub.handler import EndpointHandler
from mg_vtc.inference.loading import open_model, read_config
from mg_vtc.runs.manifest import write_manifest


def test_model_that_is_not_there_is_named(tmp_path):
    with pytest.raises(OSError, match="There is no model 'no/such'"):
        open_model("no/such")


def test_model_of_another_kind_is_refused_by_its_type(tmp_path):
    AutoModel.from_config(ResNetConfig(**TINY_RESNET)).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="of type 'resnet'"):
        open_model(str(tmp_path))


def test_opened_model_is_in_evaluation_mode_with_its_image_processor(tmp_path):
    save_model(tmp_path, TINY_RESNET, image_size=48)
    model, processor = open_model(str(tmp_path))
    assert not model.training
    assert (processor.size["height"], processor.size["width"]) == (48, 48)


DAMAGES = {
    "missing: class_embeds": lambda tensors: tensors.pop("class_embeds"),
    "not of this model: surplus": lambda tensors: tensors.update(surplus=torch.zeros(1)),
    "of another shape: logit_scale": lambda tensors: tensors.update(logit_scale=torch.zeros(3)),
    "not finite: vision_projection": lambda tensors: next(
        tensor for name, tensor in tensors.items() if name.startswith("vision_projection") and tensor.ndim > 1
    ).fill_(torch.nan),
    "not finite: logit_scale": lambda tensors: tensors["logit_scale"].fill_(torch.inf),
    "no embedding, 'Covering face' first": lambda tensors: tensors["class_embeds"][0].zero_(),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("words", DAMAGES)
@pytest.mark.parametrize("opening", [open_model, GestureModel, EndpointHandler])
def test_damaged_weights_are_refused_by_the_name_of_the_tensor(opening, words, tmp_path):
    save_model(tmp_path, TINY_RESNET)
    opening(str(tmp_path))
    tensors = load_file(tmp_path / "model.safetensors")
    DAMAGES[words](tensors)
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises((ValueError, RuntimeError), match=words):
        opening(str(tmp_path))


def test_labels_that_are_not_texts_are_refused_by_name(tmp_path):
    save_model(tmp_path, TINY_RESNET)
    config = json.loads((tmp_path / "config.json").read_text())
    config["id2label"]["1"] = 7
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"id2label must map each class to a name, but '?1'? has 7"):
        open_model(str(tmp_path))


def test_present_files_are_refused_by_name_unless_overwriting(tmp_path):
    (tmp_path / "b").touch()
    check_destination("org/name", tmp_path, ["a"], overwrite=False)
    check_destination("org/name", tmp_path, ["a", "b"], overwrite=True)
    with pytest.raises(ValueError, match=r"already holds b: .*`overwrite`"):
        check_destination("org/name", tmp_path, ["a", "b"], overwrite=False)


@pytest.mark.parametrize("overwrite", [False, True])
def test_folder_of_the_model_is_never_the_destination(tmp_path, overwrite):
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="is the folder of the model"):
        check_destination(str(tmp_path), tmp_path / "link", [], overwrite=overwrite)


def test_files_come_together_and_those_of_an_earlier_export_leave(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    for name in ("old", "replaced", "of somebody else"):
        (folder / name).write_text("old")
    with atomic_write_folder(folder, ["old", "replaced"]) as staging:
        (staging / "replaced").write_text("new")
        assert (folder / "replaced").read_text() == "old"
    assert {path.name: path.read_text() for path in folder.iterdir()} == {"replaced": "new", "of somebody else": "old"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_folder_on_another_disk_takes_files_too(tmp_path):
    shared_memory = Path("/dev/shm")
    if not shared_memory.is_dir() or shared_memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs a second file system, which /dev/shm is on Linux")
    with tempfile.TemporaryDirectory(dir=shared_memory) as elsewhere:
        folder = tmp_path / "out"
        folder.symlink_to(elsewhere)
        (folder / "a").write_text("old")
        with atomic_write_folder(folder, ["a"]) as staging:
            (staging / "a").write_text("new")
        assert {path.name: path.read_text() for path in Path(elsewhere).iterdir()} == {"a": "new"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def write(folder, error):
    with atomic_write_folder(folder, ["b", "a"]) as staging:
        (staging / "a").write_text("new")
        if error is not None:
            raise error


def test_an_error_leaves_no_folder_that_was_not_there(tmp_path):
    with pytest.raises(ArithmeticError):
        write(tmp_path / "not" / "there" / "yet", ArithmeticError())
    assert not list(tmp_path.iterdir())


def test_an_error_leaves_the_files_of_an_earlier_export(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_text("old")
    with pytest.raises(ArithmeticError):
        write(tmp_path, ArithmeticError())
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "old", "b": "old"}


def test_a_file_that_cannot_be_replaced_leaves_those_that_would_have_left(tmp_path):
    (tmp_path / "a").mkdir()  # which no file replaces
    (tmp_path / "b").write_text("old")
    with pytest.raises(IsADirectoryError):
        write(tmp_path, None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_truncated_weights_are_refused_in_a_line(tmp_path):
    save_model(tmp_path, TINY_RESNET, image_size=48)
    whole = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"weights of .* are damaged .*: copy them again, or use a checkpoint"):
        open_model(tmp_path)


def test_missing_image_processor_is_named(tmp_path):
    save_model(tmp_path, TINY_RESNET, image_size=48)
    for name in ("preprocessor_config.json", "processor_config.json"):
        (tmp_path / name).unlink(missing_ok=True)
    with pytest.raises(OSError, match="has no image processor that can be loaded: copy its files again"):
        open_model(tmp_path)


def test_folder_of_runs_names_them(tmp_path):
    save_model(tmp_path / "mine", TINY_RESNET, image_size=48)
    with pytest.raises(ValueError, match="holds several runs and is not a model: pass one of mine"):
        open_model(tmp_path)


def test_run_that_is_not_finished_is_named_with_its_last_checkpoint(tmp_path):
    for step in (5, 10):
        save_model(tmp_path / "run" / f"checkpoint-{step}", TINY_RESNET, image_size=48)
    with pytest.raises(
        ValueError, match=r"run holds a run that is not finished: .* such as .*checkpoint-10\."
    ) as error:
        open_model(tmp_path / "run")
    assert open_model(str(error.value).rpartition("such as ")[2].removesuffix("."))


def test_missing_configuration_of_a_finished_run_is_named(finished_run):
    write_manifest(finished_run)
    (finished_run / "config.json").unlink()
    with pytest.raises(ValueError, match=r"config\.json is missing: copy the files again, or use a checkpoint"):
        open_model(finished_run)


def test_temporary_folder_of_an_export_that_was_killed_is_removed(tmp_path):
    abandoned = tmp_path / ".export-killed"
    abandoned.mkdir()
    (abandoned / "model.safetensors").touch()
    with atomic_write_folder(tmp_path, ["a"]) as staging:
        (staging / "a").touch()
        assert not abandoned.exists()
        with atomic_write_folder(tmp_path, ["b"]) as other:  # whose process is alive
            assert staging.exists()
            (other / "b").touch()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_configuration_that_cannot_be_used_is_named_with_its_folder(tmp_path):
    save_model(tmp_path, TINY_RESNET)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"projection_dim": -1}))
    with pytest.raises(ValueError, match=rf"config\.json of {tmp_path}: .* projection_dim must be at least 1, got -1"):
        read_config(str(tmp_path))


def test_model_that_is_being_written_is_no_run_of_its_folder(tmp_path):
    (tmp_path / "model.part").mkdir()
    (tmp_path / "model.part" / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="Unrecognized model"):
        read_config(str(tmp_path))

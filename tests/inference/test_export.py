import pytest
from conftest import TINY_RESNET
from saved_models import save_model
from transformers import AutoModel, ResNetConfig

from mg_vtc.inference.export import check_destination, open_model, write_when_right


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


def test_present_files_are_refused_by_name_unless_overwriting(tmp_path):
    (tmp_path / "b").touch()
    check_destination(tmp_path, ["a"], overwrite=False)
    check_destination(tmp_path, ["a", "b"], overwrite=True)
    with pytest.raises(ValueError, match=r"holds b already.*--overwrite"):
        check_destination(tmp_path, ["a", "b"], overwrite=False)


def test_files_come_together_and_those_of_an_earlier_export_leave(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    for name in ("old", "replaced", "of somebody else"):
        (folder / name).write_text("old")
    with write_when_right(folder, ["old", "replaced"]) as staging:
        (staging / "replaced").write_text("new")
        assert (folder / "replaced").read_text() == "old"
    assert {path.name: path.read_text() for path in folder.iterdir()} == {"replaced": "new", "of somebody else": "old"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_error_leaves_everything_as_it_was(tmp_path):
    folder = tmp_path / "out"

    def write():
        with write_when_right(folder, ["a"]) as staging:
            (staging / "a").touch()
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        write()
    assert not list(tmp_path.iterdir())

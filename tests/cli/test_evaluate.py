"""`mg-vtc evaluate`: what it writes, prints and refuses."""

import json
import re
import shutil
import subprocess
import sys

import pytest
from conftest import CLASS_NAMES

from mg_vtc import load_image_folder

COMMAND = [sys.executable, "-m", "mg_vtc"]


@pytest.fixture(scope="module")
def two_classes(images_dir, tmp_path_factory):
    """Images of the classes that the model knows."""
    folder = tmp_path_factory.mktemp("two")
    for name in CLASS_NAMES[:2]:
        shutil.copytree(images_dir / name, folder / name)
    return folder


def test_evaluation_writes_a_report_beside_the_model_and_shows_scores(two_class_run, two_classes):
    command = [*COMMAND, "evaluate", str(two_class_run), str(two_classes)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert (
        lines[0]
        == f"{two_class_run} on {two_classes}: 16 images of 8 clips, split all; 2 classes, image-classification"
    )
    assert lines[-1] == str(two_class_run / "report" / "report.html")
    top1 = json.loads((two_class_run / "report" / "results.json").read_text())["scores"]["top1_accuracy"]
    assert re.search(rf"^top-1 accuracy +{top1['value']:.1%} ", done.stdout, re.MULTILINE)


def test_files_are_kept_before_anything_is_computed(refusal, two_class_run, tmp_path):
    (tmp_path / "report.html").write_text("mine")
    words = refusal("evaluate", two_class_run, "absent", "--output_dir", tmp_path)
    assert words == f"mg-vtc: {tmp_path} already holds report.html: choose another --output_dir, or set --overwrite."
    assert "is the folder of the model" in refusal(
        "evaluate", two_class_run, "absent", "--output_dir", two_class_run, "--overwrite"
    )


def test_flags_of_an_evaluation_reach_it(refusal, two_class_run, two_classes, images_dir, tmp_path):
    def refuse(*flags, data=two_classes):
        return refusal("evaluate", two_class_run, data, "--output_dir", tmp_path / "report", *flags)

    assert "no split 'test'" in refuse("--split", "test")
    assert "There is no labels file absent.csv" in refuse("--labels_file", "absent.csv")
    assert "--prompt_template requires --zero_shot" in refuse("--prompt_template", "a {}")
    assert "needs one '{}'" in refuse("--zero_shot", "--prompt_template", "a")
    assert "batch_size should be a positive integer" in refuse("--batch_size", "0")
    assert "no folder 'absent'" in refuse(data="absent")
    assert "Classes of the model (2): 'Covering face', 'Folding arms'." in refuse(data=images_dir)
    assert not (tmp_path / "report").exists()


def test_columns_of_a_data_set_can_be_named(refusal, two_class_run, two_classes, tmp_path):
    rows = load_image_folder(two_classes)["train"]
    (tmp_path / "shards").mkdir()
    rows.to_parquet(tmp_path / "shards" / "train.parquet")
    flags = ("--image_column_name", "photo", "--label_column_name", "gesture", "--output_dir", tmp_path / "report")
    assert "has no column 'gesture', 'photo'" in refusal("evaluate", two_class_run, tmp_path / "shards", *flags)
    flags = ("--clip_column_name", "video", "--output_dir", tmp_path / "report")
    assert "column 'video'" in refusal("evaluate", two_class_run, two_classes, *flags)


def test_folder_that_is_no_model_cannot_be_evaluated(refusal, tmp_path, two_classes):
    assert re.match(rf"mg-vtc: .*{tmp_path}.* config\.json", refusal("evaluate", tmp_path, two_classes))


def test_without_what_draws_a_report_the_scores_are_printed_and_written(two_class_run, two_classes, tmp_path):
    code = "import sys; sys.modules['matplotlib'] = None; from mg_vtc.cli.main import main; main(sys.argv[1:])"
    command = [
        sys.executable,
        "-c",
        code,
        "evaluate",
        str(two_class_run),
        str(two_classes),
        "--output_dir",
        str(tmp_path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "top-1 accuracy" in done.stdout
    assert 'report.html needs matplotlib: pip install "mg-vtc[report]"' in done.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"results.json", "predictions.parquet"}


def test_folder_of_several_runs_names_them(refusal, two_class_run, two_classes, tmp_path):
    for fold in (0, 1):
        shutil.copytree(two_class_run, tmp_path / f"fold-{fold}")
    message = refusal("evaluate", tmp_path, two_classes)
    assert f"{tmp_path} holds several runs and is not a model: pass one of fold-0, fold-1 in it." in message


@pytest.mark.parametrize(
    "words", [("--skip_corrupt_images",), ("--skip_corrupt_images", "true"), ("--skip_corrupt_images=yes",)]
)
def test_flags_that_are_on_or_off_take_a_value_or_none(words, mg_vtc_command, two_class_run, two_classes, tmp_path):
    bad = shutil.copytree(two_classes, tmp_path / "bad")
    (bad / CLASS_NAMES[0] / "torn.png").write_bytes(b"torn")
    with pytest.warns(UserWarning, match="1 of 17 files are not readable"):
        mg_vtc_command("evaluate", two_class_run, bad, "--output_dir", tmp_path / "report", *words)
    with pytest.raises(SystemExit, match="not readable images"):
        mg_vtc_command(
            "evaluate", two_class_run, bad, "--output_dir", tmp_path / "other", "--skip_corrupt_images", "false"
        )

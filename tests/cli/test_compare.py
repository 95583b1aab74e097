"""`mg-vtc compare`: what it prints, writes and refuses."""

import json

import pytest
from conftest import CLASS_NAMES


@pytest.fixture(scope="module")
def evaluated(two_class_run, images_dir, tmp_path_factory):
    """The folders of two reports on the same images, of one run."""
    from mg_vtc import evaluate
    from mg_vtc.evaluation.evaluate import write_evaluation

    images = tmp_path_factory.mktemp("images")
    for name in CLASS_NAMES[:2]:
        (images / name).symlink_to(images_dir / name)
    folders = [tmp_path_factory.mktemp("reports") / name for name in "ab"]
    evaluation = evaluate(str(two_class_run), str(images), vote="mean")
    for folder in folders:
        write_evaluation(evaluation, folder, with_report=False)
    return folders


def test_equal_runs_are_not_told_apart(mg_vtc_command, evaluated, tmp_path, capsys):
    mg_vtc_command("compare", *evaluated, "--output", tmp_path / "new" / "comparison.json")
    screen = capsys.readouterr().out
    assert "16 images" in screen
    assert "these images do not show that one run is better" in screen
    assert json.loads((tmp_path / "new" / "comparison.json").read_text())["scores"]["top1_accuracy"]["difference"] == 0
    with pytest.raises(SystemExit, match="exists: choose another --output"):
        mg_vtc_command("compare", *evaluated, "--output", tmp_path / "new" / "comparison.json")
    with pytest.raises(SystemExit, match="is a folder: --output needs the name of a file"):
        mg_vtc_command("compare", *evaluated, "--output", tmp_path / "new", "--overwrite")


def test_run_that_was_not_evaluated_is_refused_with_the_command(mg_vtc_command, evaluated, tmp_path):
    with pytest.raises(SystemExit, match=r"no predictions\.parquet: run `mg-vtc evaluate"):
        mg_vtc_command("compare", evaluated[0], tmp_path)

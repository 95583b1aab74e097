"""Evaluation across data sets: shared classes alone, in the words of the scored data set."""

import json
import shutil

import numpy as np
import pytest
from conftest import TINY_RESNET
from PIL import Image
from saved_models import save_model

from mg_vtc import build_tokenizer, cross_evaluate, evaluate, predict
from mg_vtc.data.class_lists import IMIGUE_CLASS_NAMES, SMG_CLASS_NAMES
from mg_vtc.data.class_map import ClassMap

NAMES = {"imigue": IMIGUE_CLASS_NAMES, "smg": SMG_CLASS_NAMES}


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A model and two images of each class, for each of two data sets."""
    root, rng = tmp_path_factory.mktemp("sets"), np.random.default_rng(0)
    for word, names in NAMES.items():
        for number in range(len(names)):
            (root / word / str(number)).mkdir(parents=True)
            for clip in range(2):
                pixels = rng.integers(256, size=(24, 24, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / word / str(number) / f"{clip:04}.0.png")
        rows = "".join(f'{number},"{name}"\n' for number, name in enumerate(names))
        (root / word / "labels.csv").write_text("id,name\n" + rows)
        save_model(
            root / f"model-{word}",
            TINY_RESNET,
            tokenizer=build_tokenizer([*IMIGUE_CLASS_NAMES, *SMG_CLASS_NAMES]),
            id2label=dict(enumerate(names)),
        )
    return root


def test_images_are_compared_with_the_shared_names_of_their_own_data_set(places):
    (cell,) = cross_evaluate([str(places / "model-imigue")], [str(places / "smg")])
    shared = ClassMap().list_shared("smg", "imigue", SMG_CLASS_NAMES)
    assert (cell["trained_on"], cell["scored_on"]) == ("imigue", "smg")
    assert (cell["num_classes"], cell["num_images"], cell["chance"]) == (12, 24, 1 / 12)
    files = {
        path: SMG_CLASS_NAMES[int(path.parent.name)]
        for path in sorted((places / "smg").rglob("*.png"))
        if SMG_CLASS_NAMES[int(path.parent.name)] in shared
    }
    predictions = predict(str(places / "model-imigue"), [*map(str, files)], candidate_labels=shared, top_k=1)
    hits = [one.labels[0] == name for one, name in zip(predictions, files.values(), strict=True)]
    assert cell["scores"]["top1_accuracy"]["value"] == pytest.approx(np.mean(hits))


def test_matrix_has_a_cell_for_each_model_and_data_set(places):
    models, data = ([str(places / f"{prefix}{word}") for word in NAMES] for prefix in ("model-", ""))
    cells = cross_evaluate(models, data)
    assert [(cell["model"], cell["data"]) for cell in cells] == [(model, one) for model in models for one in data]
    assert [cell["num_classes"] for cell in cells] == [20, 12, 12, 13]


def test_fewer_than_two_shared_classes_are_not_scored(places, tmp_path):
    table = tmp_path / "map.csv"
    rows = ("hat,Touching hat,,a", "jaw,Touching jaw,,b", "crossed,,Crossing legs,c", "moved,,Moving legs,d")
    table.write_text("\n".join(["name,mine,yours,theirs", *rows]))
    (cell,) = cross_evaluate([str(places / "model-imigue")], [str(places / "smg")], class_map=table)
    assert (cell["trained_on"], cell["scored_on"]) == ("mine", "yours")
    assert (cell["num_classes"], cell["scores"], cell["chance"]) == (0, None, None)


def test_classes_without_held_out_images_are_not_shared_and_cost_no_other_cell(places, tmp_path):
    names = ("Folding arms", "Arms akimbo", "Crossing legs")
    for split, classes in (("train", names), ("test", names[2:])):
        for name in classes:
            shutil.copytree(places / "smg" / str(SMG_CLASS_NAMES.index(name)), tmp_path / split / name)
    models, data = [str(places / "model-imigue"), str(places / "model-smg")], [str(tmp_path), str(places / "smg")]
    poor, rich, *_ = cross_evaluate(models, data)
    assert (poor["num_classes"], poor["scores"]) == (0, None)
    assert rich["num_classes"] == 12
    with pytest.raises(ValueError, match="Only the training split has images of `candidate_labels`: 'Folding arms'"):
        evaluate(models[0], str(tmp_path), candidate_labels=names[:2])


def test_data_are_read_with_the_settings_of_the_run_that_was_trained_on_them(places, tmp_path):
    folder, run = tmp_path / "numbers", shutil.copytree(places / "model-smg", tmp_path / "run")
    shutil.copytree(places / "smg", folder, ignore=shutil.ignore_patterns("labels.csv"))
    (run / "recipe.yaml").write_text(f"train_dir: {folder}\nlabels_file: smg\n")
    cells = cross_evaluate([str(places / "model-imigue"), str(run)], [str(folder)])
    assert [cell["num_classes"] for cell in cells] == [12, 13]


def test_command_prints_the_matrix_and_writes_it(places, tmp_path, capsys):
    from mg_vtc.cli.main import main

    output = tmp_path / "new" / "matrix.json"
    command = ["cross_evaluate", str(places / "model-smg"), "--data", str(places / "smg"), str(places / "imigue")]
    main([*command, "--output", str(output)])
    cells = json.loads(output.read_text())
    lines = capsys.readouterr().out.splitlines()
    shown = [f"{cell['scores']['top1_accuracy']['value']:.1%} ({cell['num_classes']}, " for cell in cells]
    assert lines[0].split() == ["model", str(places / "smg"), str(places / "imigue")]
    assert lines[1].startswith(str(places / "model-smg"))
    assert all(cell in lines[1] for cell in shown)
    with pytest.raises(SystemExit, match=r"matrix\.json exists: choose another --output, or add --overwrite"):
        main([*command, "--output", str(output)])
    with pytest.raises(SystemExit, match="is a folder: --output needs the name of a file"):
        main([*command, "--output", str(tmp_path), "--overwrite"])


def test_candidate_labels_leave_other_classes_out(places):
    names = ["arms akimbo", "Folding arms"]
    evaluation = evaluate(str(places / "model-smg"), str(places / "smg"), candidate_labels=names)
    assert evaluation.results["conditions"]["num_images"] == 4
    assert evaluation.predictions.class_names == ["Arms akimbo", "Folding arms"]
    assert {name.split("/")[0] for name in evaluation.predictions.file_names} == {"8", "2"}
    assert evaluation.results["conditions"]["task"] == "zero-shot-image-classification"


def test_leakage_counted_for_all_classes_is_not_reported_of_some(places):
    records = {"split_by": "given", "train": [], "leakage": {"validation": {"same_bytes": 3}}}
    names = [path.relative_to(places / "smg").as_posix() for path in sorted((places / "smg").rglob("*.png"))]
    (places / "model-smg" / "split.json").write_text(json.dumps(records | {"validation": names}))
    try:
        of_all = evaluate(str(places / "model-smg"), str(places / "smg"), split="validation").results
        chosen = evaluate(
            str(places / "model-smg"), str(places / "smg"), candidate_labels=["Arms akimbo", "Folding arms"]
        ).results
    finally:
        (places / "model-smg" / "split.json").unlink()
    assert of_all["conditions"]["leakage"] == {"same_bytes": 3}
    assert chosen["conditions"]["leakage"] is None


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["Folding arms"], "`candidate_labels` needs two or more classes of the data"),
        (["Folding arms", "waving"], "must be classes of the data, which has no 'waving', only 'Turtling neck"),
        (["Folding arms", "folding  arms"], "Two classes of `candidate_labels` have the same name"),
    ],
)
def test_candidate_labels_that_do_not_fit_are_refused(places, names, message):
    with pytest.raises(ValueError, match=message):
        evaluate(str(places / "model-smg"), str(places / "smg"), candidate_labels=names)


def test_classes_that_are_not_scored_are_neither_counted_nor_compared_with(places, tmp_path):
    shared = ClassMap().list_shared("smg", "imigue", SMG_CLASS_NAMES)[:4]
    for split, classes in (("train", shared), ("validation", shared), ("test", shared[:3])):
        for name in classes:
            shutil.copytree(places / "smg" / str(SMG_CLASS_NAMES.index(name)), tmp_path / split / name)
    (cell,) = cross_evaluate([str(places / "model-imigue")], [str(tmp_path)])
    assert (cell["num_classes"], cell["chance"], cell["num_images"]) == (3, 1 / 3, 6)


def test_labels_file_is_read_for_each_data_set(places, tmp_path):
    folder = tmp_path / "numbers"
    shutil.copytree(places / "smg", folder, ignore=shutil.ignore_patterns("labels.csv"))
    (cell,) = cross_evaluate([str(places / "model-imigue")], [str(folder)], labels_file="smg")
    assert cell["num_classes"] == 12

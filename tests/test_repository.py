"""Rules of the house, kept by parsing the sources: who imports whom, how long a room may be, what is in no file."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import mg_vtc

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src" / "mg_vtc").rglob("*.py"))
HUB_FILES = ("configuration_alexnet", "configuration_mg_vtc", "modeling_alexnet", "modeling_mg_vtc", "modeling_tower")
TRACKED = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()


def imports_of(path):
    """What a file imports: (dots of a relative import, module and name)."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.level, f"{node.module or ''}.{alias.name}".lstrip(".")) for alias in node.names)


def room(name):
    return ROOT / "src" / "mg_vtc" / f"{name}.py"


@pytest.mark.parametrize("name", HUB_FILES)
def test_files_that_ship_to_the_hub_import_torch_transformers_and_each_other(name):
    standard = {"math", "collections", "contextlib", "dataclasses", "functools", "typing"}
    for level, module in imports_of(room(name)):
        if level:
            assert level == 1
            assert module.split(".")[0] in HUB_FILES
        else:
            allowed = {"torch", "transformers", "huggingface_hub"}  # the last for transformers' own `strict`
            assert module.split(".")[0] in standard | allowed, module


def test_handler_of_the_endpoint_stands_alone():
    for level, module in imports_of(room("hub/handler")):
        assert level == 0
        assert module.split(".")[0] in {*sys.stdlib_module_names, "torch", "transformers", "numpy", "PIL"}, module


def test_losses_import_torch_alone():
    assert {module.split(".")[0] for _, module in imports_of(room("losses"))} <= {"torch", "math", "difflib"}


def test_data_imports_no_model_and_no_trainer():
    for path in (ROOT / "src" / "mg_vtc" / "data").glob("*.py"):
        for _, module in imports_of(path):
            assert not re.search("model|trainer|recipe", module), (path.name, module)


def test_trainer_never_imports_the_model():
    own = {module.split(".")[0] for level, module in imports_of(room("trainer")) if level}
    assert own == {"class_texts", "gathering", "hub", "losses", "parameter_groups", "picture_trainer", "training_args"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_nothing_imports_the_scripts(path):
    assert not {"train", "cli"} & {module.removeprefix("mg_vtc.").split(".")[0] for _, module in imports_of(path)}


@pytest.mark.parametrize("path", [*SOURCES, ROOT / "train.py"], ids=lambda path: path.name)
def test_rooms_are_small(path):
    source = path.read_text()
    assert len(source.splitlines()) <= 400
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno + 1 <= 50, node.name


def test_no_room_has_a_name_that_says_nothing():
    assert not [name for name in TRACKED if re.search(r"/(utils|common|helpers|misc|factory|registry)\.py$", name)]


def test_every_test_mirrors_a_room():
    of_the_whole = {
        "test_train_script",
        "test_hub_loading",
        "test_hub_push",
        "test_docs",
        "test_repository",
        "test_readme",
    }
    for path in (ROOT / "tests").rglob("test_*.py"):
        if path.stem not in of_the_whole:
            folder = path.relative_to(ROOT / "tests").parent
            room_of = ROOT if folder.name == "benchmarks" else ROOT / "src" / "mg_vtc"
            assert (room_of / folder / path.name.removeprefix("test_")).is_file(), path


def test_every_room_has_a_test():
    for path in SOURCES:
        if path.stem != "__init__":
            relative = path.relative_to(ROOT / "src" / "mg_vtc")
            assert (ROOT / "tests" / relative.parent / f"test_{relative.name}").is_file(), path


def test_no_file_names_a_path_of_one_machine():
    pattern = re.compile(r"/(?:home|root|work|Users)/[a-z]|\.\./shared|/tmp/[a-z]")
    for name in TRACKED:
        if (
            Path(name).suffix in (".py", ".md", ".yaml", ".toml", ".txt", ".cff")
            and name != "tests/test_repository.py"
        ):
            assert not pattern.search((ROOT / name).read_text()), name


def test_nothing_waits_to_be_filled_in():
    for name in ("README.md", "EXPERIMENTS.md", "CHANGELOG.md", "CONTRIBUTING.md"):
        assert not re.search(r"RESULTS_TABLE|TBD|TODO|FIXME", (ROOT / name).read_text()), name


def test_no_picture_but_the_drawn_one_is_in_the_repository():
    pictures = [name for name in TRACKED if Path(name).suffix.lower() in (".jpg", ".jpeg", ".png", ".webp", ".gif")]
    assert set(pictures) <= {"docs/demo.png"}


def test_version_is_the_same_wherever_it_stands():
    version = mg_vtc.__version__
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == version


def test_constraints_pin_every_dependency():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = sum(project["optional-dependencies"].values(), start=project["dependencies"])
    names = {re.split(r"[<>=\[]", name)[0].lower().replace("_", "-") for name in wanted} - {"mg-vtc"}
    pinned = {
        line.split("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    assert names <= pinned


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_recipes_hold_only_keys_that_exist(path):
    from mg_vtc.recipe import parse_recipe

    flags = [] if "dataset_name" in yaml.safe_load(path.read_text()) else ["--train_dir", "pictures"]
    assert parse_recipe([str(path), *flags]).training.output_dir == f"runs/{path.stem}"


@pytest.mark.parametrize("name", ["demo", "small", "recommended"])
def test_recipes_that_run_offline_name_no_pretrained_tower(name):
    recipe = yaml.safe_load((ROOT / "configs" / f"{name}.yaml").read_text())
    assert {"vision_config", "text_config"} <= set(recipe)

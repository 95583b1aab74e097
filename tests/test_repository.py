"""Rules of the sources, kept by parsing them: layers, length, names, and what is in no file."""

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
PACKAGE = ROOT / "src" / "mg_vtc"
LAYERS = (  # a module imports its own folder and those of lines above
    ("models", "losses", "files", "recipes", "messages"),
    ("data",),
    ("runs",),
    ("inference",),
    ("evaluation",),
    ("exporters",),
    ("hub",),
    ("training",),
    ("app",),
    ("cli",),
)
HUB_FILES = ("configuration_alexnet", "configuration_mg_vtc", "modeling_alexnet", "modeling_mg_vtc", "modeling_tower")
TRACKED = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()


def imports_of(path):
    """What a file imports: (dots of a relative import, module and name)."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.level, f"{node.module or ''}.{alias.name}".lstrip(".")) for alias in node.names)


def source(name):
    return PACKAGE / f"{name}.py"


def absolute_imports_of(path):
    """Modules of the package that a file imports, from the package on: ("data", "labels")."""
    here = path.relative_to(PACKAGE).parts[:-1]
    for level, name in imports_of(path):
        if level:
            yield (*here[: len(here) - level + 1], *name.split("."))
        elif name.split(".")[0] == "mg_vtc":
            yield tuple(name.split(".")[1:])


@pytest.mark.parametrize("name", HUB_FILES)
def test_files_that_ship_to_the_hub_import_torch_transformers_and_each_other(name):
    standard = {"math", "collections", "contextlib", "dataclasses", "functools", "inspect", "typing"}
    for level, module in imports_of(source(f"models/{name}")):
        if level:
            assert level == 1
            assert module.split(".")[0] in HUB_FILES
        else:
            allowed = {"torch", "transformers", "huggingface_hub"}  # the last for transformers' own `strict`
            assert module.split(".")[0] in standard | allowed, module


def test_handler_of_the_endpoint_stands_alone():
    for level, module in imports_of(source("hub/handler")):
        assert level == 0
        assert module.split(".")[0] in {*sys.stdlib_module_names, "torch", "transformers", "numpy", "PIL"}, module


def test_losses_import_torch_alone():
    assert {module.split(".")[0] for _, module in imports_of(source("losses"))} <= {"torch", "math", "difflib"}


def test_no_import_runs_up_a_layer():
    floor = {name: number for number, names in enumerate(LAYERS) for name in names}
    for path in SOURCES:
        home = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for name in absolute_imports_of(path) if home in floor else ():
            if name[0] in floor and name[0] != home:
                assert floor[name[0]] < floor[home], f"{path.relative_to(PACKAGE)} imports {'.'.join(name)}"


def test_every_folder_has_a_layer():
    folders = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in SOURCES}
    assert {name for names in LAYERS for name in names} == folders - {"__init__", "__main__"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_files_and_functions_are_short(path):
    source = path.read_text()
    assert len(source.splitlines()) <= 400
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno + 1 <= 50, node.name


def test_no_file_has_a_name_that_says_nothing():
    assert not [name for name in TRACKED if re.search(r"/(utils|common|helpers|misc|factory|registry)\.py$", name)]


def test_tests_mirror_the_folders_of_the_sources():
    folders = {path.parent.relative_to(PACKAGE).as_posix() for path in SOURCES} | {"benchmarks"}
    tests = [path for path in (ROOT / "tests").rglob("test_*.py") if "node_modules" not in path.parts]
    assert {path.parent.relative_to(ROOT / "tests").as_posix() for path in tests} <= folders


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


def test_no_image_but_the_drawn_one_is_in_the_repository():
    images = [name for name in TRACKED if Path(name).suffix.lower() in (".jpg", ".jpeg", ".png", ".webp", ".gif")]
    assert set(images) <= {"docs/demo.png"}


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


@pytest.mark.parametrize("path", sorted((PACKAGE / "recipes").glob("*.yaml")), ids=lambda path: path.stem)
def test_recipes_hold_only_keys_that_exist(path):
    from mg_vtc.training.recipe import parse_recipe

    flags = [] if "dataset_name" in yaml.safe_load(path.read_text()) else ["--train_dir", "images"]
    assert parse_recipe([str(path), *flags]).training.output_dir == f"runs/{path.stem}"


@pytest.mark.parametrize("name", ["demo", "small", "recommended"])
def test_recipes_that_run_offline_name_no_pretrained_tower(name):
    recipe = yaml.safe_load((PACKAGE / "recipes" / f"{name}.yaml").read_text())
    assert {"vision_config", "text_config"} <= set(recipe)

["demo", "small", "recommended"]""Rules of the house, kept by parsing the sources: who imports whom, how long a room may be, what is in no file."""

i["demo", "small", "recommended"]port ast
i["demo", "small", "recommended"]port re
i["demo", "small", "recommended"]port subprocess
i["demo", "small", "recommended"]port tomllib
fr["demo", "small", "recommended"]m pathlib import Path

i["demo", "small", "recommended"]port pytest
i["demo", "small", "recommended"]port yaml

i["demo", "small", "recommended"]port mg_vtc

ROOT["demo", "small", "recommended"]= Path(__file__).parents[1]
SOURCES["demo", "small", "recommended"]= sorted((ROOT / "src" / "mg_vtc").rglob("*.py"))
HUB_FILES["demo", "small", "recommended"]= ("configuration_alexnet", "configuration_mg_vtc", "modeling_alexnet", "modeling_mg_vtc", "modeling_tower")
TRACKED["demo", "small", "recommended"]= subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()


["demo", "small", "recommended"]ef imports_of(path):
["demo", "small", "recommended"]   """What a file imports: (dots of a relative import, module and name)."""
["demo", "small", "recommended"]   for node in ast.walk(ast.parse(path.read_text())):
["demo", "small", "recommended"]       if isinstance(node, ast.Import):
["demo", "small", "recommended"]           yield from ((0, alias.name) for alias in node.names)
["demo", "small", "recommended"]       elif isinstance(node, ast.ImportFrom):
["demo", "small", "recommended"]           yield from ((node.level, f"{node.module or ''}.{alias.name}".lstrip(".")) for alias in node.names)


["demo", "small", "recommended"]ef room(name):
["demo", "small", "recommended"]   return ROOT / "src" / "mg_vtc" / f"{name}.py"


@pyt["demo", "small", "recommended"]st.mark.parametrize("name", HUB_FILES)
["demo", "small", "recommended"]ef test_files_that_ship_to_the_hub_import_torch_transformers_and_each_other(name):
["demo", "small", "recommended"]   standard = {"math", "collections", "contextlib", "dataclasses", "functools", "typing"}
["demo", "small", "recommended"]   for level, module in imports_of(room(name)):
["demo", "small", "recommended"]       if level:
["demo", "small", "recommended"]           assert level == 1
["demo", "small", "recommended"]           assert module.split(".")[0] in HUB_FILES
["demo", "small", "recommended"]       else:
["demo", "small", "recommended"]           allowed = {"torch", "transformers", "huggingface_hub"}  # the last for transformers' own `strict`
["demo", "small", "recommended"]           assert module.split(".")[0] in standard | allowed, module


["demo", "small", "recommended"]ef test_losses_import_torch_alone():
["demo", "small", "recommended"]   assert {module.split(".")[0] for _, module in imports_of(room("losses"))} <= {"torch", "math", "difflib"}


["demo", "small", "recommended"]ef test_data_imports_no_model_and_no_trainer():
["demo", "small", "recommended"]   for path in (ROOT / "src" / "mg_vtc" / "data").glob("*.py"):
["demo", "small", "recommended"]       for _, module in imports_of(path):
["demo", "small", "recommended"]           assert not re.search("model|trainer|recipe", module), (path.name, module)


["demo", "small", "recommended"]ef test_trainer_never_imports_the_model():
["demo", "small", "recommended"]   own = {module.split(".")[0] for level, module in imports_of(room("trainer")) if level}
["demo", "small", "recommended"]   assert own == {"class_texts", "gathering", "losses", "parameter_groups", "picture_trainer", "training_args"}


@pyt["demo", "small", "recommended"]st.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
["demo", "small", "recommended"]ef test_nothing_imports_the_scripts(path):
["demo", "small", "recommended"]   assert not {"train", "cli"} & {module.removeprefix("mg_vtc.").split(".")[0] for _, module in imports_of(path)}


@pyt["demo", "small", "recommended"]st.mark.parametrize("path", [*SOURCES, ROOT / "train.py"], ids=lambda path: path.name)
["demo", "small", "recommended"]ef test_rooms_are_small(path):
["demo", "small", "recommended"]   source = path.read_text()
["demo", "small", "recommended"]   assert len(source.splitlines()) <= 300
["demo", "small", "recommended"]   for node in ast.walk(ast.parse(source)):
["demo", "small", "recommended"]       if isinstance(node, ast.FunctionDef):
["demo", "small", "recommended"]           assert node.end_lineno - node.lineno + 1 <= 50, node.name


["demo", "small", "recommended"]ef test_no_room_has_a_name_that_says_nothing():
["demo", "small", "recommended"]   assert not [name for name in TRACKED if re.search(r"/(utils|common|helpers|misc|factory|registry)\.py$", name)]


["demo", "small", "recommended"]ef test_every_test_mirrors_a_room():
["demo", "small", "recommended"]   of_the_whole = {"test_train_script", "test_hub_loading", "test_repository", "test_readme"}
["demo", "small", "recommended"]   for path in (ROOT / "tests").rglob("test_*.py"):
["demo", "small", "recommended"]       if path.stem not in of_the_whole:
["demo", "small", "recommended"]           folder = path.relative_to(ROOT / "tests").parent
["demo", "small", "recommended"]           room_of = ROOT if folder.name == "benchmarks" else ROOT / "src" / "mg_vtc"
["demo", "small", "recommended"]           assert (room_of / folder / path.name.removeprefix("test_")).is_file(), path


["demo", "small", "recommended"]ef test_every_room_has_a_test():
["demo", "small", "recommended"]   for path in SOURCES:
["demo", "small", "recommended"]       if path.stem != "__init__":
["demo", "small", "recommended"]           relative = path.relative_to(ROOT / "src" / "mg_vtc")
["demo", "small", "recommended"]           assert (ROOT / "tests" / relative.parent / f"test_{relative.name}").is_file(), path


["demo", "small", "recommended"]ef test_no_file_names_a_path_of_one_machine():
["demo", "small", "recommended"]   pattern = re.compile(r"/(?:home|root|work|Users)/[a-z]|\.\./shared|/tmp/[a-z]")
["demo", "small", "recommended"]   for name in TRACKED:
["demo", "small", "recommended"]       if (
["demo", "small", "recommended"]           Path(name).suffix in (".py", ".md", ".yaml", ".toml", ".txt", ".cff")
["demo", "small", "recommended"]           and name != "tests/test_repository.py"
["demo", "small", "recommended"]       ):
["demo", "small", "recommended"]           assert not pattern.search((ROOT / name).read_text()), name


["demo", "small", "recommended"]ef test_nothing_waits_to_be_filled_in():
["demo", "small", "recommended"]   for name in ("README.md", "EXPERIMENTS.md", "CHANGELOG.md", "CONTRIBUTING.md"):
["demo", "small", "recommended"]       assert not re.search(r"RESULTS_TABLE|TBD|TODO|FIXME", (ROOT / name).read_text()), name


["demo", "small", "recommended"]ef test_no_picture_but_the_drawn_one_is_in_the_repository():
["demo", "small", "recommended"]   pictures = [name for name in TRACKED if Path(name).suffix.lower() in (".jpg", ".jpeg", ".png", ".webp", ".gif")]
["demo", "small", "recommended"]   assert set(pictures) <= {"docs/demo.png"}


["demo", "small", "recommended"]ef test_version_is_the_same_wherever_it_stands():
["demo", "small", "recommended"]   version = mg_vtc.__version__
["demo", "small", "recommended"]   assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()
["demo", "small", "recommended"]   assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == version


["demo", "small", "recommended"]ef test_constraints_pin_every_dependency():
["demo", "small", "recommended"]   project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
["demo", "small", "recommended"]   wanted = sum(project["optional-dependencies"].values(), start=project["dependencies"])
["demo", "small", "recommended"]   names = {re.split(r"[<>=\[]", name)[0].lower().replace("_", "-") for name in wanted} - {"mg-vtc"}
["demo", "small", "recommended"]   pinned = {
["demo", "small", "recommended"]       line.split("==")[0].lower().replace("_", "-")
["demo", "small", "recommended"]       for line in (ROOT / "constraints.txt").read_text().splitlines()
["demo", "small", "recommended"]       if "==" in line
["demo", "small", "recommended"]   }
["demo", "small", "recommended"]   assert names <= pinned


@pyt["demo", "small", "recommended"]st.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.stem)
["demo", "small", "recommended"]ef test_recipes_hold_only_keys_that_exist(path):
["demo", "small", "recommended"]   from mg_vtc.recipe import parse_recipe

["demo", "small", "recommended"]   flags = [] if "dataset_name" in yaml.safe_load(path.read_text()) else ["--train_dir", "pictures"]
["demo", "small", "recommended"]   assert parse_recipe([str(path), *flags]).training.output_dir == f"runs/{path.stem}"


@pyt["demo", "small", "recommended"]st.mark.parametrize("name", ["demo", "small", "recommended"])
["demo", "small", "recommended"]ef test_recipes_that_run_offline_name_no_pretrained_tower(name):
["demo", "small", "recommended"]   recipe = yaml.safe_load((ROOT / "configs" / f"{name}.yaml").read_text())
["demo", "small", "recommended"]   assert {"vision_config", "text_config"} <= set(recipe)

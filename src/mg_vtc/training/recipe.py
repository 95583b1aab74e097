"""Recipes: a YAML file, overridden by flags."""

import json
from argparse import SUPPRESS
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import yaml
from transformers import CONFIG_MAPPING, HfArgumentParser

from ..models.configuration_mg_vtc import PROJECTIONS, TEXT_POOLINGS, MgVtcConfig
from ..recipes import find_recipes
from .arguments import MgVtcTrainingArguments
from .data_arguments import DataArguments
from .setting_checks import REFUSED, check_metric, suggest
from .write_records import ALWAYS_WRITTEN

DEFAULT_VISION_MODEL = "microsoft/resnet-50"
DEFAULT_TEXT_MODEL = "distilbert/distilbert-base-uncased"
DEFAULT_IMAGE_SIZE = 224  # pixels, of towers without an image processor
# A tower is pretrained or has random weights, so a flag for the one overrides a recipe's key for the other.
TOWER_ALTERNATIVES = {
    "vision_config": "vision_model_name_or_path",
    "vision_model_name_or_path": "vision_config",
    "text_config": "text_model_name_or_path",
    "text_model_name_or_path": "text_config",
}
SELECTING_SCORES = ("top1_accuracy", "top5_accuracy", "mean_class_accuracy", "macro_f1")  # of `score_top_k`
TEXT_TOWER = ("text_config", "text_model_name_or_path")
# Settings that a model given by model_name_or_path brings.
INHERITED = (
    *("vision_config", "vision_model_name_or_path", *TEXT_TOWER, "vision_only", "projection", "projection_dim"),
    *("projection_dropout", "text_pooling", "normalize", "logit_scale_init_value", "learn_logit_scale"),
)


@dataclass
class ModelArguments:
    """Towers, and fields of `MgVtcConfig` that a recipe may set."""

    _argument_group_name = "model"

    model_name_or_path: str | None = field(
        default=None,
        metadata={
            "help": "Hub id or folder of a model to start from, instead of two towers: CLIP, MetaCLIP 2, "
            "Chinese-CLIP, SigLIP, or a model of this package."
        },
    )
    vision_model_name_or_path: str | None = field(
        default=None, metadata={"help": f"Hub id or folder of the vision tower. Default: {DEFAULT_VISION_MODEL}."}
    )
    text_model_name_or_path: str | None = field(
        default=None, metadata={"help": f"Hub id or folder of the text tower. Default: {DEFAULT_TEXT_MODEL}."}
    )
    vision_config: dict | str | None = field(
        default=None,
        metadata={"help": 'Vision tower with random weights instead, as JSON, such as {"model_type": "resnet"}.'},
    )
    text_config: dict | str | None = field(
        default=None,
        metadata={"help": 'Text tower with random weights instead, as JSON, such as {"model_type": "distilbert"}.'},
    )
    vision_only: bool = field(default=False, metadata={"help": "No text tower: learn a table of class embeddings."})
    projection: str = field(
        default=MgVtcConfig.projection,
        metadata={"help": f"Projection heads: {', '.join(PROJECTIONS)}. mlp is that of the method."},
    )
    text_pooling: str = field(
        default=MgVtcConfig.text_pooling,
        metadata={
            "help": f"Pooling of texts: {', '.join(TEXT_POOLINGS)}. auto is that of a sentence-transformers model, "
            "else the tower's pooled state, else its first token."
        },
    )
    projection_dim: int = field(
        default=MgVtcConfig.projection_dim, metadata={"help": "Width of the shared embedding space."}
    )
    projection_dropout: float = field(
        default=MgVtcConfig.projection_dropout, metadata={"help": "Dropout of the projection heads."}
    )
    normalize: bool = field(default=MgVtcConfig.normalize, metadata={"help": "Divide embeddings by their L2 norm."})
    logit_scale_init_value: float = field(
        default=MgVtcConfig.logit_scale_init_value, metadata={"help": "Logarithm of the initial scale of the logits."}
    )
    learn_logit_scale: bool = field(
        default=MgVtcConfig.learn_logit_scale, metadata={"help": "Learn the scale, up to 100."}
    )
    prompt_template: list[str] | None = field(
        default=None,
        metadata={
            "help": "Text of a class, with {} for its name. With several, each class has several texts; zero-shot "
            "predictions use the first. Default: that of the starting model, else {}."
        },
    )

    def __post_init__(self) -> None:
        if self.model_name_or_path is not None:
            changed = [name for name in INHERITED if getattr(self, name) != self.__dataclass_fields__[name].default]
            if changed:
                raise ValueError(
                    f"{', '.join(changed)} cannot be set with model_name_or_path, which brings it: leave one out."
                )
            return
        self.prompt_template = self.prompt_template or [MgVtcConfig.prompt_template]
        for tower, default in (("vision", DEFAULT_VISION_MODEL), ("text", DEFAULT_TEXT_MODEL)):
            name, config = getattr(self, f"{tower}_model_name_or_path"), getattr(self, f"{tower}_config")
            if name is not None and config is not None:
                raise ValueError(
                    f"{tower}_model_name_or_path ({name}) and {tower}_config both set the {tower} tower: give one."
                )
            if config is not None:
                setattr(self, f"{tower}_config", _read_tower(config, f"{tower}_config"))
            elif name is None and not (tower == "text" and self.vision_only):
                setattr(self, f"{tower}_model_name_or_path", default)
        if self.vision_only and (self.text_model_name_or_path or self.text_config):
            raise ValueError("vision_only excludes a text tower: leave one of them out.")

    @property
    def config_fields(self) -> dict[str, Any]:
        """Fields of `MgVtcConfig` among the settings."""
        names = {field.name for field in fields(MgVtcConfig)} - {"vision_config", "text_config"}
        names.discard("prompt_template")  # see `describe_classes`
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name in names}


class _RecipeParser(HfArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message} (see --help)")


class Recipe(NamedTuple):
    """A parsed recipe."""

    model: ModelArguments
    data: DataArguments
    training: MgVtcTrainingArguments
    settings: dict[str, Any]  # what repeats the run: settings of file and flags, and defaults that decide the outcome


def _make_parser() -> _RecipeParser:
    kinds = (ModelArguments, DataArguments, MgVtcTrainingArguments)
    parser = _RecipeParser(
        kinds,
        prog="mg-vtc train",
        usage="%(prog)s [RECIPE] [--flag value ...]",
        description="Train a model by a recipe. `mg-vtc train` alone lists the recipes.",
        epilog="Flags of `accelerate launch`, such as --num_processes 2, start several processes.",
        allow_abbrev=False,
    )
    for action in parser._actions:
        if action.dest in REFUSED:
            action.help = SUPPRESS
        elif action.option_strings[0].startswith("--no_"):
            action.help = f"The opposite of --{action.dest}."
    return parser


def list_flags() -> set[str]:
    """Return the flags that override a recipe."""
    return set(_make_parser()._option_string_actions)


def parse_recipe(arguments: list[str]) -> Recipe:
    """Read `[recipe] [--flag value ...]`; a flag overrides the recipe, the recipe the defaults.

    Args:
        arguments: A recipe is a name of the package's or a YAML file (see `find_recipe`).

    Raises:
        FileNotFoundError: There is no such recipe.
        ValueError: A key or flag is unknown (the nearest known one is named), or a value is out of range.
    """
    parser = _make_parser()
    defaults = vars(parser.parse_args([]))
    arguments = _put_recipe_first(arguments, parser)
    if arguments and not arguments[0].startswith("-"):
        lines = _read_recipe(find_recipe(arguments[0]), defaults)
        arguments = arguments[1:]
        flags = {argument.split("=")[0].removeprefix("--").replace("-", "_") for argument in arguments}
        vision_only = vars(parser.parse_known_args(arguments)[0])["vision_only"]
        lines = override(lines, dict.fromkeys(flags) | {"vision_only": vision_only})
        arguments = [*as_flags(lines), *arguments]
    namespace, unknown = parser.parse_known_args(arguments)
    if unknown:
        flag = unknown[0].split("=")[0]
        raise ValueError(f"unknown argument {flag!r}.{suggest(flag.lstrip('-'), defaults, prefix='--')}")
    values = vars(namespace)
    model, data, training = (
        {field.name: values[field.name] for field in fields(part) if field.init}
        for part in (ModelArguments, DataArguments, MgVtcTrainingArguments)
    )
    if data["train_val_split"] == 0:
        _leave_evaluations_out(training)
    recipe = Recipe(ModelArguments(**model), DataArguments(**data), MgVtcTrainingArguments(**training), settings={})
    check_metric(recipe.training, SELECTING_SCORES)
    _check_together(recipe, training)
    model_settings = asdict(recipe.model)
    if recipe.model.model_name_or_path is not None:
        model_settings = {name: value for name, value in model_settings.items() if name not in INHERITED}
    recipe.settings.update(model_settings | asdict(recipe.data))
    recipe.settings.update(
        {key: training[key] for key in training if training[key] != defaults[key] or key in ALWAYS_WRITTEN},
        text_batch=recipe.training.text_batch,
        bf16=recipe.training.bf16,
        dataloader_num_workers=recipe.training.dataloader_num_workers,
    )
    return recipe


def _check_together(recipe: Recipe, training: dict[str, Any]) -> None:
    """Refuse settings of one kind that go with those of another kind."""
    if recipe.training.interpolation != 1 and recipe.model.model_name_or_path is None:
        raise ValueError(
            "wise_ft_alpha mixes trained weights with those of the start, but new heads are random: give "
            "model_name_or_path, or leave it out."
        )
    if recipe.data.streaming and recipe.training.interpolation is None:
        raise ValueError("wise_ft_alpha auto holds training clips out, which a stream cannot: give a number.")
    if recipe.data.streaming and recipe.training.linear_probe_epochs >= 1:
        raise ValueError(
            "A stream is one epoch of max_steps: linear_probe_epochs must be less than 1, a fraction of it."
        )
    if not recipe.training.push_to_hub:
        for name in ("hub_model_id", "hub_private_repo", "hub_revision"):
            if training[name] is not None:
                raise ValueError(f"{name} goes with push_to_hub: set push_to_hub true, or leave {name} out.")


def _leave_evaluations_out(training: dict[str, Any]) -> None:
    """Turn off evaluations where all images are trained on, or refuse those that were asked for."""
    if training["early_stopping_patience"] is not None:
        raise ValueError(
            "train_val_split 0 holds out no images, which early_stopping_patience needs: leave one of them out."
        )
    if training["eval_strategy"] == "steps" or training["eval_on_start"]:
        raise ValueError("train_val_split 0 holds out no images to evaluate on: leave it or the evaluations out.")
    training.update(eval_strategy="no", load_best_model_at_end=False)


def _put_recipe_first(arguments: list[str], parser: HfArgumentParser) -> list[str]:
    """Move the recipe, which may be given after flags, to the front; refuse two."""
    switches = {flag for flag, action in parser._option_string_actions.items() if action.nargs == "?"}
    names = find_recipes()
    places = [
        place
        for place, argument in enumerate(arguments)
        if not argument.startswith("-")
        and (place == 0 or argument.endswith((".yaml", ".yml")) or argument in names)
        and (place == 0 or not arguments[place - 1].startswith("--") or arguments[place - 1] in switches)
    ]
    if len(places) > 1:
        raise ValueError(f"Give one recipe, not {' and '.join(arguments[place] for place in places)}.")
    return [arguments[place] for place in places] + [a for n, a in enumerate(arguments) if n not in places]


def override(lines: dict[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the lines of a recipe that go with settings that override others: one starting point."""
    dropped = {other for name, other in TOWER_ALTERNATIVES.items() if name in settings}
    dropped |= set(TEXT_TOWER) if settings.get("vision_only") else set()
    if "model_name_or_path" in settings:
        dropped |= {*INHERITED, "image_size", "vision_learning_rate", "text_learning_rate"}  # of other towers
    elif {"vision_config", "vision_model_name_or_path", *TEXT_TOWER} & set(settings):
        dropped.add("model_name_or_path")
    return {key: value for key, value in lines.items() if key not in dropped}


def find_recipe(name: str) -> Path:
    """Return the file of a recipe.

    Args:
        name: Name of a recipe of the package, or a path that ends in .yaml or .yml.

    Raises:
        FileNotFoundError: There is none.
    """
    names = find_recipes()
    path = Path(name) if name.endswith((".yaml", ".yml")) else names.get(name)
    if path is None or not path.is_file():
        hint = suggest(Path(name).stem, names)
        raise FileNotFoundError(f"There is no recipe {name}.{hint} Recipes of the package: {', '.join(names)}.")
    return path


def as_flags(recipe: dict[str, Any]) -> list[str]:
    """Return the lines of a recipe as flags; an empty value means the default."""
    flags: list[str] = []
    for key, value in recipe.items():
        if value is not None:
            values = value if isinstance(value, (list, tuple)) else [value]
            flags += [f"--{key}", *(json.dumps(one) if isinstance(one, dict) else str(one) for one in values)]
    return flags


def _read_recipe(path: Path, known: Iterable[str]) -> dict[str, Any]:
    try:
        recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML: {error}") from error
    if not isinstance(recipe, dict):
        raise ValueError(f"{path} must hold 'key: value' lines, got {type(recipe).__name__}.")
    for key in recipe:
        if key not in known:
            raise ValueError(f"{path}: unknown key {key!r}.{suggest(str(key), known)}")
    return recipe


def _read_tower(config: dict[str, Any] | str, flag: str) -> dict[str, Any]:
    """Return the configuration of a tower; refuse keys that its model type does not have."""
    if isinstance(config, str):
        try:
            config = json.loads(config)
        except json.JSONDecodeError as error:
            raise ValueError(f"{flag} is not JSON: {error}; got {config!r}.") from error
    if not isinstance(config, dict) or "model_type" not in config:
        raise ValueError(f'{flag} needs a "model_type", such as {{"model_type": "resnet"}}; got {config!r}.')
    model_type = config["model_type"]
    if model_type not in CONFIG_MAPPING:
        raise ValueError(
            f"{flag}: transformers has no model_type {model_type!r}.{suggest(model_type, CONFIG_MAPPING)}"
        )
    config_class = CONFIG_MAPPING[model_type]
    known = {"model_type", *config_class.attribute_map, *(field.name for field in fields(config_class))}
    for key in config:
        if key not in known:
            raise ValueError(f"{flag}: {model_type} has no setting {key!r}.{suggest(key, known)}")
    return config

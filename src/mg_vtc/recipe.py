"""A recipe: a YAML file, then the flags of the command line that override it."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import yaml
from transformers import CONFIG_MAPPING, HfArgumentParser

from .configuration_mg_vtc import MgVtcConfig
from .data.augmentation import Augmentation
from .data.splits import SPLIT_KINDS
from .setting_checks import check_metric, suggest
from .training_args import MgVtcTrainingArguments

DEFAULT_VISION_MODEL = "microsoft/resnet-50"
DEFAULT_TEXT_MODEL = "distilbert/distilbert-base-uncased"
# Settings that a repeated run must share even if their defaults change.
ALWAYS_WRITTEN = (
    *("loss_type", "js_weight", "learning_rate", "lr_scheduler_type", "weight_decay", "max_grad_norm", "warmup_steps"),
    *("num_train_epochs", "per_device_train_batch_size", "gradient_accumulation_steps", "seed", "optim"),
)
# A tower is pretrained or from random weights, so a flag of the one overrides a recipe's key of the other.
TOWER_ALTERNATIVES = {
    "vision_config": "vision_model_name_or_path",
    "vision_model_name_or_path": "vision_config",
    "text_config": "text_model_name_or_path",
    "text_model_name_or_path": "text_config",
}
SELECTING_SCORES = ("top1_accuracy", "top5_accuracy", "mean_class_accuracy", "macro_f1")  # of `score_top_k`
TEXT_TOWER = ("text_config", "text_model_name_or_path")


@dataclass
class ModelArguments:
    """The two towers, and the fields of `MgVtcConfig` that a recipe may set."""

    vision_model_name_or_path: str | None = field(
        default=None, metadata={"help": f"Hub id or folder of the vision tower. Default: {DEFAULT_VISION_MODEL}."}
    )
    text_model_name_or_path: str | None = field(
        default=None, metadata={"help": f"Hub id or folder of the text tower. Default: {DEFAULT_TEXT_MODEL}."}
    )
    vision_config: dict | str | None = field(
        default=None,
        metadata={"help": 'Vision tower from random weights instead, as JSON, such as {"model_type": "resnet"}.'},
    )
    text_config: dict | str | None = field(
        default=None,
        metadata={"help": 'Text tower from random weights instead, as JSON, such as {"model_type": "distilbert"}.'},
    )
    vision_only: bool = field(default=False, metadata={"help": "No text tower: learn a table of class embeddings."})
    projection_dim: int = field(default=MgVtcConfig.projection_dim, metadata={"help": "Width of the joint space."})
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
    prompt_template: str = field(
        default=MgVtcConfig.prompt_template, metadata={"help": "Text of a class, with {} for its name."}
    )

    def __post_init__(self) -> None:
        for tower, default in (("vision", DEFAULT_VISION_MODEL), ("text", DEFAULT_TEXT_MODEL)):
            name, config = getattr(self, f"{tower}_model_name_or_path"), getattr(self, f"{tower}_config")
            if name is not None and config is not None:
                raise ValueError(
                    f"{tower}_model_name_or_path ({name}) and {tower}_config both name the {tower} tower; give one."
                )
            if config is not None:
                setattr(self, f"{tower}_config", _read_tower(config, f"{tower}_config"))
            elif name is None and not (tower == "text" and self.vision_only):
                setattr(self, f"{tower}_model_name_or_path", default)
        if self.vision_only and (self.text_model_name_or_path or self.text_config):
            raise ValueError("vision_only is set, and so is a text tower; leave one of them out.")

    @property
    def config_fields(self) -> dict[str, Any]:
        """Settings that go into `MgVtcConfig` as they are."""
        names = {field.name for field in fields(MgVtcConfig)} - {"vision_config", "text_config"}
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name in names}


@dataclass
class DataArguments:
    """The pictures, their class names, and how they are split."""

    train_dir: str | None = field(
        default=None,
        metadata={"help": "Folder with a sub-folder of pictures a class, or with train/ and validation/."},
    )
    validation_dir: str | None = field(default=None, metadata={"help": "Such a folder to evaluate on."})
    dataset_name: str | None = field(
        default=None, metadata={"help": 'Hub data set, or "demo" for the figures that the package draws.'}
    )
    dataset_config_name: str | None = field(default=None, metadata={"help": "Configuration of the Hub data set."})
    image_column_name: str = field(default="image", metadata={"help": "Column of the pictures in a Hub data set."})
    label_column_name: str = field(
        default="label", metadata={"help": "Column of the classes in a Hub data set or a metadata file."}
    )
    labels_file: str | None = field(
        default=None,
        metadata={"help": 'CSV id,name that names the class folders, or "imigue". Default: labels.csv in train_dir.'},
    )
    train_val_split: float = field(
        default=0.2,
        metadata={"help": "Share of the images to evaluate on, where there is no validation split; 0 trains on all."},
    )
    split_by: str | None = field(
        default=None,
        metadata={
            "help": "What is held out: frame (pictures at random, the method's way, which is leaky), clip or subject "
            "(all pictures of some), where there is no validation split. Default: clip where clips are known, else "
            "frame."
        },
    )
    split_seed: int | None = field(
        default=None,
        metadata={"help": "Seed of what is held out. Default: seed, so that another seed is another split."},
    )
    num_seeds: int = field(
        default=1,
        metadata={"help": "Train so many times, with seed, seed + 1 and so on, and give mean and deviation."},
    )
    num_folds: int | None = field(
        default=None,
        metadata={"help": "Cross-validation: train so many times, each time holding out another part."},
    )
    fold: int | None = field(default=None, metadata={"help": "Of num_folds, hold out this one alone, from 0."})
    clip_column_name: str = field(
        default="clip", metadata={"help": "Column of the clips in a Hub data set or a metadata file."}
    )
    subject_column_name: str = field(
        default="subject", metadata={"help": "Column of the subjects in a Hub data set or a metadata file."}
    )
    skip_bad_images: bool = field(default=False, metadata={"help": "Leave out files that can not be read."})
    image_size: int = field(default=224, metadata={"help": "Side of the square picture, in pixels."})
    augmentation: float = field(
        default=0.0,
        metadata={"help": "Strength, 0 to 1, of random scale, turn, move, bend, outlines, colours and covers."},
    )
    horizontal_flip: bool = field(
        default=False,
        metadata={"help": "Augmentation: mirror half of the pictures. Not where left and right are two classes."},
    )
    max_shift: int = field(default=0, metadata={"help": "Augmentation: largest random shift, in pixels."})
    decode_once: bool = field(
        default=True,
        metadata={"help": "Keep the resized pictures in the cache of datasets (HF_DATASETS_CACHE), 3 bytes a pixel."},
    )
    jpeg_draft: bool = field(
        default=False,
        metadata={"help": "Decode large JPEGs at a fraction of their size: faster, other pixels."},
    )
    streaming: bool = field(
        default=False,
        metadata={"help": "Read dataset_name, Parquet or WebDataset shards, as the run goes."},
    )
    shuffle_buffer: int = field(
        default=1000, metadata={"help": "Streaming: pictures, not yet decoded, of which the next one is drawn."}
    )

    def __post_init__(self) -> None:
        if (self.train_dir is None) == (self.dataset_name is None):
            raise ValueError(
                "Say what to train on: train_dir (a folder) or dataset_name (a Hub data set), one of them."
            )
        if self.validation_dir is not None and self.train_dir is None:
            raise ValueError("validation_dir goes with train_dir; a Hub data set brings its own validation split.")
        self._check_unread()
        if self.streaming and self.dataset_name in (None, "demo"):
            raise ValueError("streaming reads shards: give dataset_name, a Hub data set or a folder of them.")
        if self.streaming and (self.clip_column_name, self.subject_column_name) != ("clip", "subject"):
            raise ValueError(
                "clip_column_name and subject_column_name are for splitting, and a stream brings its own splits: "
                "leave them out."
            )
        in_rows = self.dataset_name is not None and not self.streaming
        if in_rows and (self.labels_file is not None or self.skip_bad_images):
            raise ValueError(
                "labels_file and skip_bad_images go with train_dir or streaming; a data set brings its names."
            )
        if self.split_by not in (None, *SPLIT_KINDS):
            raise ValueError(f"split_by {self.split_by!r} is none of {', '.join(SPLIT_KINDS)}.")
        if self.num_seeds < 1:
            raise ValueError(f"num_seeds must be 1 or more, got {self.num_seeds}.")
        if self.num_seeds > 1 and self.train_val_split == 0:
            raise ValueError(
                "num_seeds gives a mean of scores, and train_val_split 0 leaves none: leave one of them out."
            )
        if self.num_seeds > 1 and self.num_folds is not None:
            raise ValueError("num_seeds and num_folds both train several times: give one of them.")
        if self.num_folds is not None and self.num_folds < 2:
            raise ValueError(f"num_folds must be 2 or more, got {self.num_folds}.")
        if self.fold is not None and not 0 <= self.fold < (self.num_folds or 0):
            raise ValueError(f"fold {self.fold} is none of the num_folds {self.num_folds}, which are counted from 0.")
        if self.num_folds and (self.streaming or self.validation_dir is not None):
            raise ValueError("num_folds holds pictures out; streams and validation_dir bring their own: leave it out.")
        if not 0 <= self.train_val_split < 1:
            raise ValueError(f"train_val_split must be at least 0 and less than 1, got {self.train_val_split}.")
        if self.image_size < 1 or self.shuffle_buffer < 0:
            raise ValueError(
                f"image_size {self.image_size} must be positive and shuffle_buffer {self.shuffle_buffer} not negative."
            )
        _ = self.train_augmentation  # raises where a value is out of range

    def _check_unread(self) -> None:
        """Refuse settings that would be accepted and do nothing."""
        from_hub = self.dataset_name not in (None, "demo")
        for name, goes_with, applies in (
            ("image_column_name", "a dataset_name of the Hub", from_hub),
            ("label_column_name", "a dataset_name of the Hub or train_dir", self.dataset_name != "demo"),
            ("dataset_config_name", "a dataset_name of the Hub", from_hub),
            ("shuffle_buffer", "streaming", self.streaming),
            (
                "split_seed",
                "pictures that are split here: validation_dir and streams bring their own split",
                not (self.validation_dir or self.streaming),
            ),
            (
                "split_by",
                "pictures that are split here: validation_dir and streams bring their own split",
                not (self.validation_dir or self.streaming),
            ),
            (
                "train_val_split",
                "pictures that are split here: num_folds, validation_dir and streams split them otherwise",
                not (self.num_folds or self.validation_dir or self.streaming),
            ),
        ):
            default = DataArguments.__dataclass_fields__[name].default
            if getattr(self, name) != default and not applies:
                raise ValueError(f"{name} {getattr(self, name)!r} goes with {goes_with}: leave it out.")

    @property
    def train_augmentation(self) -> Augmentation:
        """What happens to the pictures of the training set, and to no others."""
        return Augmentation(self.augmentation, self.horizontal_flip, self.max_shift)


class _RecipeParser(HfArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message} (see --help)")


class Recipe(NamedTuple):
    """A recipe as it was read."""

    model: ModelArguments
    data: DataArguments
    training: MgVtcTrainingArguments
    settings: dict[str, Any]  # that repeat the run: what file and flags set, and what decides the outcome anyway


def parse_recipe(arguments: list[str]) -> Recipe:
    """Read `[recipe.yaml] [--flag value ...]`; a flag overrides the recipe, the recipe the defaults.

    Raises:
        FileNotFoundError: There is no such recipe.
        ValueError: A key or flag is unknown (the nearest known one is named), or a value is out of range.
    """
    parser = _RecipeParser((ModelArguments, DataArguments, MgVtcTrainingArguments), allow_abbrev=False)
    defaults = vars(parser.parse_args([]))
    arguments = _put_recipe_first(arguments, parser)
    if arguments and arguments[0].endswith((".yaml", ".yml")):
        lines = _read_recipe(Path(arguments[0]), defaults)
        arguments = arguments[1:]
        for flag, other in TOWER_ALTERNATIVES.items():
            if any(argument.split("=")[0] == f"--{flag}" for argument in arguments):
                lines.pop(other, None)
        if vars(parser.parse_known_args(arguments)[0])["vision_only"]:  # the recipe's text tower goes
            lines = {key: value for key, value in lines.items() if key not in TEXT_TOWER}
        arguments = [*_as_flags(lines), *arguments]
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
    if not recipe.training.push_to_hub:
        for name in ("hub_model_id", "hub_private_repo", "hub_revision"):
            if training[name] is not None:
                raise ValueError(f"{name} goes with push_to_hub: set push_to_hub true, or leave {name} out.")
    recipe.settings.update(asdict(recipe.model) | asdict(recipe.data))
    recipe.settings.update(
        {key: training[key] for key in training if training[key] != defaults[key] or key in ALWAYS_WRITTEN},
        text_batch=recipe.training.text_batch,
    )
    return recipe


def _leave_evaluations_out(training: dict[str, Any]) -> None:
    """Turn off what needs held-out images, where all are trained on.

    Raises:
        ValueError: It was asked for.
    """
    if training["early_stopping_patience"] is not None:
        raise ValueError(
            "train_val_split 0 leaves no images to count early_stopping_patience on: leave one of them out."
        )
    if training["eval_strategy"] == "steps" or training["eval_on_start"]:
        raise ValueError("train_val_split 0 leaves no images to evaluate on: leave it or the evaluations out.")
    training.update(eval_strategy="no", load_best_model_at_end=False)


def _put_recipe_first(arguments: list[str], parser: HfArgumentParser) -> list[str]:
    """Move the recipe, which may be given after flags, to the front.

    Raises:
        ValueError: There are two.
    """
    switches = {flag for flag, action in parser._option_string_actions.items() if action.nargs == "?"}
    places = [
        place
        for place, argument in enumerate(arguments)
        if argument.endswith((".yaml", ".yml"))
        and not argument.startswith("--")
        and (place == 0 or not arguments[place - 1].startswith("--") or arguments[place - 1] in switches)
    ]
    if len(places) > 1:
        raise ValueError(f"Give one recipe, not {' and '.join(arguments[place] for place in places)}.")
    return [arguments[place] for place in places] + [a for n, a in enumerate(arguments) if n not in places]


def _as_flags(recipe: dict[str, Any]) -> list[str]:
    """The lines of a recipe as flags, so that both are read and checked alike; an empty value is the default."""
    flags: list[str] = []
    for key, value in recipe.items():
        if value is not None:
            values = value if isinstance(value, list) else [value]
            flags += [f"--{key}", *(json.dumps(one) if isinstance(one, dict) else str(one) for one in values)]
    return flags


def _read_recipe(path: Path, known: Iterable[str]) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"There is no recipe {path}; those of the project are in configs/.")
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
    """The configuration of a tower, whose keys must be those of its model type."""
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

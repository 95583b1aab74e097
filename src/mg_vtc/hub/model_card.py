"""Model card of a finished run, filled in from its records."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from ..data.class_lists import CLASS_LISTS
from ..data.leakage import describe_leakage
from ..data.metadata import PREPARATION
from ..data.splits import describe_split
from ..evaluation.class_groups import GROUP_SCORES
from ..messages import escape_controls
from ..models.configuration_mg_vtc import MgVtcConfig
from ..runs.directory import (
    CALIBRATION,
    CARD,
    CONFUSION,
    CURVES,
    PROVENANCE,
    RECIPE,
    SPLIT,
    SPLIT_RESULTS,
    read_recipe,
)
from ..runs.provenance import find_hub_dataset, name_data, without_places

TEMPLATE = Path(__file__).with_name("model_card_template.md")  # Jinja
METRICS = {  # name in the results: metric type and name in the model-index
    "top1_accuracy": ("accuracy", "top-1 accuracy"),
    "top5_accuracy": ("top_5_accuracy", "top-5 accuracy"),
    "mean_class_accuracy": ("mean_class_accuracy", "mean class accuracy"),
    "macro_f1": ("f1", "macro-F1"),
}
BASELINES = {  # score: its baseline
    "top1_accuracy": "majority_class",
    "top5_accuracy": "five_most_frequent",
    "mean_class_accuracy": "majority_class",
    "macro_f1": "majority_class",
}
BASELINE_NAMES = {"majority_class": "majority-class baseline", "five_most_frequent": "five most frequent classes"}


def _read_calibration(folder: Path, config: MgVtcConfig) -> dict[str, Any] | None:
    """Return the record of the calibration, unless the model was trained or saved again since."""
    if not (folder / CALIBRATION).exists():
        return None
    calibration = _read(folder / CALIBRATION)
    same = (calibration["temperature"], calibration["threshold"]) == (config.logit_temperature, config.threshold)
    return calibration if same else None


def write_model_card(folder: Path, examples: Sequence[dict[str, Any]] = ()) -> None:
    """Write the model card of a finished run to its folder as `README.md`; unknown values are left out.

    Args:
        folder: Run folder with `config.json`, `recipe.yaml`, `split.json`, `provenance.json`, `results/` and
            optionally the figures of `write_run_results`.
        examples: Entries of the card's `widget` from `write_samples`.
    """
    config = MgVtcConfig.from_pretrained(folder)
    recipe, recipe_notes = read_recipe(folder / RECIPE)
    results = [_read(folder / name) for name in SPLIT_RESULTS if (folder / name).exists()]
    provenance = _read(folder / PROVENANCE)
    settings = {tower: _find_base_setting(recipe, tower) for tower in ("vision", "text")}
    bases = {tower: recipe.get(setting) for tower, setting in settings.items()}
    hub_bases = [base for tower, base in bases.items() if base and settings[tower] not in provenance["places"]]
    class_names = [config.id2label[number] for number in range(config.num_labels)]
    card = ModelCard.from_template(
        _describe_metadata(config, recipe, hub_bases, results, examples),
        template_str=TEMPLATE.read_text(encoding="utf-8"),
        config=config,
        as_code=as_code,
        class_names=[escape_markdown(name) for name in class_names],
        text_counts=[min(map(len, config.class_texts)), max(map(len, config.class_texts))],
        candidate_names=_to_python(class_names[:3]),
        hypothesis_template=_to_python(config.prompt_template),
        recipe=recipe,
        recipe_notes=recipe_notes,
        settings=_dump_settings(recipe, provenance["places"]),
        hub_dataset=find_hub_dataset(recipe),
        data_name=name_data(recipe),
        restricted=_find_restricted(recipe, class_names),
        bases={tower: base and _name_base(base, hub_bases) for tower, base in bases.items()},
        has_local_towers=any(base and base not in hub_bases for base in bases.values()),
        split=_read(folder / SPLIT),
        calibration=_read_calibration(folder, config),
        describe_split=describe_split,
        clips_known=any(result["conditions"]["num_clips"] is not None for result in results),
        describe_leakage=describe_leakage,
        results=results,
        score_names={score: name for score, (_, name) in METRICS.items()},
        group_score_names=GROUP_SCORES,
        baseline_of=BASELINES,
        figures=[name for name in (CONFUSION, CURVES) if (folder / name).exists()],
        provenance=provenance,
        duration=_tell_duration(provenance.get("training_seconds")),
    )
    card.save(folder / CARD)


def _name_base(base: str, hub_bases: Sequence[str]) -> str:
    return as_code(base) if base in hub_bases else "weights in a local folder"  # no local paths in the card


def _find_base_setting(recipe: dict[str, Any], tower: str) -> str:
    """Return the setting that names the origin of a tower."""
    return "model_name_or_path" if recipe.get("model_name_or_path") else f"{tower}_model_name_or_path"


def _find_restricted(recipe: dict[str, Any], class_names: Sequence[str]) -> str | None:
    """Return the name of the run's data set if it is known to forbid redistribution."""
    folder = recipe.get("train_dir") or recipe.get("dataset_name")
    prepared = folder is not None and (Path(folder) / PREPARATION).is_file()
    for word, built_in in CLASS_LISTS.items():
        if recipe.get("labels_file") == word or (prepared and set(class_names) <= set(built_in.names)):
            return built_in.title
    return None


def escape_markdown(text: str) -> str:
    """Return a text on one line with the characters of Markdown and control characters escaped."""
    line = re.sub(r"([\\`*_\[\]<>|#&~$])", r"\\\1", escape_controls(" ".join(text.split())))
    return re.sub(r"^(\d*)([-+.)])", r"\1\\\2", line)  # which begin lists


def as_code(text: str) -> str:
    """Return a text on one line as a span of code in Markdown, which holds backticks of its own."""
    line = escape_controls(" ".join(text.split()))
    fence = "`" * (max(map(len, re.findall("`+", line)), default=0) + 1)
    room = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{room}{line}{room}{fence}"


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _describe_metadata(
    config: MgVtcConfig,
    recipe: dict[str, Any],
    hub_bases: list[str],
    results: list[dict[str, Any]],
    examples: Sequence[dict[str, Any]],
) -> ModelCardData:
    """Return the metadata of the card; None fields are omitted."""
    hub_dataset = find_hub_dataset(recipe)
    return ModelCardData(
        library_name="transformers",
        pipeline_tag="image-classification" if config.vision_only else "zero-shot-image-classification",
        license="apache-2.0",
        language="en",
        tags=["mg_vtc", "custom_code", "micro-gesture"],
        base_model=list(dict.fromkeys(hub_bases)) or None,
        datasets=[hub_dataset] if hub_dataset else None,
        metrics=["accuracy", "f1"],
        model_name="mg_vtc",
        eval_results=[entry for result in results for entry in _list_scores(result, recipe)],
        widget=list(examples) or None,
    )


def _to_python(value: Any) -> str:
    """Return a string or a list of strings as Python source."""
    return escape_controls(json.dumps(value, ensure_ascii=False))


def _dump_settings(recipe: dict[str, Any], places: Sequence[str]) -> str:
    """Return the recipe as YAML, without local paths and without what could end the block of code around it."""
    shown = without_places(recipe, places)
    text = yaml.dump(shown, Dumper=_QuotingDumper, sort_keys=True, allow_unicode=True, default_flow_style=None)
    return escape_controls(text).replace("```", r"\x60\x60\x60").rstrip()


class _QuotingDumper(yaml.SafeDumper):
    """Dumper that writes texts with line breaks, backticks or invisible characters in double quotes, for escapes."""

    def represent_str(self, data: str) -> yaml.ScalarNode:
        quoted = "```" in data or not data.isprintable()
        return self.represent_scalar("tag:yaml.org,2002:str", data, style='"' if quoted else None)


_QuotingDumper.add_representer(str, _QuotingDumper.represent_str)


def _tell_duration(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def _list_scores(results: dict[str, Any], recipe: dict[str, Any]) -> list[EvalResult]:
    """Return the `model-index` entries of the scores and baselines of one split; fractions in [0, 1]."""
    conditions = results["conditions"]
    where = {
        # scored on the training classes, even if the model supports zero-shot
        "task_type": "image-classification",
        "task_name": "Image Classification",
        "dataset_type": find_hub_dataset(recipe)
        or ("demo" if recipe.get("dataset_name") == "demo" else "imagefolder"),
        "dataset_config": recipe.get("dataset_config_name"),
        "dataset_name": name_data(recipe),
        "dataset_split": conditions["split"],
    }
    entries = []
    for score, (metric, name) in METRICS.items():
        value, low, high = (results["scores"][score][bound] for bound in ("value", "low", "high"))
        by = conditions["interval"]["resampled_by"]
        exact = "exact " if results["scores"][score]["method"] == "exact" else ""
        interval = f"{exact}95 % interval {low:.3f} to {high:.3f} by {by}" if low is not None else "no interval"
        entries.append(
            EvalResult(**where, metric_type=metric, metric_value=round(value, 4), metric_name=f"{name} ({interval})")
        )
    for score, baseline in BASELINES.items():
        metric, name = METRICS[score]
        entries.append(
            EvalResult(
                **where,
                metric_type=f"baseline_{metric}",
                metric_value=round(results["baselines"][baseline][score], 4),
                metric_name=f"{BASELINE_NAMES[baseline]}: {name}",
            )
        )
    return entries

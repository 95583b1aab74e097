"""The card of a trained model: what it is, how it was trained, what was measured, and what it must not be used for."""

import json
import platform
from pathlib import Path

import torch
import transformers
import yaml
from huggingface_hub import ModelCard, ModelCardData

from .. import __version__
from ..configuration_mg_vtc import MgVtcConfig
from ..data.splits import SPLIT_MEANINGS


def write_model_card(template: Path, folder: Path) -> None:
    """Fill the template with what the folder of a finished run says, and write it there as `README.md`.

    Only what was measured is in the card; what is not known is left out.

    Args:
        template: Jinja template, the project's `model_card.md`.
        folder: Run folder with `config.json`, `recipe.yaml`, `split.json` and `all_results.json`.
    """
    config = MgVtcConfig.from_pretrained(folder)
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text(encoding="utf-8"))
    split = json.loads((folder / "split.json").read_text(encoding="utf-8"))
    towers = [recipe.get(f"{tower}_model_name_or_path") for tower in ("vision", "text")]
    hub_towers = [tower for tower in towers if tower and not Path(tower).exists()]
    # a path of the machine that trained is no part of the card
    vision_base, text_base = (
        tower and (f"`{tower}`" if tower in hub_towers else "weights in a local folder") for tower in towers
    )
    data = ModelCardData(
        library_name="transformers",
        pipeline_tag="image-classification" if config.vision_only else "zero-shot-image-classification",
        license="apache-2.0",
        tags=["mg_vtc", "custom_code", "micro-gesture"],
        base_model=hub_towers or None,
    )
    card = ModelCard.from_template(
        data,
        template_str=template.read_text(encoding="utf-8"),
        config=config,
        recipe=recipe,
        vision_base=vision_base,
        text_base=text_base,
        split=split,
        split_meaning=SPLIT_MEANINGS[split["split_by"]],
        results=json.loads((folder / "all_results.json").read_text(encoding="utf-8")),
        versions=library_versions(),
    )
    card.save(folder / "README.md")


def library_versions() -> dict[str, str]:
    """Versions of what computes a score."""
    return {
        "mg_vtc": __version__,
        "transformers": transformers.__version__,
        "torch": torch.__version__,
        "Python": platform.python_version(),
    }

"""Drawn example images for the model page, with the model's predictions."""

from pathlib import Path
from typing import Any

import numpy as np
from transformers import pipeline

from ..data.class_lists import IMIGUE_CLASS_NAMES
from ..data.demo.dataset import render_frame
from ..models.configuration_mg_vtc import MgVtcConfig
from ..runs.directory import SAMPLES

NUM_SAMPLES = 3
NUM_CANDIDATES = 5  # candidate labels per image
IMAGE_SIZE = 256  # pixels
CLIP = 1000  # not in the demo data, whose clips have low numbers


def write_samples(folder: Path) -> list[dict[str, Any]]:
    """Draw images of classes of the model, predict them with the saved model, and write them to `samples/`.

    Args:
        folder: Folder of the model.

    Returns:
        Entries for the card's `widget`: `src`, `example_title`, `output` and, unless the model is vision-only,
        `candidate_labels`. Empty if the package can draw fewer than two classes of the model.
    """
    config = MgVtcConfig.from_pretrained(folder)
    candidates = _choose_candidates([*config.id2label.values()])
    if not candidates:
        return []
    (folder / SAMPLES).mkdir(exist_ok=True)
    task = "image-classification" if config.vision_only else "zero-shot-image-classification"
    ask = pipeline(task, model=str(folder), device="cpu")
    question: dict[str, Any] = {"top_k": min(NUM_CANDIDATES, config.num_labels)}
    if not config.vision_only:
        question = {"candidate_labels": candidates, "hypothesis_template": config.prompt_template}
    examples = []
    for name in candidates[:NUM_SAMPLES]:
        image = render_frame(IMIGUE_CLASS_NAMES.index(name), CLIP, 0, IMAGE_SIZE)
        source = f"{SAMPLES}/drawn-{'-'.join(name.lower().split())}.png"
        image.save(folder / source)
        predictions = ask(image, **question)
        example: dict[str, Any] = {"src": source, "example_title": f"Drawing: {name}"}
        if not config.vision_only:
            example["candidate_labels"] = ", ".join(candidates)
        example["output"] = [{"label": entry["label"], "score": round(entry["score"], 4)} for entry in predictions]
        examples.append(example)
    return examples


def _choose_candidates(class_names: list[str]) -> list[str]:
    """Choose drawable classes spread over the list, without commas, at which the page splits names."""
    drawable = [name for name in class_names if name in IMIGUE_CLASS_NAMES and "," not in name]
    if len(drawable) < 2:
        return []
    spread = np.linspace(0, len(drawable) - 1, min(NUM_CANDIDATES, len(drawable))).round().astype(int)
    return [drawable[number] for number in spread]

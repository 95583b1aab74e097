"""Export of a vision-only classifier: the same predictions for the training classes without the text tower."""

import copy
import re
import shutil
from pathlib import Path

from huggingface_hub import ModelCard, snapshot_download

from ..files import atomic_write_folder, check_destination
from ..inference.loading import open_model
from ..models.modeling_mg_vtc import MgVtcForImageClassification
from ..runs.directory import SAMPLES
from ..runs.manifest import MANIFEST, OF_MODEL, write_manifest

CARD = "README.md"
TRAINING_RECORDS = ("recipe.yaml", "split.json")  # referred to by the card
DROPPED_USES = ("zero-shot", "transformers.js")  # words of paragraphs on what the classifier alone cannot do
IMAGES = ("figures/*.png", f"{SAMPLES}/*.png")  # which it may show
MODEL_FILES = ("config.json", "model.safetensors", "preprocessor_config.json", CARD, *TRAINING_RECORDS, MANIFEST)


def export_classifier(model_id: str, folder: Path, *, overwrite: bool = False) -> tuple[int, int]:
    """Write a vision-only copy of a model that keeps its class embeddings and drops the text tower.

    The folder is a normal vision-only model, usable with and without this package.

    Args:
        model_id: Folder or Hub id of a model with a text tower.
        folder: Folder to write to.
        overwrite: Whether files of an earlier export may be replaced.

    Returns:
        Size of the weights of the model and of the classifier, in bytes.

    Raises:
        OSError: The model is not found.
        ValueError: The model has no text tower, or files would be overwritten.
    """
    check_destination(model_id, folder, MODEL_FILES, overwrite=overwrite)
    model, image_processor = open_model(model_id)
    if model.config.vision_only:
        raise ValueError(f"{model_id!r} has no text tower: it already is a vision-only classifier.")
    classifier = drop_text_tower(model)
    source = _find_records(model_id)
    with atomic_write_folder(folder, MODEL_FILES) as staging:
        classifier.save_pretrained(staging)
        shutil.copymode(staging / "config.json", staging / "model.safetensors")  # else readable by its owner only
        image_processor.save_pretrained(staging)
        card = ModelCard.load(source / CARD) if (source / CARD).is_file() else None
        if card is not None:
            adapt_card(card, model_id).save(staging / CARD)
        found = [path for pattern in (*TRAINING_RECORDS, *IMAGES) for path in source.glob(pattern)]
        for name, path in ((path.relative_to(source).as_posix(), path) for path in found):
            if name in TRAINING_RECORDS or (card is not None and name in card.content):
                (staging / name).parent.mkdir(exist_ok=True)
                shutil.copyfile(path, staging / name)
        write_manifest(staging, (*OF_MODEL, *TRAINING_RECORDS, *IMAGES, CARD))
    return model.get_memory_footprint(), classifier.get_memory_footprint()


def drop_text_tower(model: MgVtcForImageClassification) -> MgVtcForImageClassification:
    """Return the vision-only model with bit-identical logits."""
    config = copy.deepcopy(model.config)
    config.text_config, config.vision_only = None, True
    classifier = MgVtcForImageClassification(config).to(model.dtype).eval()
    weights = model.state_dict()
    classifier.load_state_dict({name: weights[name] for name in classifier.state_dict()})
    return classifier


def adapt_card(card: ModelCard, model_id: str) -> ModelCard:
    """Remove zero-shot use and JavaScript from a card, and name the model that the classifier comes from."""
    card.data["pipeline_tag"] = "image-classification"
    if card.data.get("tags"):
        card.data["tags"] = [tag for tag in card.data["tags"] if tag not in DROPPED_USES]
    kept = []
    usage, heading, classes = card.text.partition("\n## Classes\n")  # whose names may say anything
    for part in re.split(r"(```.*?```)", usage, flags=re.DOTALL):  # code blocks and prose
        paragraphs = [part] if part.startswith("```") else part.split("\n\n")
        kept.append("\n\n".join(text for text in paragraphs if not any(use in text for use in DROPPED_USES)))
    # no local paths in the card
    origin = "a model" if Path(model_id).exists() else f"`{model_id}`"
    note = (
        f"> This is the classifier of {origin}, without the text tower it was trained with. It gives the same "
        "predictions for the classes below and cannot predict others."
    )
    title, _, rest = "".join((*kept, heading, classes)).strip().partition("\n")
    card.text = f"\n{title}\n\n{note}\n{rest}\n"
    return card


def _find_records(model_id: str) -> Path:
    """Return the folder with the card and the training records of a model."""
    if Path(model_id).is_dir():
        return Path(model_id)
    return Path(snapshot_download(model_id, allow_patterns=[CARD, *TRAINING_RECORDS, *IMAGES]))

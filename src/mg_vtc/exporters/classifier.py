"""A model folder without the text tower: the same answers about the classes of the training, in fewer bytes."""

import copy
import re
import shutil
from pathlib import Path

from huggingface_hub import ModelCard, snapshot_download

from ..files import atomic_write_folder, check_destination
from ..inference.loading import open_model
from ..models.modeling_mg_vtc import MgVtcForImageClassification

CARD = "README.md"
TRAINING_RECORDS = ("recipe.yaml", "split.json")  # to which the card refers
MODEL_FILES = ("config.json", "model.safetensors", "preprocessor_config.json", CARD, *TRAINING_RECORDS)


def export_classifier(model_id: str, folder: Path, *, overwrite: bool = False) -> tuple[int, int]:
    """Write the model without its text tower, as a vision-only one whose table of classes holds the class embeddings.

    The folder opens through every door that a vision-only model has, with the package and without.

    Args:
        model_id: Folder or Hub id of a model with a text tower.
        folder: Where to write.
        overwrite: Whether files of an earlier export may be replaced.

    Returns:
        Bytes of the weights of the model, and of the classifier.

    Raises:
        OSError: There is no such model within reach.
        ValueError: The model has no text tower, or files would be lost.
    """
    check_destination(model_id, folder, MODEL_FILES, overwrite=overwrite)
    model, image_processor = open_model(model_id)
    if model.config.vision_only:
        raise ValueError(f"{model_id!r} has no text tower: it is such a classifier already.")
    classifier = drop_text_tower(model)
    source = _find_records(model_id)
    with atomic_write_folder(folder, MODEL_FILES) as staging:
        classifier.save_pretrained(staging)
        shutil.copymode(staging / "config.json", staging / "model.safetensors")  # which only its owner could read
        image_processor.save_pretrained(staging)
        if (source / CARD).is_file():
            adapt_card(ModelCard.load(source / CARD), model_id).save(staging / CARD)
        for name in TRAINING_RECORDS:
            if (source / name).is_file():
                shutil.copyfile(source / name, staging / name)
    return model.get_memory_footprint(), classifier.get_memory_footprint()


def drop_text_tower(model: MgVtcForImageClassification) -> MgVtcForImageClassification:
    """Make the vision-only model with the same logits, bit for bit."""
    config = copy.deepcopy(model.config)
    config.text_config, config.vision_only = None, True
    classifier = MgVtcForImageClassification(config).to(model.dtype).eval()
    weights = model.state_dict()
    classifier.load_state_dict({name: weights[name] for name in classifier.state_dict()})
    return classifier


def adapt_card(card: ModelCard, model_id: str) -> ModelCard:
    """Take from a card what the classifier can not do, which is zero-shot, and say where the classifier comes from."""
    card.data["pipeline_tag"] = "image-classification"
    kept = []
    for part in re.split(r"(```.*?```)", card.text, flags=re.DOTALL):  # code, and the prose between
        paragraphs = [part] if part.startswith("```") else part.split("\n\n")
        kept.append("\n\n".join(paragraph for paragraph in paragraphs if "zero-shot" not in paragraph))
    # a path of the machine that exported is no part of the card
    origin = "a model" if Path(model_id).exists() else f"`{model_id}`"
    note = (
        f"> This is the classifier of {origin}, without the text tower with which it was trained: it gives the same "
        "answers about the classes below, and can not be asked about others."
    )
    title, _, rest = "".join(kept).strip().partition("\n")
    card.text = f"\n{title}\n\n{note}\n{rest}\n"
    return card


def _find_records(model_id: str) -> Path:
    """The folder with the model's card and the records of its training."""
    if Path(model_id).is_dir():
        return Path(model_id)
    return Path(snapshot_download(model_id, allow_patterns=[CARD, *TRAINING_RECORDS]))

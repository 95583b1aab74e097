"""Small models in folders, as training leaves them."""

import shutil

import torch
from conftest import CLASS_NAMES, TINY_DISTILBERT, TINY_RESNET
from PIL import Image

from mg_vtc import MgVtcConfig, MgVtcModel
from mg_vtc.models.processing_mg_vtc import build_processor
from mg_vtc.runs.manifest import write_manifest


def save_model(folder, vision_config, *, text_config=TINY_DISTILBERT, tokenizer=None, image_size=32, seed=0, **config):
    """Save a model with its class embeddings and its processor; without a tokenizer it is vision-only."""
    torch.manual_seed(seed)
    texts = {"vision_only": True}
    if tokenizer is not None:
        texts = {"text_config": text_config | {"vocab_size": len(tokenizer)}}
    config = {"projection_dim": 12, "id2label": dict(enumerate(CLASS_NAMES))} | texts | config
    model = MgVtcModel(MgVtcConfig(vision_config=dict(vision_config), **config)).eval()
    if tokenizer is not None:
        model.set_class_embeds(**tokenizer(model.config.class_prompts, padding=True, return_tensors="pt"))
    model.save_pretrained(folder)
    build_processor(image_size, tokenizer).save_pretrained(folder)
    return model


def save_taught_model(folder, processor, images_dir, others=(), seed=0):
    """Save a model that knows the classes of the images by their mean embeddings; `others` come first."""
    names = dict(enumerate([*others, *CLASS_NAMES[:4]]))
    model = save_model(folder, TINY_RESNET, tokenizer=processor.tokenizer, id2label=names, seed=seed)
    for label in range(len(others), len(names)):
        name = names[label]
        pixels = build_processor(32)([Image.open(path) for path in (images_dir / name).iterdir()], return_tensors="pt")
        with torch.no_grad():
            model.class_embeds[label] = model(**pixels).image_embeds.mean(dim=0)
    model.save_pretrained(folder)
    write_manifest(folder)
    return folder


def copy_with_wrong_labels(images_dir, folder):
    """Copy the images; one clip of four gets the label of the next class, so that no model is right about all."""
    for label, name in enumerate(CLASS_NAMES[:4]):
        for path in (images_dir / name).iterdir():
            wrong = path.name.startswith("0003")
            target = folder / CLASS_NAMES[(label + wrong) % 4] / (f"9{path.name}" if wrong else path.name)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    return folder

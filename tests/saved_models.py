"""Small models in folders, as training leaves them."""

import torch
from conftest import CLASS_NAMES, TINY_DISTILBERT

from mg_vtc import MgVtcConfig, MgVtcModel
from mg_vtc.models.processing_mg_vtc import build_processor


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

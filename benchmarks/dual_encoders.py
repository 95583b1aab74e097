"""Are the logits of a dual encoder that is taken over those of the original, after saving and in ONNX, too?

    python benchmarks/dual_encoders.py

The dual encoders are small and have random weights: the gate is equality. A row is a family, a column the largest
difference of the logits of 8 images of noise and 4 texts to those of the original, relative to the largest of them.
"""

import json
import tempfile
import warnings
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from transformers import (
    ChineseCLIPConfig,
    ChineseCLIPModel,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    MetaClip2Config,
    MetaClip2Model,
    SiglipConfig,
    SiglipImageProcessorPil,
    SiglipModel,
)

from mg_vtc import MgVtcModel, build_tokenizer
from mg_vtc.data.class_lists import IMIGUE_CLASS_NAMES
from mg_vtc.exporters.onnx import export_onnx
from mg_vtc.training.starting_point import take_over

FAMILIES = ("clip", "metaclip_2", "chinese_clip", "siglip", "siglip with texts padded on the left")
TEXTS = ("folding arms", "covering face", "touching or covering suprasternal notch", "arms akimbo")
TOWER = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
LONGEST = 64  # tokens of a text, to which the pipeline pads those of SigLIP
SIDE = 32  # pixels


def make_tokenizer(family):
    tokenizer = build_tokenizer([*TEXTS, *IMIGUE_CLASS_NAMES])
    tokenizer.padding_side = tokenizer.init_kwargs["padding_side"] = "left" if "left" in family else "right"
    if family.startswith("siglip"):  # which attends to padding
        tokenizer.model_input_names = tokenizer.init_kwargs["model_input_names"] = ["input_ids"]
    return tokenizer


def make_parent(family):
    """A dual encoder in evaluation mode whose parameters, scale and bias are none of the initial ones."""
    torch.manual_seed(0)
    tokenizer = make_tokenizer(family)
    ids = {"bos_token_id": tokenizer.cls_token_id, "eos_token_id": tokenizer.sep_token_id, "pad_token_id": 0}
    towers = {
        "text_config": TOWER | ids | {"vocab_size": len(tokenizer), "max_position_embeddings": LONGEST},
        "vision_config": TOWER | {"image_size": SIDE, "patch_size": 8},
    }
    if family.startswith("siglip"):
        parent = SiglipModel(SiglipConfig(**towers))
    else:
        kinds = {"clip": (CLIPModel, CLIPConfig), "metaclip_2": (MetaClip2Model, MetaClip2Config)}
        model, config = kinds.get(family, (ChineseCLIPModel, ChineseCLIPConfig))
        parent = model(config(**towers, projection_dim=24))
    with torch.no_grad():
        for parameter in parent.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
        if family.startswith("siglip"):
            parent.logit_scale.fill_(4.76)  # about that of the published models, above the bound of CLIP
            parent.logit_bias.fill_(-12.9)
    return parent.eval()


def save_parent(family, folder):
    """Save a dual encoder with its tokenizer and image processor, and return it."""
    parent = make_parent(family)
    parent.save_pretrained(folder)
    make_tokenizer(family).save_pretrained(folder)
    if family.startswith("siglip"):
        SiglipImageProcessorPil(size={"height": SIDE, "width": SIDE}).save_pretrained(folder)
    else:
        size = {"size": {"shortest_edge": SIDE}, "crop_size": {"height": SIDE, "width": SIDE}}
        CLIPImageProcessorPil(**size).save_pretrained(folder)
    return parent


def tokenize(family, texts):
    """Token ids and mask, padded as the family was trained: for SigLIP to a fixed length, without a mask."""
    padding = {"padding": "max_length", "max_length": LONGEST} if family.startswith("siglip") else {"padding": True}
    return dict(make_tokenizer(family)(list(texts), **padding, return_tensors="pt"))


@torch.no_grad()
def measure(family, folder):
    """Return the largest relative differences to the parent: as taken over, reloaded, by class, and in ONNX."""
    parent = save_parent(family, folder / "parent")
    pixel_values = torch.randn(8, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    expected = parent(pixel_values=pixel_values, **tokenize(family, TEXTS)).logits_per_image.numpy()  # (8, 4)
    model, processor = take_over(str(folder / "parent"), list(TEXTS))
    texts = processor.tokenizer(list(TEXTS), padding=True, return_tensors="pt")
    model.eval().set_class_embeds(**texts)
    model.save_pretrained(folder / "model")
    processor.save_pretrained(folder / "model")
    processor.image_processor.save_pretrained(folder / "model")
    reloaded = MgVtcModel.from_pretrained(folder / "model").eval()
    export_onnx(str(folder / "model"), folder / "onnx")
    images, classes = (
        onnxruntime.InferenceSession(folder / "onnx" / name) for name in ("image_encoder.onnx", "classifier.onnx")
    )
    text_side = onnxruntime.InferenceSession(folder / "onnx" / "text_encoder.onnx")
    about = text_side.get_modelmeta().custom_metadata_map
    (image_embeds,) = images.run(None, {"pixel_values": pixel_values.numpy()})
    inputs = {one.name: texts[one.name].numpy() for one in text_side.get_inputs()}
    (text_embeds,) = text_side.run(None, inputs)
    found = {
        "taken over": model(pixel_values=pixel_values, **texts).logits_per_image.numpy(),
        "reloaded": reloaded(pixel_values=pixel_values, **texts).logits_per_image.numpy(),
        "classes": model(pixel_values=pixel_values).logits_per_image.numpy(),
        "ONNX": json.loads(about["logit_scale"]) * image_embeds @ text_embeds.T + json.loads(about["logit_bias"]),
        "ONNX, classes": classes.run(None, {"pixel_values": pixel_values.numpy()})[0],
    }
    return {name: float(np.abs(logits - expected).max() / np.abs(expected).max()) for name, logits in found.items()}


def main():
    """Print the table."""
    rows = {}
    for family in FAMILIES:
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rows[family] = measure(family, Path(folder))
    columns = next(iter(rows.values()))
    print(f"| family | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 1)}")
    for family, differences in rows.items():
        print(f"| {family} | {' | '.join(f'{value:.1e}' for value in differences.values())} |")


if __name__ == "__main__":
    main()

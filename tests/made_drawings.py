"""Small sets of drawings in the layout of GESTURES, and small towers in place of the published ones."""

from pathlib import Path

import numpy as np
from conftest import CLASS_NAMES, TINY_RESNET
from PIL import Image
from transformers import AutoModel, BertConfig, ResNetConfig

from mg_vtc import build_tokenizer


def make_towers(folder: Path) -> Path:
    """Tiny towers with random weights, under the names of the published ones."""
    vision, text = folder / "efficientnet-lite0", folder / "all-minilm-l6-v2"
    AutoModel.from_config(ResNetConfig.from_dict(TINY_RESNET)).save_pretrained(vision)
    tokenizer = build_tokenizer(CLASS_NAMES)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    AutoModel.from_config(BertConfig(vocab_size=len(tokenizer), **sizes)).save_pretrained(text)
    tokenizer.save_pretrained(text)
    return folder


def make_drawings(
    folder: Path, drawers: str = "ab", *, num_classes: int = 3, num_clips: int = 8, first_clip: int = 0
) -> Path:
    """Clips of one frame in each class; the packages `drawer-a` and so on take turns."""
    rows = ["id,clip,package,short_name,frames"]
    rng = np.random.default_rng(0)
    for label in range(num_classes):
        (folder / "training" / str(label)).mkdir(parents=True)
        for number in range(num_clips):
            clip = f"{first_clip + number:04d}"
            rows.append(f"{label},{clip},drawer-{drawers[number % len(drawers)]}@1.0,name,1")
            pixels = rng.integers(0, 80, (32, 32, 3), dtype=np.uint8) + np.uint8(50 * label)
            Image.fromarray(pixels).save(folder / "training" / str(label) / f"{clip}.0.jpg")
    (folder / "sources.csv").write_text("\n".join(rows) + "\n")
    names = "\n".join(f"{label},{CLASS_NAMES[label]}" for label in range(num_classes))
    (folder / "labels.csv").write_text(f"id,name\n{names}\n")
    return folder

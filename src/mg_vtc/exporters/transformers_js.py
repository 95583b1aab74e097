"""Export to the ONNX files that transformers.js opens in the repository of a model.

`model` compares images with names, and `classifier` scores the classes of the model. A vision-only model has `model`
alone, which is the classifier. Each graph is written in float32, float16 and 8 bits, with the suffixes that
transformers.js expects.
"""

from pathlib import Path

import onnx
import torch
from onnxruntime.transformers.float16 import convert_float_to_float16  # type: ignore[import-untyped]
from torch import nn
from transformers import AutoTokenizer

from ..inference.loading import open_model
from ..models.modeling_mg_vtc import MgVtcForImageClassification
from .int8 import quantize_weights
from .onnx import (
    MAX_INT8_DIFFERENCE,
    Classifier,
    ExportedFile,
    Inputs,
    describe_classifier,
    describe_difference,
    draw_images,
    tokenize_prompts,
    write_graph,
)

MODEL, CLASSIFIER = "model", "classifier"
FLOAT16, INT8 = "_fp16", "_quantized"
FILES = tuple(f"{graph}{suffix}.onnx" for graph in (MODEL, CLASSIFIER) for suffix in ("", FLOAT16, INT8))
MAX_BYTES = 1_500_000_000  # larger graphs keep their weights in another file, which transformers.js does not find
MAX_FLOAT16_DIFFERENCE = 0.03  # without a warning


class _Comparison(nn.Module):
    """pixel_values, input_ids and, if there is one, attention_mask -> logits_per_image."""

    def __init__(self, model: MgVtcForImageClassification) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, pixel_values: torch.Tensor, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        images = self.model.get_image_features(pixel_values, return_dict=True).pooler_output
        texts = self.model.get_text_features(input_ids, attention_mask, return_dict=True).pooler_output
        # (batch_size, text_batch_size)
        return self.model.compare(self.model._embed(images), self.model._embed(texts))


def export_transformers_js(model_id: str, folder: Path) -> list[ExportedFile]:
    """Write the graphs of a model to an empty folder, after comparing each with the model in ONNX Runtime.

    The folder goes beside the model, as `onnx`. Configuration, image processor and tokenizer are those of the model.

    Args:
        model_id: Folder or Hub id.
        folder: Existing folder.

    Raises:
        OSError: The model is not found.
        ValueError: The model is too large, its image processor does more than resize and normalize, or the outputs of
            a float32 file differ from the model's.
    """
    model, processor = open_model(model_id, torch.float32)
    if (size := model.get_memory_footprint()) > MAX_BYTES:
        raise ValueError(
            f"{model_id} has {size / 1e9:.1f} GB of weights; transformers.js opens at most {MAX_BYTES / 1e9:.1f} GB "
            "in one file. Use smaller towers, or push without ONNX files."
        )
    model.set_attn_implementation("eager")  # torch.export cannot trace the fused attention of some towers (Swin)
    metadata = describe_classifier(model, processor)
    pixel_values = torch.from_numpy(draw_images(processor))  # (3, 3, height, width)
    images: list[Inputs] = [{"pixel_values": pixel_values[rows]} for rows in ([0], [1, 2])]
    name = MODEL if model.config.vision_only else CLASSIFIER
    files = _write_precisions(folder, name, Classifier(model), images, "logits", metadata)
    if not model.config.vision_only:
        tokenizer = AutoTokenizer.from_pretrained(model_id)
        # no token types: names are single texts, whose types are all zero
        names = [name for name in ("input_ids", "attention_mask") if name in tokenizer.model_input_names]
        texts = tokenize_prompts(tokenizer, model.config.class_prompts, names)
        pairs = [image | text for image, text in zip(images, texts, strict=True)]
        files += _write_precisions(folder, MODEL, _Comparison(model), pairs, "logits_per_image", metadata)
    return files


def _write_precisions(
    folder: Path, name: str, module: nn.Module, batches: list[Inputs], output_name: str, metadata: dict[str, str]
) -> list[ExportedFile]:
    """Write a graph in float32, float16 and 8 bits; warn if one of the latter differs much from the module."""
    source = folder / f"{name}.onnx"
    files = [write_graph(source, module, batches, output_name, metadata)]
    onnx.save(convert_float_to_float16(onnx.load(source), keep_io_types=True), folder / f"{name}{FLOAT16}.onnx")
    quantize_weights(source, folder / f"{name}{INT8}.onnx")
    limits = {FLOAT16: MAX_FLOAT16_DIFFERENCE, INT8: MAX_INT8_DIFFERENCE}
    return files + [
        describe_difference(folder / f"{name}{suffix}.onnx", module, batches, limit)
        for suffix, limit in limits.items()
    ]

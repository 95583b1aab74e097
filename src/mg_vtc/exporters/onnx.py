"""Export to ONNX: the classifier and two encoders for zero-shot use, verified against the model.

Inputs and outputs have the same names as in the model. The metadata of the classifier contain its preprocessing and
class names, so it runs with only onnxruntime, numpy and Pillow.
"""

import inspect
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime  # type: ignore[import-untyped]
import torch
from onnx_ir.passes.common import ClearMetadataAndDocStringPass
from torch import nn
from transformers import AutoTokenizer, BaseImageProcessor, PreTrainedTokenizerBase

from ..data.decoding import find_resizing
from ..files import atomic_write_folder, check_destination
from ..inference.loading import open_model
from ..models.modeling_mg_vtc import MgVtcForImageClassification
from ..runs.manifest import MANIFEST, write_manifest
from .int8 import quantize, quantize_weights, read_calibration_images

FORMAT_VERSION = 2  # of the metadata; incremented on incompatible changes
CLASSIFIER, INT8_CLASSIFIER = "classifier.onnx", "classifier.int8.onnx"
IMAGE_ENCODER, TEXT_ENCODER, TOKENIZER = "image_encoder.onnx", "text_encoder.onnx", "tokenizer.json"
INT8_TEXT_ENCODER = "text_encoder.int8.onnx"
GRAPHS = (CLASSIFIER, INT8_CLASSIFIER, IMAGE_ENCODER, TEXT_ENCODER)
FILES = (*GRAPHS, *(f"{name}.data" for name in GRAPHS), TOKENIZER)  # .data: weights of a graph of 1.5 GB or more
TEXT_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
# A hundred times the rounding error of another order of operations, measured as up to 3e-6.
MAX_DIFFERENCE = 1e-4
MAX_INT8_DIFFERENCE = 0.25  # without a warning, on drawn images; trained towers of 2 M parameters were at 0.006
MIN_AGREEMENT = 0.95
MIN_JUDGED = 16  # images for the comparison of an int8 classifier; as many others calibrate it

Inputs = dict[str, torch.Tensor]


class ExportedFile(NamedTuple):
    """An exported file.

    Attributes:
        name: Name in the folder.
        num_bytes: Size in bytes.
        difference: Largest absolute difference of its outputs from the model's, divided by the largest absolute
            output; `None` for a file without outputs.
        agreement: For int8, the fraction in 0..1 of non-calibration images with the same top-1 class as the model.
        judged_on: For int8, the number of these images and of classes that the model predicts for them.
    """

    name: str
    num_bytes: int
    difference: float | None = None
    agreement: float | None = None
    judged_on: tuple[int, int] | None = None


class Classifier(nn.Module):
    """pixel_values -> logits, with class embeddings, norm and scale folded into one matrix, and the bias."""

    def __init__(self, model: MgVtcForImageClassification) -> None:
        super().__init__()
        self.encoder = _ImageEncoder(model)
        # logits are linear in the image embedding, apart from a bias: those of the unit vectors are the matrix
        unit_vectors, class_embeds = torch.eye(model.config.projection_dim), model._embed(model.class_embeds)
        bias = model.compare(torch.zeros_like(unit_vectors[:1]), class_embeds)  # (1, num_labels)
        weights = model.compare(unit_vectors, class_embeds) - bias  # (projection_dim, num_labels)
        self.register_buffer("weights", weights.detach())
        self.register_buffer("bias", bias.detach() if model.config.use_logit_bias else None)

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        logits = self.encoder(pixel_values) @ self.weights  # (batch_size, num_labels)
        return logits if self.bias is None else logits + self.bias


class _ImageEncoder(nn.Module):
    """pixel_values -> image_embeds."""

    def __init__(self, model: MgVtcForImageClassification) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        features = self.model.get_image_features(pixel_values, return_dict=True).pooler_output
        return self.model._embed(features)  # (batch_size, projection_dim)


class _TextEncoder(nn.Module):
    """input_ids and, if there are any, attention_mask and token_type_ids -> text_embeds."""

    def __init__(self, model: MgVtcForImageClassification) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
    ) -> torch.Tensor:
        segments = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        outputs = self.model.get_text_features(input_ids, attention_mask, return_dict=True, **segments)
        return self.model._embed(outputs.pooler_output)  # (batch_size, projection_dim)


def export_onnx(
    model_id: str, folder: Path, *, int8: bool = False, calibration_data: Path | None = None, overwrite: bool = False
) -> list[ExportedFile]:
    """Write the ONNX files of a model after comparing each with the model in ONNX Runtime.

    Args:
        model_id: Folder or Hub id.
        folder: Folder to write to.
        int8: Whether to also write an int8 classifier; warns if its top-1 agrees with the model's on less than 95 % of
            the images.
        calibration_data: Folder of images for the comparison. For int8, every other image is used for calibration and
            the rest for the comparison.
        overwrite: Whether to replace an earlier export; its files that are not written again are removed.

    Raises:
        OSError: The model is not found, or an image is unreadable.
        ValueError: `int8` without `calibration_data`, files would be overwritten, the metadata cannot describe the
            preprocessing, or the outputs of a file differ from the model's.
    """
    if int8 and calibration_data is None:
        raise ValueError("`int8` requires calibration images: pass a folder of images to `calibration_data`.")
    check_destination(model_id, folder, (*FILES, MANIFEST), overwrite=overwrite)
    model, processor = open_model(model_id, torch.float32)
    # torch.export cannot trace the fused attention of some towers (Swin)
    model.set_attn_implementation("eager")
    metadata = describe_classifier(model, processor)
    images = (
        draw_images(processor) if calibration_data is None else read_calibration_images(calibration_data, processor)
    )
    if int8 and len(images) < 2:
        raise ValueError(
            f"{calibration_data} has one image, but `int8` requires one for calibration and another for the "
            f"comparison: pass {MIN_JUDGED * 2} or more, of all classes."
        )
    pixel_values = torch.from_numpy(images)  # (num_images, 3, height, width)
    batches = [{"pixel_values": pixel_values[rows]} for rows in ([0], [0, -1, 0])]
    with atomic_write_folder(folder, (*FILES, MANIFEST)) as staging:
        files = [write_graph(staging / CLASSIFIER, Classifier(model), batches, "logits", metadata)]
        if int8:
            feeds = [{"pixel_values": image[None]} for image in images[::2]]  # (1, 3, height, width) each
            quantize(staging / CLASSIFIER, staging / INT8_CLASSIFIER, feeds)
            files.append(_check_int8(staging / INT8_CLASSIFIER, model, pixel_values[1::2]))
        if not model.config.vision_only:
            files.append(write_graph(staging / IMAGE_ENCODER, _ImageEncoder(model), batches, "image_embeds", metadata))
            files.append(write_text_encoder(staging, model_id, model, metadata))
            files.append(ExportedFile(TOKENIZER, (staging / TOKENIZER).stat().st_size))
        write_manifest(staging, FILES)
    return files


def describe_classifier(model: MgVtcForImageClassification, processor: BaseImageProcessor) -> dict[str, str]:
    """Return the metadata of the files: lists as JSON, `image_size` as [height, width], `resample` as a Pillow filter.

    `shortest_edge` is the length of the shorter side, in pixels, before the central square is cropped; null if images
    are stretched to `image_size`.

    Raises:
        ValueError: The processor does more than resize to a square and normalize pixels in 0..1.
    """
    resizing = find_resizing(processor)
    plain = processor.do_resize and processor.do_rescale and processor.do_normalize
    if not plain or abs(255 * processor.rescale_factor - 1) > 1e-6:
        raise ValueError(
            "The metadata of an ONNX file describe a size, a mean and a standard deviation, but the image processor "
            "of this model needs more: export a model that only resizes to a square and normalizes."
        )
    unit, none = torch.ones(1, 1), torch.zeros(1, 1)
    bias = model.compare(none, unit).item()
    return {
        "format_version": str(FORMAT_VERSION),
        "labels": json.dumps([model.config.id2label[i] for i in range(model.config.num_labels)]),
        "image_size": json.dumps([resizing.image_size] * 2),
        "shortest_edge": json.dumps(resizing.shortest_edge),
        "image_mean": json.dumps(list(processor.image_mean)),
        "image_std": json.dumps(list(processor.image_std)),
        "resample": resizing.resample.upper(),
        "prompt_template": model.config.prompt_template,
        "logit_scale": repr(model.compare(unit, unit).item() - bias),
        "logit_bias": repr(bias),
    }


def draw_images(processor: BaseImageProcessor) -> np.ndarray:
    """Return preprocessed random images, (3, 3, height, width)."""
    side = find_resizing(processor).image_size
    pixels = np.random.default_rng(0).integers(0, 256, (3, side, side, 3), dtype=np.uint8)
    return processor(list(pixels), return_tensors="np")["pixel_values"]


def write_text_encoder(
    folder: Path, model_id: str, model: MgVtcForImageClassification, metadata: dict[str, str], *, int8: bool = False
) -> ExportedFile:
    """Write the text encoder and `tokenizer.json`, after comparing it with the model on the class prompts.

    With `int8`, its weights have 8 bits, and it is `INT8_TEXT_ENCODER`.
    """
    tokenizer = AutoTokenizer.from_pretrained(model_id)
    taken = inspect.signature(model.text_model.forward).parameters
    names = [name for name in TEXT_INPUTS if name in taken and name in tokenizer.model_input_names]
    batches = tokenize_prompts(tokenizer, model.config.class_prompts, names)
    encoder = _TextEncoder(model)
    text_file = write_graph(folder / TEXT_ENCODER, encoder, batches, "text_embeds", metadata)
    # `tokenize_prompts` set its padding and truncation, which the file therefore keeps.
    tokenizer.backend_tokenizer.save(str(folder / TOKENIZER))
    if int8:
        quantize_weights(folder / TEXT_ENCODER, folder / INT8_TEXT_ENCODER)
        (folder / TEXT_ENCODER).unlink()
        return describe_difference(folder / INT8_TEXT_ENCODER, encoder, batches, MAX_INT8_DIFFERENCE)
    return text_file


def tokenize_prompts(tokenizer: PreTrainedTokenizerBase, prompts: list[str], names: list[str]) -> list[Inputs]:
    """Return inputs of a graph for one prompt and for three, which are padded, each `(num_texts, sequence_length)`."""
    texts = sorted(prompts, key=len)
    batches = []
    for batch in (texts[:1], [texts[0], texts[-1], texts[0]]):
        encoded = tokenizer(batch, padding=True, truncation=True, return_tensors="pt")
        batches.append({name: encoded[name] for name in names})
    return batches


def write_graph(
    path: Path, module: nn.Module, batches: list[Inputs], output_name: str, metadata: dict[str, str]
) -> ExportedFile:
    """Trace the last batch, save the graph, and compare it with the module on all batches.

    Raises:
        ValueError: The outputs of the graph differ from the module's.
    """
    module.eval()
    inputs = batches[-1]
    texts = "text_batch_size" if "pixel_values" in inputs else "batch_size"  # not that of the images
    axes = {name: {0: texts, 1: "sequence_length"} for name in TEXT_INPUTS}
    axes["pixel_values"] = {0: "batch_size"}
    with quiet_exporter():
        program = torch.onnx.export(
            module,
            tuple(inputs.values()),
            input_names=list(inputs),
            output_names=[output_name],
            dynamic_shapes=tuple(axes[name] for name in inputs),
            verbose=False,
        )
    assert program is not None
    ClearMetadataAndDocStringPass()(program.model)  # stack traces with local paths
    program.model.metadata_props.update(metadata)
    program.save(path)
    difference = compare_graph(path, module, batches)
    if not difference <= MAX_DIFFERENCE:
        raise ValueError(
            f"The outputs of {path.name} differ from the model's by {difference:.1e} of the largest output; at most "
            f"{MAX_DIFFERENCE:.0e} is allowed. Nothing was written. This is an error of the exporter for this tower "
            f"with torch {torch.__version__}: report it, or export with another version."
        )
    num_bytes = sum(part.stat().st_size for part in path.parent.glob(f"{path.name}*"))
    return ExportedFile(path.name, num_bytes, difference)


@torch.no_grad()
def compare_graph(path: Path, module: nn.Module, batches: list[Inputs]) -> float:
    """Return the largest difference of a file from the module on batches, divided by the largest output."""
    return max(_difference(_run(path, batch), module(**batch).numpy()) for batch in batches)


def describe_difference(path: Path, module: nn.Module, batches: list[Inputs], limit: float) -> ExportedFile:
    """Compare a file of lower precision with the module, and warn if it differs by more than the limit."""
    difference = compare_graph(path, module, batches)
    if not difference <= limit:
        warnings.warn(
            f"The outputs of {path.name} differ from the model's by {difference:.1e} of the largest output, more than "
            f"{limit}: compare both on your own data before you use it.",
            stacklevel=4,
        )
    return ExportedFile(path.name, path.stat().st_size, difference)


@contextmanager
def quiet_exporter() -> Iterator[None]:
    """Silence messages of the exporter that are irrelevant to users."""
    registration = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = registration.level
    registration.setLevel(logging.ERROR)  # about torchvision, which is not needed
    try:
        with warnings.catch_warnings():
            # torch 2.13 uses its own deprecated interface
            warnings.filterwarnings("ignore", message=r".*treespec, LeafSpec.* is deprecated", category=FutureWarning)
            # one sequence length for all text inputs is intended
            warnings.filterwarnings("ignore", message=r".*axis name: \w+ will not be used", category=UserWarning)
            yield
    finally:
        registration.setLevel(level)


def _run(path: Path, inputs: Inputs) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {name: value.numpy() for name, value in inputs.items()})[0]


def _difference(predictions: np.ndarray, truth: np.ndarray) -> float:
    return float(np.abs(predictions - truth).max() / np.abs(truth).max())


def _check_int8(path: Path, model: MgVtcForImageClassification, pixel_values: torch.Tensor) -> ExportedFile:
    """Compare the int8 classifier with the model on images that were not used for calibration."""
    with torch.no_grad():
        truth = np.concatenate([model(part).logits.numpy() for part in pixel_values.split(32)])
    logits = _run(path, {"pixel_values": pixel_values})  # (num_images, num_labels)
    agreement = float((logits.argmax(axis=1) == truth.argmax(axis=1)).mean())
    num_classes = len(np.unique(truth.argmax(axis=1)))
    if len(truth) < MIN_JUDGED or num_classes < min(2, model.config.num_labels):
        warnings.warn(
            f"{path.name} was compared on {len(truth)} images, for which the model predicts {num_classes} of "
            f"{model.config.num_labels} classes: too few to measure how often int8 changes a prediction. Pass "
            f"{2 * MIN_JUDGED} calibration images or more, of all classes.",
            stacklevel=3,
        )
    if agreement < MIN_AGREEMENT:
        warnings.warn(
            f"{path.name} and the model agree on {agreement:.1%} of {len(truth)} non-calibration images, below "
            f"{MIN_AGREEMENT:.0%}: calibrate with images from the model's domain, or use the float32 file.",
            stacklevel=3,
        )
    return ExportedFile(
        path.name, path.stat().st_size, _difference(logits, truth), agreement, (len(truth), num_classes)
    )

"""ONNX files of a model: the classifier, the pair of encoders for zero-shot use, and the proof that they are faithful.

Every file names its inputs and outputs as the model does. The classifier's metadata say how to prepare a picture and
what its classes are, so that it is used with onnxruntime, numpy and Pillow alone.
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
from PIL import Image
from torch import nn
from transformers import AutoTokenizer, BaseImageProcessor

from ..files import atomic_write_folder, check_destination
from ..inference.loading import open_model
from ..models.modeling_mg_vtc import MgVtcForImageClassification
from .int8 import quantize_classifier, read_calibration_pictures

FORMAT_VERSION = 1  # of the metadata; raised when a reader of the old ones would misread the new
CLASSIFIER, INT8_CLASSIFIER = "classifier.onnx", "classifier.int8.onnx"
IMAGE_ENCODER, TEXT_ENCODER, TOKENIZER = "image_encoder.onnx", "text_encoder.onnx", "tokenizer.json"
GRAPHS = (CLASSIFIER, INT8_CLASSIFIER, IMAGE_ENCODER, TEXT_ENCODER)
FILES = (*GRAPHS, *(f"{name}.data" for name in GRAPHS), TOKENIZER)  # .data: weights of a graph of 1.5 GB or more
TEXT_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
# A hundred times the rounding in another order, which was seen to give up to 3e-6.
MAX_DIFFERENCE = 1e-4
MIN_AGREEMENT = 0.95
MIN_JUDGED = 16  # images that an int8 classifier is judged by; as many others calibrate it

Inputs = dict[str, torch.Tensor]


class ExportedFile(NamedTuple):
    """A file that was written.

    Args:
        name: Its name in the folder.
        num_bytes: Its size.
        difference: Largest absolute difference of its answers to those of the model, divided by the largest absolute
            answer; `None` for a file that answers nothing.
        agreement: Share of the images that did not calibrate for which the best class is the model's, in 0..1; int8
            alone.
        judged_on: How many images these are, and over how many classes the model spreads them; int8 alone.
    """

    name: str
    num_bytes: int
    difference: float | None = None
    agreement: float | None = None
    judged_on: tuple[int, int] | None = None


class _Classifier(nn.Module):
    """pixel_values -> logits, with class embeddings, norm and scale folded into one matrix."""

    def __init__(self, model: MgVtcForImageClassification) -> None:
        super().__init__()
        self.encoder = _ImageEncoder(model)
        # logits are linear in the embedding of the picture: those of the unit vectors are the matrix
        unit_vectors = torch.eye(model.config.projection_dim)
        weights = model.compare(unit_vectors, model._embed(model.class_embeds))  # (projection_dim, num_labels)
        self.register_buffer("weights", weights.detach())

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        return self.encoder(pixel_values) @ self.weights  # (batch_size, num_labels)


class _ImageEncoder(nn.Module):
    """pixel_values -> image_embeds."""

    def __init__(self, model: MgVtcForImageClassification) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        features = self.model.get_image_features(pixel_values, return_dict=True).pooler_output
        return self.model._embed(features)  # (batch_size, projection_dim)


class _TextEncoder(nn.Module):
    """input_ids, attention_mask and, where the tower takes them, token_type_ids -> text_embeds."""

    def __init__(self, model: MgVtcForImageClassification) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor | None = None
    ) -> torch.Tensor:
        segments = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        outputs = self.model.get_text_features(input_ids, attention_mask, return_dict=True, **segments)
        return self.model._embed(outputs.pooler_output)  # (batch_size, projection_dim)


def export_onnx(
    model_id: str, folder: Path, *, int8: bool = False, calibration: Path | None = None, overwrite: bool = False
) -> list[ExportedFile]:
    """Write the ONNX files of a model, each run in ONNX Runtime and compared with the model before it appears.

    Args:
        model_id: Folder or Hub id.
        folder: Where to write.
        int8: Whether to write the classifier in int8 too; warns where its top-1 and the model's agree on less than
            95 % of the pictures.
        calibration: Folder of pictures to compare on and, for int8, to take ranges from: every other one calibrates,
            the rest judges.
        overwrite: Whether files of an earlier export may be replaced; those that are not written anew are removed.

    Raises:
        OSError: There is no such model within reach, or a picture is unreadable.
        ValueError: `int8` without `calibration`, files would be lost, the preparation of pictures can not be written
            into metadata, or a file does not answer as the model does.
    """
    if int8 and calibration is None:
        raise ValueError("--int8 takes its ranges from pictures: name a folder of some with --calibration.")
    check_destination(model_id, folder, FILES, overwrite=overwrite)
    model, processor = open_model(model_id, torch.float32)
    # torch.export meets shapes in the fused attention of some towers (Swin) that it can not follow
    model.set_attn_implementation("eager")
    metadata = describe_classifier(model, processor)
    pictures = _draw_pictures(processor) if calibration is None else read_calibration_pictures(calibration, processor)
    if int8 and len(pictures) < 2:
        raise ValueError(
            f"{calibration} holds one picture, and --int8 needs at least one to take ranges from and another to judge "
            f"by: give {MIN_JUDGED * 2} or more, of all classes."
        )
    pixel_values = torch.from_numpy(pictures)  # (num_pictures, 3, height, width)
    batches = [{"pixel_values": pixel_values[rows]} for rows in ([0], [0, -1, 0])]
    with atomic_write_folder(folder, FILES) as staging:
        files = [_write_graph(staging / CLASSIFIER, _Classifier(model), batches, "logits", metadata)]
        if int8:
            quantize_classifier(staging / CLASSIFIER, staging / INT8_CLASSIFIER, pictures[::2])
            files.append(_check_int8(staging / INT8_CLASSIFIER, model, pixel_values[1::2]))
        if not model.config.vision_only:
            files.append(
                _write_graph(staging / IMAGE_ENCODER, _ImageEncoder(model), batches, "image_embeds", metadata)
            )
            files += _write_text_side(staging, model_id, model, metadata)
    return files


def describe_classifier(model: MgVtcForImageClassification, processor: BaseImageProcessor) -> dict[str, str]:
    """The metadata of the files: lists are JSON, `image_size` is [height, width], `resample` a filter of Pillow.

    Raises:
        ValueError: The processor does more than to resize to a fixed size and normalise pixels in 0..1.
    """
    size = dict(processor.size)
    plain = processor.do_resize and processor.do_rescale and processor.do_normalize and not processor.do_center_crop
    if not plain or None in (size.get("height"), size.get("width")) or abs(255 * processor.rescale_factor - 1) > 1e-6:
        raise ValueError(
            "The metadata of an ONNX file hold a size, a mean and a standard deviation, but the image processor of "
            f"this model prepares pictures otherwise (size {size}): export one that resizes to a height and a width."
        )
    unit = torch.ones(1, 1)
    return {
        "format_version": str(FORMAT_VERSION),
        "labels": json.dumps([model.config.id2label[i] for i in range(model.config.num_labels)]),
        "image_size": json.dumps([size["height"], size["width"]]),
        "image_mean": json.dumps(list(processor.image_mean)),
        "image_std": json.dumps(list(processor.image_std)),
        "resample": Image.Resampling(processor.resample).name,
        "prompt_template": model.config.prompt_template,
        "logit_scale": repr(model.compare(unit, unit).item()),
    }


def _draw_pictures(processor: BaseImageProcessor) -> np.ndarray:
    """Pictures of random pixels, (3, 3, height, width), prepared."""
    size = (3, processor.size["height"], processor.size["width"], 3)
    pixels = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
    return processor(list(pixels), return_tensors="np")["pixel_values"]


def _write_text_side(
    folder: Path, model_id: str, model: MgVtcForImageClassification, metadata: dict[str, str]
) -> list[ExportedFile]:
    tokenizer = AutoTokenizer.from_pretrained(model_id)
    taken = inspect.signature(model.text_model.forward).parameters
    names = [name for name in TEXT_INPUTS if name in taken and name in tokenizer.model_input_names]
    texts = sorted(model.config.class_prompts, key=len)
    batches = []
    for batch in (texts[:1], [texts[0], texts[-1], texts[0]]):  # so that one text is padded
        encoded = tokenizer(batch, padding=True, truncation=True, return_tensors="pt")
        batches.append({name: encoded[name] for name in names})
    text_file = _write_graph(folder / TEXT_ENCODER, _TextEncoder(model), batches, "text_embeds", metadata)
    # The calls above have set its padding and truncation, so that the file pads and cuts as the model's processor.
    tokenizer.backend_tokenizer.save(str(folder / TOKENIZER))
    return [text_file, ExportedFile(TOKENIZER, (folder / TOKENIZER).stat().st_size)]


def _write_graph(
    path: Path, module: nn.Module, batches: list[Inputs], output_name: str, metadata: dict[str, str]
) -> ExportedFile:
    """Export, save and compare with the module on each of the batches; the last is what is traced."""
    module.eval()
    inputs = batches[-1]
    axes = {name: {0: "batch_size", 1: "sequence_length"} for name in TEXT_INPUTS}
    axes["pixel_values"] = {0: "batch_size"}
    with _quiet_exporter():
        program = torch.onnx.export(
            module,
            tuple(inputs.values()),
            input_names=list(inputs),
            output_names=[output_name],
            dynamic_shapes=tuple(axes[name] for name in inputs),
            verbose=False,
        )
    assert program is not None
    ClearMetadataAndDocStringPass()(program.model)  # traces of the stack, with paths of this machine
    program.model.metadata_props.update(metadata)
    program.save(path)
    with torch.no_grad():
        difference = max(_difference(_run(path, batch), module(**batch).numpy()) for batch in batches)
    if not difference <= MAX_DIFFERENCE:
        raise ValueError(
            f"{path.name} does not answer as the model does: the largest difference is {difference:.1e} of the "
            f"largest answer, and {MAX_DIFFERENCE:.0e} is allowed. Nothing was written. It is a fault of the exporter "
            f"for this tower, with torch {torch.__version__}: report it, or export with another version."
        )
    num_bytes = sum(part.stat().st_size for part in path.parent.glob(f"{path.name}*"))
    return ExportedFile(path.name, num_bytes, difference)


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Keep from the user what the exporter says about itself."""
    registration = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = registration.level
    registration.setLevel(logging.ERROR)  # that torchvision, whose operators no model here has, is not installed
    try:
        with warnings.catch_warnings():
            # torch 2.13 copies its own trees in a way that it has deprecated
            warnings.filterwarnings("ignore", message=r".*treespec, LeafSpec.* is deprecated", category=FutureWarning)
            # one length for all inputs of a text is what is meant
            warnings.filterwarnings("ignore", message=r".*axis name: \w+ will not be used", category=UserWarning)
            yield
    finally:
        registration.setLevel(level)


def _run(path: Path, inputs: Inputs) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {name: value.numpy() for name, value in inputs.items()})[0]


def _difference(answers: np.ndarray, truth: np.ndarray) -> float:
    return float(np.abs(answers - truth).max() / np.abs(truth).max())


def _check_int8(path: Path, model: MgVtcForImageClassification, pixel_values: torch.Tensor) -> ExportedFile:
    """Compare the int8 classifier with the model on images that did not calibrate it.

    Warns where the two differ too often, and where there are too few images, or images of too few classes, to tell.

    Args:
        path: The int8 classifier.
        model: The model that it was made of.
        pixel_values: Prepared images (num_images, 3, height, width).
    """
    with torch.no_grad():
        truth = np.concatenate([model(part).logits.numpy() for part in pixel_values.split(32)])
    logits = _run(path, {"pixel_values": pixel_values})  # (num_pictures, num_labels)
    agreement = float((logits.argmax(axis=1) == truth.argmax(axis=1)).mean())
    num_classes = len(np.unique(truth.argmax(axis=1)))
    if len(truth) < MIN_JUDGED or num_classes < min(2, model.config.num_labels):
        warnings.warn(
            f"{path.name} is judged by {len(truth)} images, of which the model predicts {num_classes} of "
            f"{model.config.num_labels} classes: too few to tell how often int8 changes a prediction. Calibrate with "
            f"{2 * MIN_JUDGED} images or more, of all classes.",
            stacklevel=3,
        )
    if agreement < MIN_AGREEMENT:
        warnings.warn(
            f"{path.name} and the model agree on {agreement:.1%} of {len(truth)} images that did not calibrate it, "
            f"below {MIN_AGREEMENT:.0%}: "
            "calibrate with pictures like those that the model is for, or use the file in float32.",
            stacklevel=3,
        )
    return ExportedFile(
        path.name, path.stat().st_size, _difference(logits, truth), agreement, (len(truth), num_classes)
    )

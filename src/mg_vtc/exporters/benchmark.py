"""Size, speed and top-1 accuracy of a model and of its ONNX files on this machine."""

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime  # type: ignore[import-untyped]
import torch
from transformers import BaseImageProcessor

from ..evaluation.class_matching import match_classes
from ..evaluation.evaluate import Evaluation, evaluate
from ..inference.loading import open_model
from ..models.modeling_mg_vtc import MgVtcForImageClassification
from ..runs.manifest import check_files
from .export import find_output_dir
from .onnx import CLASSIFIER, INT8_CLASSIFIER, draw_images
from .rounds import measure_rounds, speed_ratios, spread

TORCH = "torch"
BATCH_SIZE = 32
MIN_CALLS = 8  # single images in a round

Classify = Callable[[np.ndarray], np.ndarray]  # (batch_size, 3, height, width) -> logits (batch_size, num_labels)


class Form(NamedTuple):
    """Measurements of a model in one form.

    Attributes:
        name: "torch", or the name of an ONNX file.
        num_bytes: Size of its weights or file, in bytes.
        milliseconds: Median time of one image.
        images_per_second: Median speed in batches of `BATCH_SIZE` images.
        speed: How many times as fast as torch for one image: the median of the ratios of the rounds.
        spread: Interquartile range of these ratios, divided by their median.
        top1_accuracy: Fraction of images in 0..1; `None` without data.
    """

    name: str
    num_bytes: int
    milliseconds: float
    images_per_second: float
    speed: float
    spread: float
    top1_accuracy: float | None


def benchmark(folder: Path, data: str | None = None, *, rounds: int = 10, **reading: Any) -> list[Form]:
    """Measure a model in torch and the classifiers in its folder `onnx`, on as many threads as torch.

    The times are those of the model alone, without decoding and resizing.

    Args:
        folder: Folder of a run or model, after an export to ONNX.
        data: Labelled images for the accuracy, see `evaluate`.
        rounds: Number of rounds in which the forms take turns.
        reading: Further arguments of `evaluate`.

    Raises:
        OSError: The model or the data are not found.
        ValueError: There is no export, a file of it is damaged, or the machine is too noisy.
    """
    exported = find_output_dir(folder, "onnx")
    paths = [path for name in (CLASSIFIER, INT8_CLASSIFIER) if (path := exported / name).is_file()]
    if not paths:
        raise ValueError(f"{exported} has no {CLASSIFIER}: run `mg-vtc export {folder} --format onnx` first.")
    check_files(exported, [path.name for path in paths])
    model, processor = open_model(str(folder), torch.float32)
    forms = {TORCH: _open_torch(model)} | {path.name: _open_onnx(path) for path in paths}
    names = [model.config.id2label[index] for index in range(model.config.num_labels)]
    accuracies = {} if data is None else _score(forms, names, evaluate(folder, data, **reading), processor)
    image = draw_images(processor)[:1]  # (1, 3, height, width)
    batch = np.repeat(image, BATCH_SIZE, axis=0)
    single = measure_rounds({name: _repeat(classify, image, MIN_CALLS) for name, classify in forms.items()}, rounds)
    batches = measure_rounds({name: _repeat(classify, batch, 1) for name, classify in forms.items()}, rounds)
    sizes = {TORCH: model.get_memory_footprint()} | {path.name: path.stat().st_size for path in paths}
    return [
        Form(
            name,
            sizes[name],
            milliseconds=1000 * statistics.median(single[name]) / MIN_CALLS,
            images_per_second=BATCH_SIZE / statistics.median(batches[name]),
            speed=statistics.median(speed_ratios(single, name)),
            spread=spread(single, name),
            top1_accuracy=accuracies.get(name),
        )
        for name in forms
    ]


def _repeat(classify: Classify, pixel_values: np.ndarray, count: int) -> Callable[[], None]:
    def run() -> None:
        for _ in range(count):
            classify(pixel_values)

    return run


def _open_torch(model: MgVtcForImageClassification) -> Classify:
    def classify(pixel_values: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return model(torch.from_numpy(pixel_values)).logits.numpy()

    return classify


def _open_onnx(path: Path) -> Classify:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda pixel_values: session.run(None, {"pixel_values": pixel_values})[0]


def _score(
    forms: dict[str, Classify], names: list[str], evaluation: Evaluation, processor: BaseImageProcessor
) -> dict[str, float]:
    """Return the top-1 accuracy of each form on the images of an evaluation.

    Args:
        forms: Classifiers by name.
        names: Class names of the model, in the order of its logits.
        evaluation: Images and labels.
        processor: Image processor of the model.
    """
    _, ids = match_classes(evaluation.predictions.class_names, names)  # (num_classes,), of the model
    labels = ids[evaluation.predictions.labels]  # (num_images,)
    correct = dict.fromkeys(forms, 0)
    for start in range(0, len(labels), BATCH_SIZE):
        images = [evaluation.read_image(row) for row in range(start, min(start + BATCH_SIZE, len(labels)))]
        pixel_values = processor(images, return_tensors="np")["pixel_values"]  # (batch_size, 3, height, width)
        for name, classify in forms.items():
            found = classify(pixel_values).argmax(axis=1)  # (batch_size,)
            correct[name] += int((found == labels[start : start + BATCH_SIZE]).sum())
    return {name: count / len(labels) for name, count in correct.items()}

"""Calibration images and quantization to 8 bits."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import PIL.Image
from onnxruntime.quantization import (  # type: ignore[import-untyped]
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process  # type: ignore[import-untyped]
from transformers import BaseImageProcessor

from ..data.decoding import find_resizing, resize, to_rgb
from ..data.file_tree import find_files
from ..data.image_formats import open_image
from ..files import read_regular

MAX_CALIBRATION_IMAGES = 256  # half for calibration, half for the comparison
# Normalization and softmax stay in float: they are cheap and lose most accuracy.
QUANTIZED_OPERATORS = ["Conv", "Relu", "Add", "MaxPool", "Gemm", "MatMul"]


def read_calibration_images(folder: Path, processor: BaseImageProcessor) -> np.ndarray:
    """Load and preprocess images of a folder and its subfolders, at most `MAX_CALIBRATION_IMAGES` spread evenly.

    Args:
        folder: Folder of images; hidden files and files with other extensions are skipped.
        processor: Image processor of the model.

    Returns:
        Pixel values, float32 (num_images, 3, height, width).

    Raises:
        FileNotFoundError: The folder does not exist.
        ValueError: The folder has no images.
        OSError: An image is unreadable.
    """
    images = [processor(image, return_tensors="np")["pixel_values"] for image in _open_images(folder)]
    return np.concatenate(images)


def read_calibration_pixels(folder: Path, processor: BaseImageProcessor) -> list[np.ndarray]:
    """Load images as `read_calibration_images` does, and resize them alone.

    Returns:
        uint8 (image_size, image_size, 4) each; the fourth channel is opaque.
    """
    resizing = find_resizing(processor)
    opaque = np.full((resizing.image_size, resizing.image_size, 1), 255, dtype=np.uint8)
    return [np.concatenate([resize(image, resizing), opaque], axis=2) for image in _open_images(folder)]


def _open_images(folder: Path) -> Iterator[PIL.Image.Image]:
    """Yield RGB images of a folder; see `read_calibration_images`."""
    if not folder.is_dir():
        raise FileNotFoundError(f"No folder {folder} of calibration images.")
    suffixes = PIL.Image.registered_extensions()
    paths = [path for path in find_files(folder).files if path.suffix.lower() in suffixes]
    if not paths:
        raise ValueError(
            f"{folder} has no images: pass a folder of images from the model's domain to `calibration_data`."
        )
    spread = np.linspace(0, len(paths) - 1, min(len(paths), MAX_CALIBRATION_IMAGES)).round().astype(int)
    for path in (paths[index] for index in spread):
        try:
            with open_image(read_regular(path)) as image:
                yield to_rgb(image)
        except OSError as error:
            raise OSError(f"{path} cannot be read: {error}") from error


class _CalibrationReader(CalibrationDataReader):
    """Inputs one by one, in the interface of ONNX Runtime."""

    def __init__(self, feeds: Iterable[dict[str, np.ndarray]]) -> None:
        self._feeds = iter(feeds)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._feeds, None)


def quantize(source: Path, target: Path, feeds: Iterable[dict[str, np.ndarray]]) -> None:
    """Write an int8 graph with static quantization and per-channel weight scales.

    Args:
        source: ONNX file of the float32 graph.
        target: File to write.
        feeds: Inputs of the graph for calibration, by name.
    """
    with _preparing(source, target) as prepared:
        quantize_static(
            prepared,
            target,
            _CalibrationReader(feeds),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=QUANTIZED_OPERATORS,
            per_channel=True,
            # Signed activations are slow on x86. With unsigned activations, processors without VNNI overflow the
            # 16-bit sum of two products, which costs accuracy unless the weights have 7 bits:
            # https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            reduce_range=True,
        )


def quantize_weights(source: Path, target: Path) -> None:
    """Write a graph with 8-bit weights, which measures the value ranges of its activations when it runs.

    It needs no calibration images, and keeps the accuracy of text towers. It is slower than the graph of `quantize`.

    Args:
        source: ONNX file of the float32 graph.
        target: File to write.
    """
    with _preparing(source, target) as prepared:
        # ONNX Runtime computes convolutions with unsigned weights alone
        quantize_dynamic(prepared, target, weight_type=QuantType.QUInt8)


@contextmanager
def _preparing(source: Path, target: Path) -> Iterator[Path]:
    """Yield the path of a graph that is prepared for quantization, beside the target."""
    prepared = target.with_suffix(".prepared.onnx")
    quant_pre_process(source, prepared, skip_symbolic_shape=True)
    yield prepared
    prepared.unlink()

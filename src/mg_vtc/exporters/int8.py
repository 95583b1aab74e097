"""Int8 classifiers: pictures to calibrate with, and the quantisation itself."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import PIL.Image
from onnxruntime.quantization import (  # type: ignore[import-untyped]
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process  # type: ignore[import-untyped]
from transformers import BaseImageProcessor

from ..data.file_tree import find_files
from ..data.pixels import to_rgb

MAX_CALIBRATION_PICTURES = 256  # one half calibrates, the other judges
# What computes on int8 in ONNX Runtime; a normalisation or a softmax is cheap, and loses most
QUANTIZED_OPERATORS = ["Conv", "Relu", "Add", "MaxPool", "Gemm", "MatMul"]


def read_calibration_pictures(folder: Path, processor: BaseImageProcessor) -> np.ndarray:
    """Prepare pictures of a folder, nested or not: all or, of more, `MAX_CALIBRATION_PICTURES` spread evenly.

    Args:
        folder: Files that are no pictures by their names, and hidden ones, are passed over.
        processor: The model's own.

    Returns:
        float32 (num_pictures, 3, height, width).

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: It holds no pictures.
        OSError: A picture is unreadable.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder} of pictures to calibrate with.")
    suffixes = PIL.Image.registered_extensions()
    paths = [path for path in find_files(folder).files if path.suffix.lower() in suffixes]
    if not paths:
        raise ValueError(f"{folder} holds no pictures: --calibration takes a folder of some that the model is for.")
    spread = np.linspace(0, len(paths) - 1, min(len(paths), MAX_CALIBRATION_PICTURES)).round().astype(int)
    pixel_values = []
    for path in (paths[index] for index in spread):
        with PIL.Image.open(path) as image:
            pixel_values.append(processor(to_rgb(image), return_tensors="np")["pixel_values"])  # (1, 3, h, w)
    return np.concatenate(pixel_values)


class _PictureReader(CalibrationDataReader):
    """Gives the pictures one by one, as the calibration asks for them."""

    def __init__(self, pixel_values: np.ndarray) -> None:
        self._pictures: Iterator[np.ndarray] = iter(pixel_values[:, None])  # each (1, 3, height, width)

    def get_next(self) -> dict[str, np.ndarray] | None:
        picture = next(self._pictures, None)
        return None if picture is None else {"pixel_values": picture}


def quantize_classifier(source: Path, target: Path, pixel_values: np.ndarray) -> None:
    """Write a classifier whose convolutions and products compute on int8: static, a scale a channel of the weights.

    Args:
        source: The ONNX file of the classifier in float32.
        target: Where to write the other.
        pixel_values: Prepared pictures whose ranges are taken, (num_pictures, 3, height, width).
    """
    prepared = target.with_suffix(".prepared.onnx")
    quant_pre_process(source, prepared, skip_symbolic_shape=True)
    quantize_static(
        prepared,
        target,
        _PictureReader(pixel_values),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=QUANTIZED_OPERATORS,
        per_channel=True,
        # Signed activations are slow on x86. Unsigned ones times signed weights overflow the 16 bits in which
        # processors without VNNI add two products, which costs scores, unless the weights have 7 bits:
        # https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        reduce_range=True,
    )
    prepared.unlink()

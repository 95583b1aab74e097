"""`mg_vtc.export`: a model in another format, from a folder, from the Hub or from memory."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from transformers import AutoProcessor

from ..inference.loading import Model, find_source
from ..models.modeling_mg_vtc import MgVtcModel


def export(
    model: Model,
    format: Literal["onnx", "classifier"] = "onnx",
    output_dir: str | Path | None = None,
    *,
    int8: bool = False,
    calibration: str | Path | None = None,
    overwrite: bool = False,
    processor: Any = None,
) -> Path:
    """Write a model as ONNX files, or as a classifier without its text tower. Outputs are compared with the model's.

    Args:
        model: Folder or Hub id of a model of this package, or a loaded one.
        format: "onnx" for the classifier and both encoders, "classifier" for a model folder without the text tower.
        output_dir: Folder to write to; by default `model/onnx` or `model-classifier`, beside a folder.
        int8: With "onnx": whether to write the classifier in 8 bits, too.
        calibration: With "onnx": folder of images to compare on, and to take the ranges of `int8` from.
        overwrite: Whether files of an earlier export may be replaced.
        processor: Processor of a loaded model; by default that of the folder or repository it came from.

    Returns:
        The folder.

    Raises:
        OSError: There is no such model within reach, or an image is unreadable.
        ValueError: A setting does not go with the format, files would be lost, `output_dir` is missing, or a file
            does not answer as the model does.
    """
    if format not in ("onnx", "classifier"):
        raise ValueError(f"format must be 'onnx' or 'classifier', got {format!r}.")
    if format == "classifier" and (int8 or calibration is not None):
        raise ValueError("int8 and calibration go with format 'onnx': leave them out.")
    folder = find_output_dir(model, format) if output_dir is None else Path(output_dir)
    with _as_folder(model, processor) as source:
        if format == "onnx":
            from .onnx import export_onnx  # needs the extra "onnx"

            pictures = None if calibration is None else Path(calibration)
            export_onnx(source, folder, int8=int8, calibration=pictures, overwrite=overwrite)
        else:
            from .classifier import export_classifier

            export_classifier(source, folder, overwrite=overwrite)
    return folder


def find_output_dir(model: Model, format: str) -> Path:
    """Return where an export goes by default.

    Raises:
        ValueError: The model is in no folder, beside which it could be.
    """
    if isinstance(model, MgVtcModel) or not Path(model).is_dir():
        raise ValueError(f"{'The model' if isinstance(model, MgVtcModel) else model} is no folder: give output_dir.")
    return Path(model) / "onnx" if format == "onnx" else Path(f"{Path(model).resolve()}-classifier")


@contextmanager
def _as_folder(model: Model, processor: Any) -> Iterator[str]:
    """Yield the folder or Hub id of a model; one in memory is saved for as long as the block takes."""
    if not isinstance(model, MgVtcModel):
        yield str(model)
        return
    processor = AutoProcessor.from_pretrained(find_source(model)) if processor is None else processor
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        processor.save_pretrained(folder)
        getattr(processor, "image_processor", processor).save_pretrained(folder)
        yield folder

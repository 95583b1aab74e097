"""Export of a model from a folder, the Hub or memory to another format."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from transformers import AutoProcessor

from ..inference.loading import Model, find_source
from ..models.modeling_mg_vtc import MgVtcModel


def export(
    model: Model,
    format: Literal["onnx", "web", "classifier"] = "onnx",
    output_dir: str | Path | None = None,
    *,
    int8: bool = False,
    calibration_data: str | Path | None = None,
    overwrite: bool = False,
    processor: Any = None,
) -> Path:
    """Export a model to ONNX files, a web page or a classifier without the text tower, and verify the outputs.

    Args:
        model: Folder or Hub id of a model of this package, or a loaded one.
        format: "onnx" for the classifier and both encoders, "web" for a page that runs the model in the browser,
            "classifier" for a model folder without the text tower.
        output_dir: Folder to write to; for a model folder, by default its subfolder `onnx` or the sibling
            `<folder>-web` or `<folder>-classifier`.
        int8: With "onnx", whether to also write an int8 classifier; with "web", whether the page runs in int8.
        calibration_data: With "onnx" and "web", folder of images for the comparison of outputs and the value ranges
            of `int8`.
        overwrite: Whether files of an earlier export may be replaced.
        processor: Processor of a loaded model; by default the one in the folder or repository the model came from.

    Returns:
        Folder of the export.

    Raises:
        OSError: The model is not found, or an image is unreadable.
        ValueError: A setting does not fit the format, files would be overwritten, `output_dir` is missing, or the
            outputs of a file differ from the model's.
    """
    if format not in ("onnx", "web", "classifier"):
        raise ValueError(f"format must be 'onnx', 'web' or 'classifier', got {format!r}.")
    if format == "classifier" and (int8 or calibration_data is not None):
        raise ValueError("`int8` and `calibration_data` require `format='onnx'` or 'web': omit them.")
    folder = find_output_dir(model, format) if output_dir is None else Path(output_dir)
    with _as_folder(model, processor) as source:
        if format == "classifier":
            from .classifier import export_classifier

            export_classifier(source, folder, overwrite=overwrite)
        else:
            images = None if calibration_data is None else Path(calibration_data)
            find_writer(format)(source, folder, int8=int8, calibration_data=images, overwrite=overwrite)
    return folder


def find_writer(format: str) -> Callable[..., Any]:
    """Return the function that writes a format of ONNX graphs; both need the extra "onnx"."""
    if format == "onnx":
        from .onnx import export_onnx

        return export_onnx
    from .web import export_web

    return export_web


def find_output_dir(model: Model, format: str) -> Path:
    """Return the default output folder of an export.

    Raises:
        ValueError: The model is not a local folder.
    """
    if isinstance(model, MgVtcModel) or not Path(model).is_dir():
        raise ValueError(
            f"{'The model' if isinstance(model, MgVtcModel) else model} is not a folder: pass output_dir."
        )
    return Path(model) / "onnx" if format == "onnx" else Path(f"{Path(model).resolve()}-{format}")


@contextmanager
def _as_folder(model: Model, processor: Any) -> Iterator[str]:
    """Yield the folder or Hub id of a model; save a model in memory to a temporary folder."""
    if not isinstance(model, MgVtcModel):
        yield str(model)
        return
    processor = AutoProcessor.from_pretrained(find_source(model)) if processor is None else processor
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        processor.save_pretrained(folder)
        getattr(processor, "image_processor", processor).save_pretrained(folder)
        yield folder

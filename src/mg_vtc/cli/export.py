"""`mg-vtc export`: write a model in another format."""

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..exporters.onnx import ExportedFile


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "export",
        help="write a model as ONNX files, as a web page, or without its text tower",
        description="Write a model in another format. Files are written only if they match the model.",
        allow_abbrev=False,
    )
    parser.add_argument("model", metavar="MODEL", help="folder of a run, or Hub id")
    parser.add_argument(
        "--format",
        required=True,
        choices=("onnx", "web", "classifier"),
        help="onnx: the classifier and, for names of your own, the two encoders; web: a page that runs the model in "
        "the browser; classifier: a model folder without the text tower",
    )
    parser.add_argument(
        "--output_dir", type=Path, metavar="FOLDER", help="by default MODEL/onnx, MODEL-web or MODEL-classifier"
    )
    parser.add_argument(
        "--int8",
        action="store_true",
        help="with onnx: write the classifier in 8 bits, too; with web: run it in 8 bits",
    )
    parser.add_argument(
        "--calibration_data",
        type=Path,
        metavar="FOLDER",
        help="with onnx and web: folder of images to compare on and to calibrate --int8 with",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace what an earlier export wrote")
    parser.set_defaults(run=_export)


def _export(options: argparse.Namespace) -> None:
    if options.format == "classifier" and (options.int8 or options.calibration_data):
        raise ValueError("--int8 and --calibration_data go with --format onnx or web.")
    if options.output_dir is None and not Path(options.model).is_dir():
        raise ValueError(f"There is no folder {options.model}: for a Hub id, give --output_dir.")

    from transformers.utils import logging

    logging.disable_progress_bar()  # of loading weights
    (_export_classifier if options.format == "classifier" else _export_graphs)(options)


def _export_graphs(options: argparse.Namespace) -> None:
    from ..exporters.export import find_output_dir, find_writer

    folder = options.output_dir or find_output_dir(options.model, options.format)
    files = find_writer(options.format)(
        options.model,
        folder,
        int8=options.int8,
        calibration_data=options.calibration_data,
        overwrite=options.overwrite,
    )
    num_bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{folder} ({num_bytes / 1e6:.1f} MB)" if options.format == "web" else folder)
    _print_files(files)
    if options.format == "web":
        print(f"Try it: python -m http.server --bind 127.0.0.1 --directory {shlex.quote(str(folder))}")
        print("Then open http://127.0.0.1:8000. Any static server can serve the folder.")


def _print_files(files: "list[ExportedFile]") -> None:
    print(f"{'file':22}{'MB':>8}  largest difference to the model, relative to its largest output")
    for file in files:
        difference = "" if file.difference is None else f"{file.difference:.1e}"
        agreement = ""
        if file.agreement is not None and file.judged_on is not None:
            num_images, num_classes = file.judged_on
            agreement = (
                f"; the best class is the same for {file.agreement:.1%} of {num_images} images outside of the "
                f"calibration ({num_classes} classes)"
            )
        print(f"{file.name:22}{file.num_bytes / 1e6:8.1f}  {difference}{agreement}")


def _export_classifier(options: argparse.Namespace) -> None:
    from ..exporters.classifier import export_classifier
    from ..exporters.export import find_output_dir

    folder = options.output_dir or find_output_dir(options.model, "classifier")
    before, after = export_classifier(options.model, folder, overwrite=options.overwrite)
    print(f"{folder}\nweights: {before / 1e6:.1f} MB before, {after / 1e6:.1f} MB now")

"""The `mg-vtc` command: what to do with a trained model. One function a verb; what a verb needs is imported in it."""

import argparse
import importlib
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

EXTRA_OF = dict.fromkeys(("onnx", "onnx_ir", "onnxruntime", "onnxscript"), "onnx") | dict.fromkeys(
    ("matplotlib", "sklearn"), "report"
)  # module: extra that brings it


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command.

    Raises:
        SystemExit: It is done, or the user's input is at fault, which is then told in one line.
    """
    options = _build_parser().parse_args(arguments)
    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"
    try:
        options.run(options)
    except ModuleNotFoundError as error:
        if error.name not in EXTRA_OF:
            raise
        _stop(f'{error.name} is not installed: pip install "mg-vtc[{EXTRA_OF[error.name]}]"')
    except (ValueError, OSError) as error:
        _stop(str(error))


def _stop(message: str) -> None:
    sys.exit(f"mg-vtc: {' '.join(message.split())}")


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mg-vtc", description="Use a model of micro-gestures that train.py has trained.", allow_abbrev=False
    )
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    _add_export(verbs)
    _add_evaluate(verbs)
    return parser


def _add_export(verbs: Any) -> None:
    parser = verbs.add_parser(
        "export",
        help="write a model as ONNX files, or without its text tower",
        description="Write a model in a smaller or faster form. Nothing appears unless it answers as the model does.",
        allow_abbrev=False,
    )
    parser.add_argument("model", metavar="MODEL", help="folder of a run, or Hub id")
    parser.add_argument(
        "--to",
        required=True,
        choices=("onnx", "classifier"),
        help="onnx: the classifier and, for names of your own, the two encoders; "
        "classifier: a model folder without the text tower",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="where to write; by default MODEL/onnx or MODEL-classifier"
    )
    parser.add_argument("--int8", action="store_true", help="with onnx: the classifier in 8 bits too")
    parser.add_argument(
        "--calibration",
        type=Path,
        metavar="FOLDER",
        help="with onnx: pictures to compare on, and to take the ranges of --int8 from",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace what an earlier export wrote")
    parser.set_defaults(run=_export)


def _export(options: argparse.Namespace) -> None:
    if options.to == "classifier" and (options.int8 or options.calibration):
        raise ValueError("--int8 and --calibration go with --to onnx.")
    if options.out is None and not Path(options.model).is_dir():
        raise ValueError(f"There is no folder {options.model}: for a Hub id, say with --out where to write.")

    from transformers.utils import logging

    logging.disable_progress_bar()  # of loading weights
    {"onnx": _export_onnx, "classifier": _export_classifier}[options.to](options)


def _export_onnx(options: argparse.Namespace) -> None:
    from .inference.export_onnx import export_onnx

    folder = options.out or Path(options.model) / "onnx"
    files = export_onnx(
        options.model, folder, int8=options.int8, calibration=options.calibration, overwrite=options.overwrite
    )
    print(f"{folder}\n{'file':22}{'MB':>8}  largest difference to the model, of its largest answer")
    for file in files:
        difference = "" if file.difference is None else f"{file.difference:.1e}"
        agreement = "" if file.agreement is None else f"; the best class is the same for {file.agreement:.1%}"
        print(f"{file.name:22}{file.num_bytes / 1e6:8.1f}  {difference}{agreement}")


def _export_classifier(options: argparse.Namespace) -> None:
    from .inference.export_classifier import export_classifier

    folder = options.out or Path(f"{Path(options.model).resolve()}-classifier")
    before, after = export_classifier(options.model, folder, overwrite=options.overwrite)
    print(f"{folder}\nweights: {before / 1e6:.1f} MB before, {after / 1e6:.1f} MB now")


def _add_evaluate(verbs: Any) -> None:
    parser = verbs.add_parser(
        "evaluate",
        help="score a model on labelled pictures and write a report",
        description="Score a model on labelled pictures, with intervals, and beside constant answers. The pictures "
        "that a run was trained on are scored only if they are asked for.",
        allow_abbrev=False,
    )
    parser.add_argument("model", metavar="MODEL", help="folder of a run, or Hub id")
    parser.add_argument(
        "data", metavar="DATA", help="folder of class folders or of Parquet files, Hub data set, or the word demo"
    )
    parser.add_argument(
        "--part",
        choices=("train", "validation", "test", "all"),
        help="by default the test pictures where there are any, else the run's own validation pictures where it had "
        "these data, else the data's validation pictures, else all",
    )
    parser.add_argument("--dataset_config_name", help="configuration of a Hub data set")
    parser.add_argument("--skip_bad_images", action="store_true", help="leave out files that can not be read")
    parser.add_argument("--labels_file", help='CSV id,name that names the class folders, or "imigue" or "smg"')
    parser.add_argument("--image_column_name", default="image", help="column of the pictures in a Hub data set")
    parser.add_argument("--label_column_name", default="label", help="column of the classes in a Hub data set")
    parser.add_argument(
        "--clip_column_name", help="column of the clips in it, or in a metadata file; by default that of the run"
    )
    parser.add_argument(
        "--zero_shot", action="store_true", help="compare with the data's own class names, whatever they are"
    )
    parser.add_argument("--prompt_template", help="with --zero_shot: text of a class, with {} for its name")
    parser.add_argument("--batch_size", type=int, default=32, help="pictures at a time")
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="where to write; by default MODEL/report, for a Hub id ./report"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier report")
    parser.set_defaults(run=_evaluate)


def _evaluate(options: argparse.Namespace) -> None:
    for module in ("matplotlib", "sklearn"):  # which draw the report: missed before the work, not after it
        importlib.import_module(module)
    from datasets import disable_progress_bars
    from transformers.utils import logging

    from .evaluation.evaluate_model import check_report_folder, evaluate_model, write_evaluation
    from .evaluation.summary import summarize

    folder = options.out or (Path(options.model) if Path(options.model).is_dir() else Path()) / "report"
    check_report_folder(options.model, folder, overwrite=options.overwrite)
    logging.disable_progress_bar()  # of loading weights
    disable_progress_bars()
    evaluation = evaluate_model(
        options.model,
        options.data,
        part=options.part,
        config_name=options.dataset_config_name,
        labels_file=options.labels_file,
        skip_bad_images=options.skip_bad_images,
        image_column=options.image_column_name,
        label_column=options.label_column_name,
        clip_column=options.clip_column_name,
        zero_shot=options.zero_shot,
        prompt_template=options.prompt_template,
        batch_size=options.batch_size,
    )
    print(summarize(evaluation.results), flush=True)
    print(f"\n{write_evaluation(evaluation, folder, overwrite=options.overwrite)}")


if __name__ == "__main__":
    main()

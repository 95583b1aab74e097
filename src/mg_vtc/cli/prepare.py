"""`mg-vtc prepare`: make a data set of labelled videos."""

import argparse
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..messages import escape

if TYPE_CHECKING:
    from ..data.releases.prepare import Preparation

NUM_LISTED = 20  # errors that are listed; others are counted


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "prepare",
        help="make a data set of iMiGUE, SMG, Micro-Action-52 or cut clips",
        description="Read frames of labelled videos, or copy the images of the image-level set of iMiGUE, into a data "
        "set for mg-vtc train and load_dataset. Repeat an interrupted command to resume it.",
        allow_abbrev=False,
    )
    kinds = parser.add_subparsers(title="data", metavar="DATA", required=True)
    crop = "CSV video,x,y,w,h: box to crop, in pixels"
    for data, title, crops in (
        ("imigue", "iMiGUE, in any of its layouts", f"{crop}; or skeleton: the person, by the OpenPose skeletons"),
        ("smg", "SMG", crop),
    ):
        _add_segment_flags(_add_kind(kinds, data, title, "folder of the release, whose layout is detected"), crops)
    ma52 = _add_kind(kinds, "ma52", "Micro-Action-52", "folder of the release")
    clips = _add_kind(kinds, "clips", "cut clips of any data set, in class folders or a list", "folder of the clips")
    _add_split_flag(ma52)
    _add_clip_flags(clips)
    _add_split_flag(clips)


def _add_kind(kinds: Any, data: str, title: str, source: str) -> argparse.ArgumentParser:
    """Add the parser of a kind of data, with the arguments that all kinds have."""
    parser: argparse.ArgumentParser = kinds.add_parser(
        data, help=title, description=f"Prepare {title}.", allow_abbrev=False
    )
    parser.add_argument("src", metavar="SRC", type=Path, help=source)
    parser.add_argument("output_dir", metavar="OUTPUT_DIR", type=Path, help="output folder, or one to resume")
    parser.add_argument(
        "--format",
        default="imagefolder",
        choices=("imagefolder", "parquet", "webdataset"),
        help="imagefolder: JPEG files in class folders, with metadata.parquet; parquet, webdataset: shards with the "
        "images in them",
    )
    parser.add_argument(
        "--frames_per_clip",
        type=int,
        metavar="K",
        help="number of evenly spaced frames of each clip; by default 8 of a video or its segment, or all images",
    )
    parser.add_argument("--num_workers", type=int, default=1, metavar="N", help="number of processes that read videos")
    parser.set_defaults(run=_prepare, data=data)
    return parser


def _add_segment_flags(parser: argparse.ArgumentParser, crops: str) -> None:
    non_mg = parser.add_mutually_exclusive_group()
    non_mg.add_argument(
        "--keep_non_mg",
        action="store_true",
        default=True,
        help="keep the class of other gestures (32 or 99 of iMiGUE, 16 of SMG); the default",
    )
    non_mg.add_argument("--drop_non_mg", action="store_false", dest="keep_non_mg", help="leave this class out")
    parser.add_argument("--crop", type=Path, metavar="CSV", help=crops)
    parser.add_argument(
        "--first_frame",
        type=int,
        choices=(0, 1),
        default=1,
        help="number of the first frame in the label files; by default 1",
    )


def _add_split_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--split_by",
        choices=("subject",),
        help="divide the training and validation clips anew, so that nobody is in both; by default, the given splits "
        "are kept",
    )


def _add_clip_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--list_file",
        type=Path,
        metavar="FILE",
        help="list of the clips: lines 'name label', or a CSV with name,label and optionally split,subject,video; by "
        "default, the clips are in <split>/<class>/ or <class>/",
    )
    parser.add_argument(
        "--labels_file",
        metavar="CSV",
        help="CSV id,name or id,name,group, or imigue, smg or ma52: names of the classes; by default SRC/labels.csv "
        "if it exists, else the labels themselves",
    )
    parser.add_argument(
        "--name_pattern",
        metavar="REGEX",
        help="regular expression of the names without suffix, whose groups (?P<subject>...) and (?P<video>...) become "
        "columns",
    )


def _prepare(options: argparse.Namespace) -> None:
    from ..data.releases.clips import prepare_clips
    from ..data.releases.imigue import prepare_imigue
    from ..data.releases.ma52 import prepare_ma52
    from ..data.releases.smg import prepare_smg

    prepare: dict[str, Callable[..., Preparation]] = {
        "imigue": prepare_imigue,
        "smg": prepare_smg,
        "ma52": prepare_ma52,
        "clips": prepare_clips,
    }
    arguments = {name: value for name, value in vars(options).items() if name not in ("run", "data")}
    preparation = prepare[options.data](**arguments)
    _print_summary(preparation)
    if preparation.errors:
        sys.exit(1)


def _print_summary(preparation: "Preparation") -> None:
    print(escape(f"{preparation.folder}: {preparation.layout} layout"))
    print(f"{'split':12}{'shards':>8}{'clips':>8}{'images':>10}{'classes':>9}")
    for count in preparation.splits:
        print(f"{count.split:12}{count.shards:8}{count.clips:8}{count.images:10}{count.classes:9}")
    for title, lines in (
        ("left out", [f"{count} {reason}" for reason, count in preparation.left_out.items()]),
        ("not as labelled", preparation.notes),
        ("NOT PREPARED", preparation.errors),
    ):
        if lines:
            print(f"{title}:", *(escape(f"  {line}") for line in lines[:NUM_LISTED]), sep="\n")
        if len(lines) > NUM_LISTED:
            print(f"  and {len(lines) - NUM_LISTED} more")
    if preparation.errors:
        print("Repair these and repeat the command: finished shards are kept.")
    splits = [count.split for count in preparation.splits if count.images]
    if "train" not in splits:
        return
    if preparation.choices.format == "webdataset" and "validation" not in splits:
        print(
            "This release names no validation split, which a stream needs: prepare it --format imagefolder or parquet."
        )
    else:
        print(escape(f"to train: {_find_train_command(preparation)}"))


def _find_train_command(preparation: "Preparation") -> str:
    folder = str(preparation.folder)
    data = {
        "imagefolder": ["--train_dir", folder],
        "parquet": ["--dataset_name", folder],
        "webdataset": [
            *("--dataset_name", folder, "--labels_file", str(preparation.folder / "labels.csv")),
            *("--streaming", "true", "--max_steps", "10000", "--eval_strategy", "steps"),
            *("--save_strategy", "steps"),
        ],
    }[preparation.choices.format]
    command = ["mg-vtc", "train", "recommended", *data]
    return shlex.join([*command, "--output_dir", f"runs/{preparation.folder.name}"])

"""`mg-vtc push-space`: create a Space for a model of the Hub."""

import argparse
from pathlib import Path
from typing import Any


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "push-space",
        help="create a Space to try a model of the Hub",
        description="Create a Space for a model of the Hub, so run mg-vtc push first. By default it is static: it is "
        "free, holds the model, and runs it in the browser of the visitor.",
        allow_abbrev=False,
    )
    parser.add_argument("model", metavar="MODEL_ID", help="repository of the model, such as org/mg-vtc")
    parser.add_argument(
        "space", metavar="SPACE_ID", help="repository of the Space, such as org/mg-vtc-space, created if missing"
    )
    parser.add_argument(
        "--sdk",
        choices=("static", "gradio"),
        default="static",
        help="static: run the model in the browser (default); gradio: run the page of mg-vtc app on the Hub. For a "
        "private model, gradio needs a token in the Space's secret HF_TOKEN",
    )
    parser.add_argument(
        "--int8", action="store_true", help="with static: run the model in 8 bits, a quarter of the size"
    )
    parser.add_argument(
        "--calibration_data",
        type=Path,
        metavar="FOLDER",
        help="with static: folder of images to calibrate --int8 with; they are not uploaded",
    )
    parser.add_argument(
        "--private",
        action="store_true",
        default=None,
        help="create a private Space; an existing public one is refused",
    )
    parser.set_defaults(run=_push)


def _push(options: argparse.Namespace) -> None:
    from ..hub.space import push_space

    page = push_space(
        options.model,
        options.space,
        sdk=options.sdk,
        private=options.private,
        int8=options.int8,
        calibration_data=options.calibration_data,
    )
    print(page)
    print(f"To link the card of the model to it: mg-vtc push RUN {options.model} --space_id {options.space}")

"""`mg-vtc push-space`: create a Space for a model of the Hub."""

import argparse
from typing import Any


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "push-space",
        help="create a Space to try a model of the Hub",
        description="Create a Space with the page of mg-vtc app. It reads its model from the Hub, so run mg-vtc push "
        "first. For a private model, set a token in the Space's secret HF_TOKEN.",
        allow_abbrev=False,
    )
    parser.add_argument("model", metavar="MODEL_ID", help="repository of the model, such as org/mg-vtc")
    parser.add_argument(
        "space", metavar="SPACE_ID", help="repository of the Space, such as org/mg-vtc-space, created if missing"
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

    print(push_space(options.model, options.space, private=options.private))

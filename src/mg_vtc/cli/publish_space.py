"""`mg-vtc publish-space`: create a Space for a model of the Hub."""

import argparse
from typing import Any


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "publish-space",
        help="create a Space to try a model of the Hub",
        description="Create a Space with the page of demo-app. It reads its model from the Hub, so run mg-vtc publish "
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
    parser.set_defaults(run=_publish)


def _publish(options: argparse.Namespace) -> None:
    from ..hub.publish_space import publish_space

    print(publish_space(options.model, options.space, private=options.private))

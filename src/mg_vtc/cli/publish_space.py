"""`mg-vtc publish-space`: a Space of the Hub on which a model of the Hub is tried."""

import argparse
from typing import Any


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "publish-space",
        help="make a Space of the Hub, on which a model is tried that publish has put there",
        description="Publish the page of demo-app as a Space of the Hub. The Space reads its model from the Hub, so "
        "mg-vtc publish comes first; a private model is read with a token in the Space's secret HF_TOKEN.",
        allow_abbrev=False,
    )
    parser.add_argument("model", metavar="MODEL_ID", help="the model's repository, such as org/mg-vtc")
    parser.add_argument("space", metavar="SPACE_ID", help="the Space's, such as org/mg-vtc-space; made if need be")
    parser.add_argument(
        "--private",
        action="store_true",
        default=None,
        help="make a private Space; one that is there and public is refused",
    )
    parser.set_defaults(run=_publish)


def _publish(options: argparse.Namespace) -> None:
    from ..hub.publish_space import publish_space

    print(publish_space(options.model, options.space, private=options.private))

"""`mg-vtc push`: push a trained model to the Hub."""

import argparse
from pathlib import Path
from typing import Any


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "push",
        help="push the model of a run to the Hub, with its card and the code of an endpoint",
        description="Push the model of a finished run to the Hub in one commit: weights, configuration, processor, "
        "code, card and the handler of an endpoint, but no checkpoint and no image of the data. Then create an "
        "endpoint on the page of the model (Deploy), or a Space with mg-vtc push-space.",
        allow_abbrev=False,
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="folder of a run")
    parser.add_argument(
        "repo_id",
        metavar="REPO",
        nargs="?",
        help="repository, such as org/mg-vtc, created if missing; optional with --dry_run",
    )
    parser.add_argument(
        "--private", action="store_true", help="create a private repository; an existing public one is refused"
    )
    parser.add_argument("--revision", metavar="BRANCH", help="branch, created if missing; by default main")
    parser.add_argument("--commit_message", help="commit message")
    parser.add_argument(
        "--onnx", action="store_true", help="also push the model as ONNX files, which transformers.js opens"
    )
    parser.add_argument("--space_id", metavar="SPACE_ID", help="link the card to this Space, such as org/mg-vtc-space")
    parser.add_argument(
        "--dry_run",
        type=Path,
        metavar="FOLDER",
        help="write the files into this new or empty folder instead of uploading them",
    )
    parser.set_defaults(run=_push)


def _push(options: argparse.Namespace) -> None:
    from transformers.utils import logging

    from ..hub.push import push_to_hub

    logging.disable_progress_bar()  # of loading weights

    if options.dry_run is not None:
        return _write(options)
    if options.repo_id is None:
        raise ValueError("Give a repository, such as org/mg-vtc, or a folder with --dry_run.")
    page = push_to_hub(
        options.model,
        options.repo_id,
        private=options.private or None,
        revision=options.revision,
        commit_message=options.commit_message,
        onnx=options.onnx,
        space_id=options.space_id,
    )
    print(page)
    if options.revision is None:  # a Space reads the main branch
        space = f"mg-vtc push-space {options.repo_id} {options.space_id or f'{options.repo_id}-space'}"
        print(f"Next: an endpoint, by Deploy > Inference Endpoints on that page; a Space, by {space}")


def _write(options: argparse.Namespace) -> None:
    from ..hub.push import write_upload

    pushed = [name for name in ("private", "revision", "commit_message") if getattr(options, name)]
    if pushed:
        raise ValueError(f"--{' and --'.join(pushed)} cannot be combined with --dry_run, which uploads nothing.")
    names = write_upload(options.model, options.dry_run, options.repo_id, onnx=options.onnx, space_id=options.space_id)
    print(f"{options.dry_run}: {len(names)} files, as they would be uploaded. Nothing was sent.")

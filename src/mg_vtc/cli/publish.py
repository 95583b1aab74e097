"""`mg-vtc publish`: a trained model on the Hub."""

import argparse
from pathlib import Path
from typing import Any


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "publish",
        help="put the model of a run on the Hub: its page, and what an endpoint needs",
        description="Upload the model of a finished run to the Hub, in one commit: weights, configuration, processor, "
        "code, card and what an endpoint needs. No checkpoint goes with it, and no picture of the data. An endpoint "
        "is then made on the model's page (Deploy), and a Space by mg-vtc publish-space.",
        allow_abbrev=False,
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="folder of a run")
    parser.add_argument(
        "repo_id",
        metavar="REPO",
        nargs="?",
        help="repository, such as org/mg-vtc; made where there is none; with --dry_run it may be left out",
    )
    parser.add_argument(
        "--private", action="store_true", help="make a private repository; one that is there and public is refused"
    )
    parser.add_argument("--revision", metavar="BRANCH", help="branch, made where there is none; by default main")
    parser.add_argument("--commit_message", help="message of the commit")
    parser.add_argument(
        "--dry_run",
        type=Path,
        metavar="FOLDER",
        help="write what would be uploaded into this folder, new or empty, and upload nothing",
    )
    parser.set_defaults(run=_publish)


def _publish(options: argparse.Namespace) -> None:
    from ..hub.publish import push_to_hub

    if options.dry_run is not None:
        return _write(options)
    if options.repo_id is None:
        raise ValueError("Name the repository to publish to, such as org/mg-vtc, or a folder with --dry_run.")
    page = push_to_hub(
        options.model,
        options.repo_id,
        private=options.private or None,
        revision=options.revision,
        commit_message=options.commit_message,
    )
    print(page)
    if options.revision is None:  # a Space reads the main branch
        space = f"mg-vtc publish-space {options.repo_id} {options.repo_id}-space"
        print(f"Next: an endpoint, by Deploy > Inference Endpoints on that page; a Space, by {space}")


def _write(options: argparse.Namespace) -> None:
    from ..hub.publish import write_upload

    pushed = [name for name in ("private", "revision", "commit_message") if getattr(options, name)]
    if pushed:
        raise ValueError(f"--{' and --'.join(pushed)} would do nothing with --dry_run, which uploads nothing.")
    names = write_upload(options.model, options.dry_run, options.repo_id)
    print(f"{options.dry_run}: {len(names)} files, as they would be uploaded. Nothing was sent.")

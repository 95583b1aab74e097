"""Publish a Space that shows a model: one commit of the page, its card, and the package that it is written in."""

import shlex
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, SpaceCard

from ..data.labels import shorten
from ..inference.loading import read_config
from .publish import explaining, prepare_repo
from .upload import check_private

PACKAGE = Path(__file__).parents[1]
APP, CARD, REQUIREMENTS = "app.py", "README.md", "requirements.txt"
OURS = f"{PACKAGE.name}/space/page.py"  # in every Space of ours, and in no other
NEW = {".gitattributes", CARD}  # what a Space has before anybody wrote an app


def publish_space(model_id: str, space_id: str, *, private: bool | None = None) -> str:
    """Publish a Space on which a model of the Hub is tried; a Space of ours that is there is brought up to date.

    It runs on the hardware that the Hub gives it by default, and reads the model from its repository when it starts, a
    private one with a token in the Space's secret `HF_TOKEN`.

    Args:
        model_id: Repository of a model of this package, such as "org/mg-vtc".
        space_id: Repository of the Space, such as "org/mg-vtc-space"; made where there is none.
        private: Whether the Space is private when it is made; by default what is the default of its owner.

    Returns:
        Address of the Space.

    Raises:
        ValueError: The model is a folder of this machine or one of another kind, or the Space has files of its own.
        OSError: There is no such model within reach, no token, or the Hub refuses it.
    """
    if Path(model_id).exists():
        raise ValueError(
            f"{model_id} is a folder of this machine, which a Space can not read: publish it first, with "
            f"`{shlex.join(['mg-vtc', 'publish', model_id, 'org/name'])}`."
        )
    read_config(model_id)
    files = collect_space(model_id)
    page = prepare_repo(space_id, private=private, space_sdk="gradio")
    api = HfApi()
    with explaining(space_id, again=f"mg-vtc publish-space {model_id} {space_id}"):
        present = api.list_repo_files(space_id, repo_type="space")
        if OURS not in present and (own := sorted(set(present) - NEW)):
            raise ValueError(
                f"{space_id} has files of its own ({shorten(own)}), so it is left alone: choose another name."
            )
        stale = [name for name in present if name.startswith(f"{PACKAGE.name}/") and name not in files]
        api.create_commit(
            space_id,
            [
                *(CommitOperationAdd(name, content) for name, content in files.items()),
                *(CommitOperationDelete(name) for name in stale),
            ],
            commit_message=f"Show {model_id}",
            repo_type="space",
        )
    return page


def collect_space(model_id: str) -> dict[str, bytes]:
    """Say which files a Space gets, and what is in them.

    Args:
        model_id: Repository of the model, which the card then names. The page reads it there.

    Returns:
        By name in the Space, the content: card, app and requirements at its root, and the modules of the package
        beside them.

    Raises:
        ValueError: A file gives away a token or a folder of this machine.
    """
    card = SpaceCard.load(PACKAGE / "space" / CARD)
    card.data["models"] = [model_id]
    root = {name: (PACKAGE / "space" / name).read_bytes() for name in (APP, REQUIREMENTS)}
    package = {
        f"{PACKAGE.name}/{path.relative_to(PACKAGE).as_posix()}": path.read_bytes()
        for path in sorted(PACKAGE.rglob("*.py"))
    }
    files = {CARD: str(card).encode(), **root, **package}
    for name, content in files.items():
        check_private(name, content, PACKAGE)
    return files

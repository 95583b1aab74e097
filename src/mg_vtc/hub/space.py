"""Push of a demo Space for a model: the page, its card and this package in one commit."""

import shlex
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, SpaceCard

from ..data.labels import shorten
from ..inference.loading import read_config
from .push import explaining, prepare_repo
from .upload import check_private, list_requirements

PACKAGE = Path(__file__).parents[1]
APP, CARD, REQUIREMENTS = "app.py", "README.md", "requirements.txt"
OURS = f"{PACKAGE.name}/app/page.py"  # identifies the Spaces of this package
NEW = {".gitattributes", CARD}  # files of a new Space


def push_space(model_id: str, space_id: str, *, private: bool | None = None) -> str:
    """Push a Space with a demo of a model on the Hub, or update an existing Space of this package.

    The Space runs on the Hub's default hardware and loads the model from its repository at startup. A private model
    requires a token in the Space's secret `HF_TOKEN`.

    Args:
        model_id: Repository of a model of this package, such as "org/mg-vtc".
        space_id: Repository of the Space, such as "org/mg-vtc-space"; created if missing.
        private: Whether a new Space is private; by default the setting of its owner.

    Returns:
        URL of the Space.

    Raises:
        ValueError: The model is a local folder or not an mg_vtc model, or the Space has other files.
        OSError: The model or a token is missing, or the Hub refused the push.
    """
    if Path(model_id).exists():
        raise ValueError(
            f"{model_id} is a local folder, which a Space cannot read: push it first with "
            f"`{shlex.join(['mg-vtc', 'push', model_id, 'org/name'])}`."
        )
    config: Any = read_config(model_id)
    files = collect_space(model_id, config.vision_config.model_type)
    page = prepare_repo(space_id, private=private, space_sdk="gradio")
    api = HfApi()
    with explaining(space_id, again=f"mg-vtc push-space {model_id} {space_id}"):
        present = api.list_repo_files(space_id, repo_type="space")
        if OURS not in present and (own := sorted(set(present) - NEW)):
            raise ValueError(
                f"{space_id} has files of another app ({shorten(own)}), so it was not changed: choose another name."
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


def collect_space(model_id: str, vision_type: str) -> dict[str, bytes]:
    """Collect the files of a Space.

    Args:
        model_id: Repository of the model, which the card names and the page loads.
        vision_type: `model_type` of its vision tower.

    Returns:
        Content by file name: card, app and requirements at the root, and the modules of the package.

    Raises:
        ValueError: A file contains a token or a local path.
    """
    card = SpaceCard.load(PACKAGE / "app" / CARD)
    card.data["models"] = [model_id]
    root = {
        APP: (PACKAGE / "app" / APP).read_bytes(),
        REQUIREMENTS: list_requirements(PACKAGE / "app" / REQUIREMENTS, vision_type),
    }
    package = {
        f"{PACKAGE.name}/{path.relative_to(PACKAGE).as_posix()}": path.read_bytes()
        for path in sorted(PACKAGE.rglob("*.py"))
    }
    files = {CARD: str(card).encode(), **root, **package}
    for name, content in files.items():
        check_private(name, content, PACKAGE)
    return files

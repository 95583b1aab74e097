"""Push of a demo Space for a model, in one commit.

A static Space runs the model in the browser of its visitors; a Gradio Space runs it, and this package, on the Hub.
"""

import shlex
import tempfile
from pathlib import Path
from typing import Any, Literal

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, SpaceCard

from ..data.labels import shorten
from ..exporters.web_runtime import PAGE_FILES
from ..inference.loading import read_config
from .push import explaining, prepare_repo
from .upload import check_private, list_requirements

PACKAGE = Path(__file__).parents[1]
APP, CARD, REQUIREMENTS = "app.py", "README.md", "requirements.txt"
OURS = {f"{PACKAGE.name}/app/page.py", "model/model.json"}  # identify the Spaces of this package
FOLDERS = (f"{PACKAGE.name}/", "model/", "runtime/")  # of its Spaces
NEW = {".gitattributes", CARD}  # files of a new Space


def push_space(
    model_id: str,
    space_id: str,
    *,
    sdk: Literal["static", "gradio"] = "static",
    private: bool | None = None,
    int8: bool = False,
    calibration_data: Path | None = None,
) -> str:
    """Push a Space with a demo of a model on the Hub, or update an existing Space of this package.

    A static Space is free and holds the model itself, so that of a private model is private. A Gradio Space loads the
    model from its repository at startup; a private model requires a token in the Space's secret `HF_TOKEN`.

    Args:
        model_id: Repository of a model of this package, such as "org/mg-vtc".
        space_id: Repository of the Space, such as "org/mg-vtc-space"; created if missing.
        sdk: "static" to run the model in the browser, "gradio" to run it on the Hub.
        private: Whether a new Space is private; by default the setting of its owner. An existing public Space is
            refused for True, and for a static Space of a private model.
        int8: For a static Space, see `export_web`.
        calibration_data: For a static Space, see `export_web`.

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
    if sdk == "gradio" and (int8 or calibration_data is not None):
        raise ValueError("`int8` and `calibration_data` are for a static Space: omit them, or set `sdk='static'`.")
    config: Any = read_config(model_id)
    if sdk == "static" and HfApi().model_info(model_id).private:
        private = True  # the Space holds the weights
    if sdk == "static":
        files = _export_page(model_id, int8=int8, calibration_data=calibration_data)
    else:
        files = collect_space(model_id, config.vision_config.model_type)
    page = prepare_repo(space_id, private=private, space_sdk=sdk)
    with explaining(space_id, again=f"mg-vtc push-space {model_id} {space_id}"):
        _commit(space_id, files, f"Show {model_id}")
    return page


def _export_page(model_id: str, *, int8: bool, calibration_data: Path | None) -> dict[str, bytes]:
    from ..exporters.web import export_web  # needs the extra "onnx"

    with tempfile.TemporaryDirectory() as folder:
        export_web(model_id, Path(folder), int8=int8, calibration_data=calibration_data)
        return collect_page(Path(folder))


def _commit(space_id: str, files: dict[str, bytes], message: str) -> None:
    """Replace the files of a Space of this package in one commit.

    Raises:
        ValueError: The Space has files of another app.
    """
    api = HfApi()
    present = api.list_repo_files(space_id, repo_type="space")
    if not OURS.intersection(present) and (own := sorted(set(present) - NEW)):
        raise ValueError(
            f"{space_id} has files of another app ({shorten(own)}), so it was not changed: choose another name."
        )
    stale = [name for name in present if name.startswith(FOLDERS) or name in (APP, REQUIREMENTS, *PAGE_FILES)]
    api.create_commit(
        space_id,
        [
            *(CommitOperationAdd(name, content) for name, content in files.items()),
            *(CommitOperationDelete(name) for name in stale if name not in files),
        ],
        commit_message=message,
        repo_type="space",
    )


def collect_page(folder: Path) -> dict[str, bytes]:
    """Collect the files of a static Space from the folder of an exported page.

    Returns:
        Content by file name.

    Raises:
        ValueError: A file contains a token or a local path.
    """
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
    for name, content in files.items():
        check_private(name, content, folder)
    return files


def collect_space(model_id: str, vision_type: str) -> dict[str, bytes]:
    """Collect the files of a Gradio Space.

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

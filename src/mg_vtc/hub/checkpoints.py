"""Checkpoints of a training on the Hub, for machines that may vanish: the last whole one and the best one.

Both are folders of the repository, written in one commit, so that they always belong together. The push of the
finished model deletes them.
"""

import json
import shutil
import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import RemoteEntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

from ..runs.checkpoints import place_checkpoint, stage_checkpoint
from ..runs.directory import RECIPE, SPLIT, check_same_settings, digest_split, read_recipe, read_record, write_start
from ..runs.manifest import find_damage
from ..runs.provenance import ELSEWHERE, find_places, without_places
from .push import explaining
from .upload import BEST, CHECKPOINTS, LAST

RUN = f"{LAST}/run.json"


class _Upload(NamedTuple):
    """Checkpoints to upload: the last one and, if it is another, the best one."""

    last: Path
    best: Path | None


class CheckpointUploader:
    """Uploads checkpoints in the background, so that a training does not wait.

    A checkpoint that waits for its upload is given up once there is a newer one. A failed upload is a fault for
    `collect_faults`, and the next checkpoint is uploaded all the same.

    Args:
        repo_id: Repository, which exists.
        revision: Branch; by default "main".
    """

    def __init__(self, repo_id: str, revision: str | None = None) -> None:
        self.repo_id, self._revision = repo_id, revision
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoints")
        self._lock = threading.Lock()
        self._newest: _Upload | None = None
        self._running: _Upload | None = None
        self._jobs: list[Future[None]] = []
        self._faults: list[str] = []

    def push(self, last: Path, best: Path | None) -> None:
        """Upload a checkpoint and the best one; `None` if that is the same."""
        upload = _Upload(last, best)
        with self._lock:
            self._newest = upload
        self._jobs = [job for job in self._jobs if not job.done()] + [self._pool.submit(self._upload, upload)]

    def list_needed(self) -> set[str]:
        """Return the names of the checkpoints that an upload reads, which must not be deleted."""
        with self._lock:
            uploads = [upload for upload in (self._running, self._newest) if upload is not None]
        return {checkpoint.name for upload in uploads for checkpoint in upload if checkpoint is not None}

    def wait(self) -> None:
        """Wait for the upload of the newest checkpoint."""
        for job in self._jobs:
            job.result()

    def collect_faults(self) -> list[str]:
        """Return why uploads failed, each once."""
        with self._lock:
            faults, self._faults = self._faults, []
        return faults

    def _upload(self, upload: _Upload) -> None:
        with self._lock:
            if upload is not self._newest:
                return
            self._running = upload
        try:
            with explaining(self.repo_id):
                _commit(self.repo_id, self._revision, upload)
        except Exception as error:  # whatever it is, the training goes on
            with self._lock:
                self._faults.append(f"{upload.last.name} could not be uploaded: {error}")
        finally:
            with self._lock:
                self._running = None
                if self._newest is upload:
                    self._newest = None


def _commit(repo_id: str, revision: str | None, upload: _Upload) -> None:
    """Replace the checkpoints of a repository in one commit."""
    api = HfApi()
    if revision is not None:
        api.create_branch(repo_id, branch=revision, exist_ok=True)
    files: dict[str, Path | bytes] = {
        f"{name}/{path.relative_to(folder).as_posix()}": path
        for name, folder in ((LAST, upload.last), (BEST, upload.best))
        if folder is not None
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    files[RUN] = (json.dumps(_describe(upload), indent=1, ensure_ascii=False) + "\n").encode()
    present = api.list_repo_files(repo_id, revision=revision)
    stale = [name for name in present if name.split("/")[0] in CHECKPOINTS and name not in files]
    api.create_commit(
        repo_id,
        [
            *(CommitOperationAdd(name, content) for name, content in files.items()),
            *(CommitOperationDelete(name) for name in stale),
        ],
        commit_message=f"Training in progress, {upload.last.name}",
        revision=revision,
    )


def _describe(upload: _Upload) -> dict[str, Any]:
    """Return what a machine without the folder of the run needs to know of it; it holds no names of images."""
    run = upload.last.parent
    recipe = read_recipe(run / RECIPE)[0] if (run / RECIPE).is_file() else {}  # a training in Python has none
    split = read_record(run / SPLIT) if (run / SPLIT).is_file() else {}
    return {
        "last": upload.last.name,
        "best": None if upload.best is None else upload.best.name,
        "settings": without_places(recipe, find_places(recipe)),
        "split_sha256": digest_split(split),
    }


def fetch_checkpoint(folder: Path, repo_id: str, revision: str | None, settings: Mapping[str, Any]) -> Path | None:
    """Download the checkpoints of a training that began on another machine, to the folder of a run without any.

    The folder then has the recipe, too, and of the split its digest, with which the rows are compared.

    Args:
        folder: Folder of the run.
        repo_id: Repository with the checkpoints.
        revision: Branch; by default "main".
        settings: Settings of this run, which must be those of the other machine, apart from paths.

    Returns:
        The last checkpoint; `None` if the repository has none or does not exist.

    Raises:
        ValueError: The settings differ, or a file in the repository is damaged.
        OSError: The Hub is not reachable.
    """
    with explaining(repo_id):
        try:
            commit = HfApi().repo_info(repo_id, revision=revision).sha  # of one commit, whatever is pushed meanwhile
            run = read_record(Path(hf_hub_download(repo_id, RUN, revision=commit)))
        except (RepositoryNotFoundError, RevisionNotFoundError, RemoteEntryNotFoundError):
            return None
    try:
        begun, split = _adopt_places(run["settings"], settings), {"sha256": str(run["split_sha256"])}
        steps = {name: _read_step(run[name]) for name in ("best", "last") if run[name] is not None}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{RUN} of {repo_id} is damaged: delete {LAST} there, and the run starts again.") from error
    check_same_settings(begun, dict(settings), f"{RUN} of {repo_id}")
    write_start(folder, yaml.safe_dump(begun, sort_keys=True, allow_unicode=True), split)
    staged = [_download(folder, repo_id, commit, f"{name}-checkpoint", step) for name, step in steps.items()]
    for checkpoint in staged:  # once all are here: an older one alone would be resumed from
        place_checkpoint(checkpoint)
    return folder / f"checkpoint-{steps['last']}"


def _read_step(name: str) -> int:
    """Return the step of a checkpoint by its name."""
    return int(name.removeprefix("checkpoint-"))


def _adopt_places(begun: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of another machine with the paths of this one."""
    given = {name: value for name, value in settings.items() if value is not None}
    own = {name: given[name] for name in find_places(given)}
    return {name: value for name, value in begun.items() if value != ELSEWHERE} | own


def _download(folder: Path, repo_id: str, commit: str | None, name: str, step: int) -> Path:
    """Download a checkpoint beside its place and compare it with its manifest."""
    staged = stage_checkpoint(folder, step)
    shutil.rmtree(staged.parent, ignore_errors=True)
    with explaining(repo_id):
        snapshot_download(repo_id, revision=commit, allow_patterns=f"{name}/*", local_dir=staged.parent)
    (staged.parent / name).rename(staged)
    (staged / Path(RUN).name).unlink(missing_ok=True)
    if damage := find_damage(staged):
        named = "; ".join(damage).replace(str(staged), name)
        raise ValueError(
            f"The checkpoint in {repo_id} is damaged: {named}. Repeat the command; if it stays so, delete {name} in "
            "the repository, and the run starts again."
        )
    return staged


def refuse_to_replace(repo_id: str, revision: str | None) -> None:
    """Refuse to start a run whose checkpoints would replace those of another one.

    Raises:
        ValueError: The repository has the checkpoints of an unfinished run.
    """
    with explaining(repo_id):
        if HfApi().file_exists(repo_id, RUN, revision=revision):
            raise ValueError(
                f"{repo_id} has the checkpoints of an unfinished run, which this one would replace: resume it "
                "(`resume_from_checkpoint` 'auto'), set another `hub_model_id`, or set `overwrite`."
            )

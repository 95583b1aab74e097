"""Publish a model: one commit of an explicit list of files, so that what is on the Hub is always whole."""

import os
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_token
from huggingface_hub.errors import (
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from .repo_id import check_repo_id
from .upload import collect_upload, is_part_of_model

LOG_IN = "set HF_TOKEN, or run `hf auth login`, with a token that may write"
# HTTPError of httpx, or of whatever else this version of the client speaks through
TRANSPORT_ERROR: type[Exception] = HfHubHTTPError.__mro__[1]


def push_to_hub(
    folder: str | Path,
    repo_id: str,
    *,
    private: bool | None = None,
    revision: str | None = None,
    commit_message: str | None = None,
) -> str:
    """Publish the model of a folder on the Hub, in one commit: as a whole or not at all.

    What is uploaded is said in `collect_upload`. Files of the model that the repository had and that the folder has
    not (those of a text tower that there is no more, say) are deleted in the same commit; all others stay.

    Args:
        folder: Folder of a finished run, or of a saved model with a card.
        repo_id: Repository, such as "org/mg-vtc"; made where there is none.
        private: Whether the repository is private when it is made; by default what is the default of its owner. One
            that is there and public is refused where it should be private.
        revision: Branch, made where there is none; by default "main".
        commit_message: Message of the commit.

    Returns:
        Address of the model's page.

    Raises:
        ValueError: It is no folder of a model, no name of a repository, or that of a public one that should be
            private.
        OSError: There is no such folder or no token, the Hub refuses it, or the connection broke off. The last
            revision is then as it was.
    """
    files = collect_upload(Path(folder), repo_id)
    page = prepare_repo(repo_id, private=private)
    api = HfApi()
    branch = [] if revision is None else ["--revision", revision]
    with explaining(repo_id, again=shlex.join(["mg-vtc", "publish", str(folder), repo_id, *branch])):
        if revision is not None:
            api.create_branch(repo_id, branch=revision, exist_ok=True)
        present = api.list_repo_files(repo_id, revision=revision)
        stale = [name for name in present if is_part_of_model(name) and name not in files]
        api.create_commit(
            repo_id,
            [
                *(CommitOperationAdd(name, content) for name, content in sorted(files.items())),
                *(CommitOperationDelete(name) for name in stale),
            ],
            commit_message=commit_message or "Upload model",
            revision=revision,
        )
    return page if revision is None else f"{page}/tree/{revision}"


def write_upload(folder: str | Path, out: str | Path, repo_id: str | None = None) -> list[str]:
    """Write what `push_to_hub` would upload into a folder, without the Hub: a model that can be served from there.

    Args:
        folder: Folder of a finished run, or of a saved model with a card.
        out: Folder that is new or empty. It has all files or none.
        repo_id: Repository that the examples of the card name; without it they keep the placeholder "MODEL".

    Returns:
        Names of the files in `out`.

    Raises:
        ValueError: `push_to_hub` would refuse the folder or the name, or `out` is a file or holds something.
    """
    if repo_id is not None:
        check_repo_id(repo_id)
    files, out = collect_upload(Path(folder), repo_id), Path(os.path.abspath(out))
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise ValueError(f"{out} is there already and is not an empty folder: choose a new one.")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as scratch:
        whole = Path(scratch, out.name)
        for name, content in files.items():
            (whole / name).parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                (whole / name).write_bytes(content)
            else:
                shutil.copyfile(content, whole / name)
        whole.replace(out)
    return sorted(files)


def prepare_repo(repo_id: str, *, private: bool | None = None, space_sdk: str | None = None) -> str:
    """Make a repository where there is none, which also tells whether one may.

    Args:
        repo_id: Repository, such as "org/mg-vtc".
        private: Whether it is private when it is made; one that is there must then be, too.
        space_sdk: What a Space is written with; by default it is a repository of a model.

    Returns:
        Address of its page.

    Raises:
        ValueError: That is no name of a repository, or it shall be private and is there and public.
        OSError: There is no such folder or no token, the Hub refuses it, or can not be reached.
    """
    check_repo_id(repo_id)
    if get_token() is None:
        raise OSError(f"There is no token of the Hub to publish {repo_id} with: {LOG_IN}.")
    with explaining(repo_id):
        api, kind = HfApi(), "model" if space_sdk is None else "space"
        page = api.create_repo(repo_id, repo_type=kind, space_sdk=space_sdk, private=private, exist_ok=True)
        api.auth_check(repo_id, repo_type=kind, write=True)  # as one of somebody else's is there, too
        if private and not api.repo_info(repo_id, repo_type=kind).private:  # one that was there
            raise ValueError(
                f"{repo_id} is there already, and public, so nothing was published: make it private in its settings, "
                "or choose another name."
            )
    return str(page)


@contextmanager
def explaining(repo_id: str, *, again: str | None = None) -> Iterator[None]:
    """Tell in a line what the Hub refused and what to do.

    Args:
        repo_id: Repository that was asked for.
        again: Command to go on with after a broken push.

    Raises:
        OSError: The Hub refused, or could not be reached.
    """
    whole = f" What is on the Hub is whole, as a push is one commit; to go on: {again}" if again else ""
    try:
        yield
    except OfflineModeIsEnabled as error:
        raise OSError(f"HF_HUB_OFFLINE is set, so {repo_id} can not be published: unset it.") from error
    except RevisionNotFoundError as error:
        raise OSError(f"{repo_id} has no such revision: name a branch.") from error
    except HfHubHTTPError as error:
        raise OSError(f"{_refusal(error, repo_id)}{whole}") from error
    except (TRANSPORT_ERROR, RuntimeError, ConnectionError) as error:  # the client's own RuntimeError is an upload's
        reasons = [str(reason).strip().split("\n")[0].rstrip(".") for reason in (error, error.__cause__) if reason]
        reason = ": ".join(reason for reason in reasons if reason)
        raise OSError(f"The connection to the Hub for {repo_id} broke off: {reason}.{whole}") from error


def _refusal(error: HfHubHTTPError, repo_id: str) -> str:
    status, owner = error.response.status_code, repo_id.split("/")[0]
    if status == 403:
        return (
            f"The token may not write to {repo_id}: the name is somebody else's, or the token has no write permission "
            f"for {owner!r}. Choose a name of your own, or {LOG_IN} there."
        )
    if isinstance(error, RepositoryNotFoundError) and status != 401:
        return f"{repo_id} is a private repository of somebody else, or is gone: choose another name."
    if status == 401:
        return f"The Hub does not accept the token for {repo_id}: {LOG_IN}."
    if status in (409, 412):
        return f"{repo_id} was changed by somebody else at the same time."
    reason = " ".join((error.server_message or str(error)).split())
    return f"The Hub refused {repo_id} with status {status}: {reason.rstrip('.')}."

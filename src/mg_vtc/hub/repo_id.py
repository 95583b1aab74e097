"""The name of a model on the Hub: what it must look like, and where the card waits for it."""

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

PLACEHOLDER = '"MODEL"'  # stands in the usage for the id that the model has not yet


def check_repo_id(repo_id: str) -> None:
    """Make sure that a name is one of a repository.

    Raises:
        ValueError: It is not.
    """
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise ValueError(f"{repo_id!r} is no name of a repository, such as 'org/mg-vtc': {error}") from error
    if repo_id.count("/") != 1:
        raise ValueError(f"{repo_id!r} does not say whose the repository is: write 'org/{repo_id}', or your own name.")


def with_repo_id(card: str, repo_id: str) -> str:
    """Put the Hub id of a model into the usage of its card, and leave all else as it is, edits of its owner too.

    Args:
        card: Text of the card.
        repo_id: "owner/name".
    """
    return card.replace(PLACEHOLDER, f'"{repo_id}"')

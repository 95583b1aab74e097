"""Repository names: validation, and insertion into a model card."""

import re

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

PLACEHOLDER = '"MODEL"'  # in the usage examples of a card, until the Hub id is known


def check_repo_id(repo_id: str) -> None:
    """Check that a name is a valid repository name with an owner.

    Raises:
        ValueError: It is not.
    """
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise ValueError(f"{repo_id!r} is not a repository name such as 'org/mg-vtc': {error}") from error
    if repo_id.count("/") != 1:
        raise ValueError(
            f"{repo_id!r} does not name an owner: write 'org/{repo_id}', with an organization or your user name."
        )


def with_repo_id(card: str, repo_id: str) -> str:
    """Insert the Hub id of a model into the usage examples of its card; leave the rest unchanged.

    Args:
        card: Text of the card.
        repo_id: Repository as "owner/name".
    """
    return re.sub(rf"([=(] ?){PLACEHOLDER}", rf'\1"{repo_id}"', card)  # in a list, it is a class of this name

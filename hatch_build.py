"""What the package index shows: the README, with links that work away from the repository."""

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

RELATIVE = re.compile(r"(!?)\[([^\]]+)\]\((?![a-z]+:|#)([^)\s]+)\)")  # an image or a link, its text, its target


class ReadmeHook(MetadataHookInterface):
    """Gives the project its `readme`; the repository is `[project.urls] Repository`, once it is public."""

    def update(self, metadata: dict[str, Any]) -> None:
        readme = Path(self.root, "README.md").read_text(encoding="utf-8")
        repository = metadata.get("urls", {}).get("Repository")
        metadata["readme"] = {"content-type": "text/markdown", "text": link_to(repository, readme)}


def link_to(repository: str | None, readme: str) -> str:
    """Make relative links absolute; without a public repository, leave the text of a link and no image.

    Args:
        repository: Address of a repository as GitHub and GitLab serve it.
        readme: Markdown.
    """

    def replace(link: re.Match[str]) -> str:
        image, text, target = link.groups()
        if repository is None:
            return "" if image else text
        return f"{image}[{text}]({repository.rstrip('/')}/{'raw' if image else 'blob'}/HEAD/{target})"

    return RELATIVE.sub(replace, readme)

"""Build of the package: the README with links that work elsewhere, and the libraries of the web page in a wheel."""

import os
import re
import runpy
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
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


class WebRuntimeHook(BuildHookInterface):
    """Adds the libraries of the web page to a wheel. Without npm or a network it lacks them."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        package = Path("mg_vtc", "exporters")
        module = runpy.run_path(str(Path(self.root, "src", package, "web_runtime.py")))
        try:
            folder = module["find_runtime"]()
        except OSError as error:
            self.app.display_warning(f"The wheel has no libraries of the web page: {error}")
            return
        for name in module["RUNTIME_FILES"]:
            target = (package / "web_page" / "runtime" / name).as_posix()
            build_data["force_include"][os.fspath(folder / name)] = target

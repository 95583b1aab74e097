"""Recipes of the package, one YAML file each, which `mg-vtc train NAME` trains."""

from pathlib import Path


def find_recipes() -> dict[str, Path]:
    """Return the name and the file of each recipe."""
    return {path.stem: path for path in sorted(Path(__file__).parent.glob("*.yaml"))}


def list_recipes() -> dict[str, str]:
    """Return the name of each recipe and the sentence that its file begins with."""
    texts = {name: path.read_text(encoding="utf-8") for name, path in find_recipes().items()}
    return {name: text.partition("\n")[0].lstrip("# ") for name, text in texts.items()}

"""Recipes of the package, one YAML file each, which `mg-vtc train NAME` trains."""

from pathlib import Path

FOLDER = Path(__file__).parent


def list_recipes() -> dict[str, str]:
    """Return the name of each recipe and the sentence that its file begins with."""
    texts = {path.stem: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.yaml"))}
    return {name: text.partition("\n")[0].lstrip("# ") for name, text in texts.items()}

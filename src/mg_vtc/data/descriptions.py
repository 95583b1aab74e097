"""Texts of classes beside their names: columns of a labels file, or a JSON file of descriptions."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..messages import abridge
from .labels import fold_name, read_label_texts, shorten


def read_descriptions(path: str | Path, class_names: Sequence[str]) -> list[list[str]]:
    """Read descriptions of classes.

    Args:
        path: JSON file that maps each class name to a text or a list of texts.
        class_names: In id order.

    Returns:
        One or more texts of each class, in id order.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: It is not such JSON, a class has no text or stands there twice, or a name is not that of a class.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no descriptions_file {path}: give a JSON file of class names and texts.")
    try:
        text = path.read_text(encoding="utf-8-sig")
        content = json.loads(text, object_pairs_hook=lambda pairs: _collect(pairs, path))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"The descriptions_file {path} is not JSON in UTF-8: {error}.") from error
    if not isinstance(content, dict):
        raise ValueError(f"The descriptions_file {path} must map class names to texts, not hold {content!r:.60}.")
    texts = {name: [one] if isinstance(one, str) else one for name, one in content.items()}
    for name, own in texts.items():
        if not isinstance(own, list) or not all(isinstance(text, str) and text.strip() for text in own):
            raise ValueError(
                f"The descriptions_file {path} gives {name!r} {own!r:.60}: write a text or a list of texts."
            )
    own_names = {fold_name(name) for name in class_names}
    if others := [name for name in texts if fold_name(name) not in own_names]:
        raise ValueError(
            f"The descriptions_file {path} describes {shorten(others)}, but the classes are {shorten(class_names)}: "
            "use their names."
        )
    return _order(texts, class_names, f"The descriptions_file {path}")


def _collect(pairs: Sequence[tuple[str, Any]], path: Path) -> dict[str, Any]:
    """Return the members of a JSON object; refuse names that are equal for a model, of which JSON keeps the last."""
    firsts: dict[str, str] = {}
    for name, _ in pairs:
        if (key := fold_name(name)) in firsts:
            raise ValueError(
                f"The descriptions_file {path} describes one class as {abridge(firsts[key])} and as {abridge(name)}: "
                "write its texts in one list."
            )
        firsts[key] = name
    return dict(pairs)


def find_label_texts(labels_file: str | Path, class_names: Sequence[str]) -> list[list[str]] | None:
    """Read the columns of texts in a labels file.

    Args:
        labels_file: CSV file or built-in list (see `read_labels`).
        class_names: In id order.

    Returns:
        One or more texts of each class, in id order; `None` for a file without such columns.

    Raises:
        ValueError: Some classes have texts and others none.
    """
    texts = read_label_texts(labels_file)
    if not any(texts.values()):
        return None
    return _order(texts, class_names, f"The labels file {labels_file}")


def _order(texts: Mapping[str, Any], class_names: Sequence[str], source: str) -> list[list[str]]:
    """Return the texts of the classes in id order.

    Raises:
        ValueError: A class has none.
    """
    found = {fold_name(name): [" ".join(text.split()) for text in own] for name, own in texts.items()}
    if missing := [name for name in class_names if not found.get(fold_name(name))]:
        raise ValueError(
            f"{source} describes {len(class_names) - len(missing)} of {len(class_names)} classes, and not "
            f"{shorten(missing)}: describe all of them or none."
        )
    return [found[fold_name(name)] for name in class_names]

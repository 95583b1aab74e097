"""Flags of `mg-vtc predict` and `mg-vtc evaluate` that combine several scores of an image."""

import argparse
from collections.abc import Sequence
from pathlib import Path


def add_ensemble_flags(parser: argparse.ArgumentParser, help_of_weights: str) -> None:
    """Add `--weights` and `--tta`."""
    parser.add_argument("--weights", nargs="+", type=float, metavar="W", help=help_of_weights)
    parser.add_argument(
        "--tta",
        action="store_true",
        help="test-time augmentation: the mean of several views of each image (slower)",
    )


def part_models(words: Sequence[str], weights: Sequence[float] | None) -> tuple[list[str], list[str]]:
    """Part the words of a command into its models, one for each weight (one without weights), and the rest.

    Raises:
        ValueError: No word is left for the rest, or a model is left in it.
    """
    num_models = 1 if weights is None else len(weights)
    models, others = list(words[:num_models]), list(words[num_models:])
    if not others:
        raise ValueError(
            f"`weights` has {num_models} numbers, so the first {num_models} words are models, but there are only "
            f"{len(words)} words: give one number for each model, and images after the models."
        )
    if left := [word for word in others if _holds_model(Path(word))]:
        raise ValueError(
            f"{left[0]} is a model, not images: for an ensemble, give `weights` with one number for each model, such "
            f"as --weights {' '.join('1' * (num_models + len(left)))}."
        )
    return models, others


def _holds_model(folder: Path) -> bool:
    return (folder / "config.json").is_file() and any(folder.glob("*.safetensors"))

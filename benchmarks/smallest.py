"""The smallest towers: where reading is measured and not the model, and for the flag `--smallest`."""

import argparse
from typing import Any

IMAGE_SIZE = 32  # pixels
VISION: dict[str, Any] = {"layer_type": "basic", "depths": [1, 1], "hidden_sizes": [8, 16], "embedding_size": 8}
TEXT: dict[str, Any] = {"n_layers": 1, "dim": 16, "n_heads": 2, "hidden_dim": 32}
TOWERS: dict[str, Any] = {  # arguments of MgVtcConfig
    "vision_config": VISION | {"model_type": "resnet"},
    "text_config": TEXT | {"model_type": "distilbert"},
    "projection_dim": 16,
}


def add_smallest(parser: argparse.ArgumentParser) -> None:
    """Add the flag by which a benchmark takes the smallest towers."""
    parser.add_argument(
        "--smallest", action="store_true", help="the smallest towers, to see that it runs; its numbers say nothing"
    )

"""Parameter groups of the optimizer."""

import re
from collections.abc import Iterable
from typing import Any

from torch import nn

from .arguments import MgVtcTrainingArguments

BLOCK = re.compile(r"\.(?:layers?|blocks?|stages|resblocks)\.(\d+)\.")  # number of a block in the name of a parameter


def group_parameters(model: nn.Module, args: MgVtcTrainingArguments) -> list[dict[str, Any]]:
    """Return parameter groups with a learning rate for the heads and one for each tower, or each layer of a tower.

    Norms, biases and the scale have no weight decay, and frozen parameters are in no group. The heads come first,
    because the learning rate of the first group is logged. With `layer_decay`, a layer has the rate of its tower times
    `layer_decay` to the power of its distance from the end of the tower (Clark et al., "ELECTRA", ICLR 2020).

    Returns:
        Groups with `params`, `lr`, `weight_decay` and `part`: "heads", "vision_model" or "text_model".
    """
    tower_decay = args.weight_decay if args.tower_weight_decay is None else args.tower_weight_decay
    settings = {
        "heads": (args.learning_rate, args.weight_decay),
        "vision_model": (args.vision_learning_rate, tower_decay),
        "text_model": (args.text_learning_rate, tower_decay),
    }
    groups: dict[tuple[str, bool, int], list[nn.Parameter]] = {}
    distances = measure_distances(name for name, _ in model.named_parameters()) if args.layer_decay < 1 else {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            key = (_find_tower(name), parameter.ndim >= 2, distances.get(name, 0))
            groups.setdefault(key, []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": (args.learning_rate if rate is None else rate) * args.layer_decay**distance,
            "weight_decay": decay if decays else 0.0,
            "part": part,
        }
        for part, (rate, decay) in settings.items()
        for (of_part, decays, distance), parameters in sorted(
            groups.items(), key=lambda group: (group[0][2], not group[0][1])
        )
        if of_part == part
    ]


def _find_tower(name: str) -> str:
    return next((tower for tower in ("vision_model", "text_model") if f"{tower}." in name), "heads")


def measure_distances(names: Iterable[str]) -> dict[str, int]:
    """Return the distance of each parameter of a tower from the end of the tower, in layers.

    What follows the blocks, such as a final norm, is 0, the last block 1, and so on to the embeddings.

    Args:
        names: Names of the parameters in the order of the model; those of the heads are left out.
    """
    of_tower: dict[str, list[str]] = {"vision_model": [], "text_model": []}
    for name in names:
        if (tower := _find_tower(name)) in of_tower:
            of_tower[tower].append(name)
    distances = {}
    for own in of_tower.values():
        blocks = [None if (found := BLOCK.search(name)) is None else int(found[1]) for name in own]
        last = max((block for block in blocks if block is not None), default=-2)  # without blocks all distances are 0
        layer = 0  # embeddings, then block + 1, then what follows
        for name, block in zip(own, blocks, strict=True):
            layer = block + 1 if block is not None else (0 if layer == 0 else last + 2)
            distances[name] = last + 2 - layer
    return distances

"""Parameter groups of the optimizer."""

from typing import Any

from torch import nn

from .arguments import MgVtcTrainingArguments


def group_parameters(model: nn.Module, args: MgVtcTrainingArguments) -> list[dict[str, Any]]:
    """Return parameter groups with a learning rate for the heads and one for each tower.

    Norms, biases and the scale have no weight decay, and frozen parameters are in no group. The heads come first,
    because the learning rate of the first group is logged.
    """
    tower_decay = args.weight_decay if args.tower_weight_decay is None else args.tower_weight_decay
    settings = {
        "heads": (args.learning_rate, args.weight_decay),
        "vision_model": (args.vision_learning_rate, tower_decay),
        "text_model": (args.text_learning_rate, tower_decay),
    }
    groups: dict[tuple[str, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            part = next((tower for tower in ("vision_model", "text_model") if f"{tower}." in name), "heads")
            groups.setdefault((part, parameter.ndim >= 2), []).append(parameter)
    return [
        {
            "params": groups[part, decays],
            "lr": args.learning_rate if rate is None else rate,
            "weight_decay": decay if decays else 0.0,
        }
        for part, (rate, decay) in settings.items()
        for decays in (True, False)
        if (part, decays) in groups
    ]

"""Fine-tuning of pretrained towers: frozen towers, a linear probe first (LP-FT), interpolation (WiSE-FT)."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from ..models.modeling_mg_vtc import MgVtcModel
from .arguments import MgVtcTrainingArguments


def refuse_adapter(model: Any) -> None:
    """Refuse a model that PEFT wraps.

    Raises:
        ValueError: PEFT wraps it.
    """
    if hasattr(model, "peft_config"):
        raise ValueError(
            f"A {type(model).__name__} of PEFT saves only an adapter, without the class embeddings and batch norm "
            "statistics that scores need: train the model itself, or merge the adapter before (merge_and_unload)."
        )


def list_towers(model: MgVtcModel) -> dict[str, nn.Module]:
    """Return the towers of a model by their names in it."""
    names = ("vision_model",) if model.config.vision_only else ("vision_model", "text_model")
    return {name: getattr(model, name) for name in names}


def freeze_towers(model: MgVtcModel, args: MgVtcTrainingArguments) -> list[nn.Module]:
    """Freeze the towers that the arguments name, including their batch norm, and return them."""
    frozen = [tower for name, tower in list_towers(model).items() if getattr(args, f"freeze_{name}")]
    for tower in frozen:
        tower.requires_grad_(False)
    return frozen


class LinearProbe:
    """Freeze towers, including their batch norm, while only the heads are trained.

    Source: Kumar et al., "Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution",
    ICLR 2022.

    Args:
        towers: Towers that are trained after the probe; parameters without gradient stay so.
        num_epochs: Length of the probe, in epochs.
    """

    def __init__(self, towers: Iterable[nn.Module], num_epochs: float) -> None:
        self._num_epochs = num_epochs
        self._towers = list(towers)
        trained = self._towers if num_epochs > 0 else ()
        self._parameters = [one for tower in trained for one in tower.parameters() if one.requires_grad]

    def set_epoch(self, epoch: float) -> list[nn.Module]:
        """Freeze or release the towers, and return those that are frozen at this point of the training."""
        probing = epoch < self._num_epochs
        for parameter in self._parameters:
            parameter.requires_grad_(not probing)
        return self._towers if probing else []


class StartingWeights:
    """Weights of the start of a training, for the interpolation at its end.

    Source: Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022, equation 1.

    Args:
        model: Model before the training.
        alpha: Fraction, in (0, 1], of the trained weights; with 1 nothing is kept.
    """

    def __init__(self, model: MgVtcModel, alpha: float) -> None:
        self._alpha = alpha
        computed = () if model.config.vision_only else ("class_embeds",)  # from the weights
        state = model.state_dict() if alpha < 1 else {}
        names = [name for name, tensor in state.items() if tensor.is_floating_point() and name not in computed]
        self._weights = {name: state[name].clone() for name in names}

    @torch.no_grad()
    def interpolate(self, model: MgVtcModel) -> None:
        """Replace the weights of a trained model by `alpha` times them and `1 - alpha` times those of the start."""
        state = model.state_dict()
        for name, start in self._weights.items():
            state[name].lerp_(start.to(state[name].device), 1 - self._alpha)

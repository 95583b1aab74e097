"""Fine-tuning: frozen towers, a linear probe first (LP-FT), averaged weights (EMA), interpolation (WiSE-FT)."""

import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

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
    """Freeze the towers that the arguments name, including their batch norm, and return them.

    The bias of the logits is frozen, too: no loss here sees it, and the optimizer would move it by rounding errors.
    """
    frozen = [tower for name, tower in list_towers(model).items() if getattr(args, f"freeze_{name}")]
    for tower in frozen:
        tower.requires_grad_(False)
    if model.config.use_logit_bias:
        model.logit_bias.requires_grad_(False)
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


def _copy_weights(model: MgVtcModel) -> dict[str, torch.Tensor]:
    """Return copies of the weights and statistics of a model, without class embeddings that are computed from them."""
    computed = () if model.config.vision_only else ("class_embeds",)
    state = model.state_dict().items()
    return {name: tensor.clone() for name, tensor in state if tensor.is_floating_point() and name not in computed}


class AveragedWeights(TrainerCallback):
    """Exponential moving average of the weights of a training, including the statistics of batch norm.

    Step n moves the average by `1 - d` of its distance to the weights, with d = min(decay, (1 + n) / (10 + n)): this
    warm-up, of TensorFlow's `ExponentialMovingAverage`, forgets the start in short trainings. Source: Tarvainen and
    Valpola, "Mean teachers are better role models", NeurIPS 2017, equation of the teacher's weights.

    Args:
        model: Model before the training.
        decay: Number in [0, 1); with 0 nothing is averaged.
    """

    FILE = "weights_before_averaging.safetensors"  # in a checkpoint, whose model has the average

    def __init__(self, model: MgVtcModel, decay: float) -> None:
        self._decay = decay
        self._average = _copy_weights(model) if decay > 0 else {}

    @torch.no_grad()
    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        decay = min(self._decay, (1 + state.global_step) / (10 + state.global_step))
        weights = kwargs["model"].state_dict()
        for name, average in self._average.items():
            average.lerp_(weights[name], 1 - decay)

    @torch.no_grad()
    def swap(self, model: MgVtcModel) -> None:
        """Exchange the average and the weights of a model."""
        weights = model.state_dict()
        for name, average in self._average.items():
            kept = weights[name].clone()
            weights[name].copy_(average)
            average.copy_(kept)

    @contextmanager
    def in_place_of_weights(self, model: MgVtcModel) -> Iterator[None]:
        """Give a model the average, and its own weights back afterwards."""
        self.swap(model)
        try:
            yield
        finally:
            self.swap(model)

    def save(self, folder: Path) -> None:
        """Write the weights whose place the average has in a model."""
        if self._average:
            path = folder / self.FILE
            save_file({name: tensor.contiguous() for name, tensor in self._average.items()}, path)
            shutil.copymode(folder / "config.json", path)  # else readable by its owner only

    def load(self, folder: Path, model: MgVtcModel) -> None:
        """Read a checkpoint, whose average the model already has; afterwards it has its own weights.

        Raises:
            FileNotFoundError: The checkpoint has no such file.
        """
        if not self._average:
            return
        if not (folder / self.FILE).is_file():
            raise FileNotFoundError(
                f"{folder} lacks {self.FILE}, so the run would end with other weights. Resume from another "
                "checkpoint, or start again (`overwrite`)."
            )
        self._average = load_file(folder / self.FILE, device=str(model.device))
        self.swap(model)


class StartingWeights:
    """Weights of the start of a training, for the interpolation at its end.

    Source: Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022, equation 1.

    Args:
        model: Model before the training.
        alpha: Fraction, in (0, 1], of the trained weights; with 1 nothing is kept. `None` chooses it at the end.
    """

    ALPHAS = tuple(tenth / 10 for tenth in range(11))  # to choose from

    def __init__(self, model: MgVtcModel, alpha: float | None) -> None:
        self._alpha = alpha
        self._weights = {} if alpha == 1 else _copy_weights(model)

    def interpolate(self, model: MgVtcModel, score: Callable[[], Any]) -> float | None:
        """Replace the weights of a trained model by `alpha` times them and `1 - alpha` times those of the start.

        Args:
            model: Trained model.
            score: Score of the model with its present weights, higher is better. It is called if `alpha` is to be
                chosen.

        Returns:
            The fraction that was chosen; `None` if it was given.
        """
        if self._alpha is not None:
            self._mix(model, {}, self._alpha)
            return None
        trained, scores = _copy_weights(model), {}
        for alpha in self.ALPHAS:
            self._mix(model, trained, alpha)
            scores[alpha] = score()
        chosen = max(self.ALPHAS, key=lambda alpha: scores[alpha])
        self._mix(model, trained, chosen)
        return chosen

    @torch.no_grad()
    def _mix(self, model: MgVtcModel, trained: dict[str, torch.Tensor], alpha: float) -> None:
        """Set the weights of a model between those of the start and `trained`, by default its own."""
        state = model.state_dict()
        for name, start in self._weights.items():
            if name in trained:
                state[name].copy_(trained[name])
            state[name].lerp_(start.to(state[name].device), 1 - alpha)

"""Low-rank adapters (LoRA) of the attention of towers, by PEFT.

The towers keep their weights, and each linear layer of their attention learns a product of two small matrices that is
added to its own. What is saved as the model has them merged, so it opens like any other. Beside it, `adapter` has the
small part that was trained, in PEFT's format.

Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022.
"""

import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from ..models.modeling_mg_vtc import MgVtcModel
from ..runs.directory import ADAPTER, ADAPTER_CONFIG, ADAPTER_FOLDER
from ..runs.manifest import write_manifest
from .arguments import MgVtcTrainingArguments

NAME, PREFIX = "default", "base_model.model."  # PEFT's names
BASE_LAYER, MATRICES = ".base_layer.", (".lora_A.", ".lora_B.")


def find_attention_layers(tower: nn.Module) -> list[str]:
    """Return the names of the linear layers in the attention of a tower."""
    return sorted(
        {
            name
            for prefix, module in tower.named_modules()
            if "Attention" in type(module).__name__
            for name, layer in module.named_modules(prefix=prefix)
            if type(layer) is nn.Linear  # the output layer of torch's own attention is of another type, and not called
        }
    )


class LowRankAdapters:
    """Adapters of a model in training.

    Args:
        model: Model before the training; its towers that are named get adapters, and their weights are frozen.
        args: Rank, and towers.

    Raises:
        ModuleNotFoundError: PEFT is not installed.
        ValueError: A tower has no attention, or is frozen as a whole.
    """

    def __init__(self, model: MgVtcModel, args: MgVtcTrainingArguments) -> None:
        self._is_merged = args.lora_rank == 0
        if self._is_merged:
            return
        from peft import LoraConfig, inject_adapter_in_model

        targets: list[str] = []
        for tower in _list_named_towers(model, args):
            module = getattr(model, tower)
            module.requires_grad_(False)
            layers = find_attention_layers(module)
            if not layers:
                raise ValueError(
                    f"lora_rank adapts attention, but the {tower.partition('_')[0]} tower "
                    f"({module.config.model_type}) has none: set lora_towers to the other, or leave lora_rank out."
                )
            targets += [f"{tower}.{layer}" for layer in layers]
        self._config = LoraConfig(r=args.lora_rank, lora_alpha=2 * args.lora_rank, target_modules=targets)
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        inject_adapter_in_model(self._config, model, adapter_name=NAME)  # which freezes all but its own
        for parameter in trained:
            parameter.requires_grad_(True)

    def merge_state(self, model: MgVtcModel) -> dict[str, torch.Tensor] | None:
        """Return the weights of the merged model under its own names; `None` if the model has no adapters."""
        if self._is_merged:
            return None
        state = {name: tensor for name, tensor in model.state_dict().items() if not _is_of_matrix(name)}
        for name, layer in _list_layers(model).items():
            key = f"{name}{BASE_LAYER}weight"
            state[key] = state[key] + layer.get_delta_weight(NAME)
        return {name.replace(BASE_LAYER, "."): tensor for name, tensor in state.items()}

    def merge(self, model: MgVtcModel) -> None:
        """Replace each layer that has an adapter by the linear layer of both."""
        if self._is_merged:
            return
        for name, layer in _list_layers(model).items():
            layer.merge()
            parent, _, own = name.rpartition(".")
            setattr(model.get_submodule(parent), own, layer.get_base_layer())
        del model.peft_config
        self._is_merged = True

    def save(self, model: MgVtcModel, folder: Path) -> None:
        """Write `adapter`: the trained matrices, all that is not of an adapted tower, and PEFT's configuration."""
        if self._is_merged:
            return
        adapted = tuple({f"{name.partition('.')[0]}." for name in _list_layers(model)})
        statistics = {name for name, _ in model.named_buffers()}  # of batch norm, which change also where it is frozen
        small = {
            f"{PREFIX}{name.replace(f'.{NAME}.', '.')}": tensor.contiguous()
            for name, tensor in model.state_dict().items()
            if _is_of_matrix(name) or name in statistics or not name.startswith(adapted)
        }
        self._config.save_pretrained(str((folder / ADAPTER).parent))
        save_file(small, folder / ADAPTER)
        shutil.copymode(folder / ADAPTER_CONFIG, folder / ADAPTER)  # else readable by its owner only
        write_manifest(folder / ADAPTER_FOLDER)

    def keep_best(self, checkpoint: Path, folder: Path) -> None:
        """Copy the adapter of the best checkpoint, if it has one, to a run."""
        for name in (ADAPTER_CONFIG, ADAPTER):
            if (checkpoint / name).is_file():
                shutil.copyfile(checkpoint / name, folder / name)
        if (folder / ADAPTER_FOLDER).is_dir():
            write_manifest(folder / ADAPTER_FOLDER)

    def load_state(self, merged: dict[str, torch.Tensor], folder: Path, model: MgVtcModel) -> None:
        """Load a checkpoint into a model with adapters or, once they are merged, its merged weights.

        Raises:
            FileNotFoundError: The checkpoint has no adapter.
        """
        if self._is_merged:
            model.load_state_dict(merged)
            return
        path = folder / ADAPTER
        if not path.is_file():
            raise FileNotFoundError(
                f"{folder} lacks {ADAPTER}, so the run would end with other weights. Resume from another "
                "checkpoint, or start again (`overwrite`)."
            )
        state = model.state_dict()
        for name, tensor in load_file(path).items():
            own = name.removeprefix(PREFIX)
            for matrix in MATRICES:
                own = own.replace(matrix, f"{matrix}{NAME}.")
            state[own].copy_(tensor)


def _list_named_towers(model: MgVtcModel, args: MgVtcTrainingArguments) -> list[str]:
    """Return the towers that get adapters.

    Raises:
        ValueError: One is missing, or is frozen as a whole.
    """
    towers = ["vision_model", "text_model"] if args.lora_towers == "both" else [f"{args.lora_towers}_model"]
    if model.config.vision_only and "text_model" in towers:
        raise ValueError(
            f"lora_towers is {args.lora_towers!r}, but a vision-only model has no text tower: set 'vision'."
        )
    for tower in towers:
        if getattr(args, f"freeze_{tower}"):
            raise ValueError(
                f"freeze_{tower} leaves nothing for lora_rank to train in this tower: leave one of them out."
            )
    return towers


def _list_layers(model: nn.Module) -> dict[str, Any]:
    """Return the layers with adapters by their names."""
    return {name: module for name, module in model.named_modules() if hasattr(module, "lora_A")}


def _is_of_matrix(name: str) -> bool:
    return any(matrix in name for matrix in MATRICES)

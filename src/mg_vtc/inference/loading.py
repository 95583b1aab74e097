"""Loading of a model from a folder, from the Hub or from memory."""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoImageProcessor, AutoTokenizer, BaseImageProcessor, PreTrainedTokenizerBase

from ..data.sources import check_source
from ..files import UNFINISHED
from ..models.configuration_mg_vtc import MgVtcConfig
from ..models.modeling_mg_vtc import MgVtcForImageClassification, MgVtcModel
from ..runs.directory import has_finished, list_checkpoints
from ..runs.manifest import check_files

Model = str | Path | MgVtcModel  # folder, Hub id, or loaded model
ALL_LOADED: dict[str, Any] = {"missing_keys": (), "unexpected_keys": (), "mismatched_keys": ()}


def open_model(
    model: Model, dtype: torch.dtype | str = "auto", *, processor: Any = None
) -> tuple[MgVtcModel, BaseImageProcessor]:
    """Load a model in evaluation mode, including its text tower, and its image processor.

    Args:
        model: Folder or Hub id of a model of this package, or a loaded one, which is used as it is.
        dtype: Type of the weights of a model that is not loaded yet; "auto" keeps the type of the checkpoint.
        processor: Processor of a loaded model; by default the one in the folder or repository the model came from.

    Raises:
        OSError: The model is not found.
        ValueError: The model type is not mg_vtc, its weights are damaged, or its processor is unknown.
    """
    if not isinstance(model, MgVtcModel):
        config = read_config(str(model))
        try:
            loaded, loading_info = MgVtcForImageClassification.from_pretrained(
                str(model), config=config, dtype=dtype, output_loading_info=True, ignore_mismatched_sizes=True
            )
        except SafetensorError as error:
            raise ValueError(
                f"The weights of {model} are damaged ({error}): copy them again, or use a checkpoint."
            ) from error
        loaded.eval().check_weights(loading_info)
        return loaded, _open_part(AutoImageProcessor, str(model), "image processor", backend="pil")
    if dtype != "auto" and model.dtype != dtype:
        raise ValueError(f"The weights of the model are {model.dtype}, but must be {dtype}: pass model.float().")
    model.eval().check_weights(ALL_LOADED)
    if processor is None:
        processor = _open_part(AutoImageProcessor, find_source(model), "image processor", backend="pil")
    return model, getattr(processor, "image_processor", processor)


def open_tokenizer(model: Model, processor: Any = None) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a model with a text tower; for arguments and errors see `open_model`."""
    return getattr(processor, "tokenizer", None) or _open_part(AutoTokenizer, find_source(model), "tokenizer")


def _open_part(auto_class: Any, source: str, part: str, **settings: Any) -> Any:
    """Load the image processor or the tokenizer of a model, and name the part that is missing."""
    try:
        return auto_class.from_pretrained(source, **settings)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise OSError(f"{source} has no {part} that can be loaded: copy its files again ({reason})") from error


def find_source(model: Model) -> str:
    """Return the folder or Hub id of a model, or the one that a loaded model came from.

    Raises:
        ValueError: A loaded model came from neither.
    """
    source = model.config.name_or_path if isinstance(model, MgVtcModel) else str(model)
    if not source:
        raise ValueError(
            "The model was built in Python, not loaded from a folder, so its processor is unknown: pass processor, "
            "such as trainer.processing_class, or save both and pass their folder."
        )
    return source


def name_model(model: Model) -> str:
    """Return the name of a model in results."""
    return (model.config.name_or_path or "a model in memory") if isinstance(model, MgVtcModel) else str(model)


def _refuse_folder_of_runs(folder: Path) -> None:
    """Refuse a folder that has no model of its own, but that of several runs or of a run that is not finished."""
    if checkpoints := list_checkpoints(folder):
        raise ValueError(
            f"{folder} holds a run that is not finished: finish it by its command with `resume_from_checkpoint` auto, "
            f"or pass a checkpoint, such as {checkpoints[-1]}."
        )
    runs = sorted(path.parent.name for path in folder.glob("*/config.json"))
    if runs := [run for run in runs if not run.endswith(UNFINISHED)]:
        raise ValueError(f"{folder} holds several runs and is not a model: pass one of {', '.join(runs)} in it.")


def read_config(model_id: str) -> MgVtcConfig:
    """Read the configuration of a model of this package without running code from its folder.

    Files of a folder are compared with its manifest first.

    Args:
        model_id: Folder or Hub id.

    Raises:
        OSError: The model is not found.
        ValueError: The model type is not mg_vtc, its configuration is invalid, or a file differs from the manifest.
    """
    check_source(model_id, "model")
    if not (Path(model_id) / "config.json").exists() and not has_finished(Path(model_id)):
        _refuse_folder_of_runs(Path(model_id))
    if (Path(model_id) / "adapter_config.json").exists():
        raise ValueError(
            f"{model_id} is an adapter, which holds no towers: pass the folder of its run, or open its base model in "
            "Python and add it with peft.PeftModel.from_pretrained(model, folder)."
        )
    check_files(Path(model_id))
    try:
        config = AutoConfig.from_pretrained(model_id)
    except ValueError as error:
        raise ValueError(f"The config.json of {model_id}: {error}") from error
    except OSError as error:
        if (Path(model_id) / "config.json").is_file():
            raise
        raise OSError(
            f"No model {model_id!r}: it is not a folder with a config.json, and was not found on the Hub. "
            "A private repository needs a token (HF_TOKEN, or `hf auth login`)."
        ) from error
    if config.model_type != "mg_vtc":
        raise ValueError(f"{model_id!r} is a model of type {config.model_type!r}; only mg_vtc models are supported.")
    return config

"""What every export begins and ends with: a model that is opened, and files that appear when all of them are right."""

from pathlib import Path

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, AutoImageProcessor, BaseImageProcessor

from ..data.lookup import check_source
from ..models.configuration_mg_vtc import MgVtcConfig
from ..models.modeling_mg_vtc import MgVtcForImageClassification


def open_model(
    model_id: str, dtype: torch.dtype | str = "auto"
) -> tuple[MgVtcForImageClassification, BaseImageProcessor]:
    """Open a model as a classifier in evaluation mode, text tower and all, and what prepares its pictures.

    Args:
        model_id: Folder or Hub id of a model of this package.
        dtype: Type of its weights, "auto" for that of the checkpoint.

    Raises:
        OSError: There is no such model within reach.
        ValueError: It is a model of another kind, or its weights are damaged.
    """
    config = read_config(model_id)
    model, loading_info = MgVtcForImageClassification.from_pretrained(
        model_id, config=config, dtype=dtype, output_loading_info=True, ignore_mismatched_sizes=True
    )
    model.eval().check_weights(loading_info)
    return model, AutoImageProcessor.from_pretrained(model_id, backend="pil")


def read_config(model_id: str) -> MgVtcConfig:
    """Read the configuration of a model of this package, whose own code is not run.

    Args:
        model_id: Folder or Hub id.

    Raises:
        OSError: There is no such model within reach.
        ValueError: It is a model of another kind.
    """
    check_source(model_id, "model")
    runs = sorted(path.parent.name for path in Path(model_id).glob("*-[0-9]*/config.json"))
    runs = [run for run in runs if not run.startswith("checkpoint-")]
    if runs and not (Path(model_id) / "config.json").exists():
        raise ValueError(f"{model_id} holds several runs and is not a model: give one of {', '.join(runs)} in it.")
    try:
        config = AutoConfig.from_pretrained(model_id)
    except StrictDataclassError as error:  # a check of the configuration, wrapped in the name of the check
        raise ValueError(f"The config.json of {model_id} cannot be used: {error.__cause__ or error}") from error
    except OSError as error:
        if (Path(model_id) / "config.json").is_file():
            raise
        raise OSError(
            f"There is no model {model_id!r}: no folder with a config.json, and nothing on a Hub within reach; "
            "a private repository needs a token (HF_TOKEN, or `hf auth login`)."
        ) from error
    if config.model_type != "mg_vtc":
        raise ValueError(f"{model_id!r} is a model of type {config.model_type!r}; only those of mg_vtc are used here.")
    return config

"""What every export begins and ends with: a model that is opened, and files that appear when all of them are right."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, AutoImageProcessor, BaseImageProcessor

from ..configuration_mg_vtc import MgVtcConfig
from ..hub.lookup import check_source
from ..modeling_mg_vtc import MgVtcForImageClassification


class ExportedFile(NamedTuple):
    """A file that was written.

    Args:
        name: Its name in the folder.
        num_bytes: Its size.
        difference: Largest absolute difference of its answers to those of the model, divided by the largest absolute
            answer; `None` for a file that answers nothing.
        agreement: Share of the images that did not calibrate for which the best class is the model's, in 0..1; int8
            alone.
        judged_on: How many images these are, and over how many classes the model spreads them; int8 alone.
    """

    name: str
    num_bytes: int
    difference: float | None = None
    agreement: float | None = None
    judged_on: tuple[int, int] | None = None


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


def check_destination(model_id: str, folder: Path, names: Sequence[str], *, overwrite: bool) -> None:
    """Make sure that no file would be lost; to be called before anything slow.

    Raises:
        ValueError: The folder is that of the model, or it has files of these names, and `overwrite` was not asked for.
    """
    if folder.resolve() == Path(model_id).resolve():
        raise ValueError(f"--out {folder} is the model itself, whose files would be lost: choose another folder.")
    present = [name for name in names if (folder / name).exists()]
    if present and not overwrite:
        raise ValueError(f"{folder} holds {', '.join(present)} already: choose another --out, or add --overwrite.")


@contextmanager
def write_when_right(folder: Path, names: Sequence[str]) -> Iterator[Path]:
    """Give a folder to write into, whose files move to `folder` once the block has ended without an error.

    Args:
        folder: Where the files go; made where it is not there.
        names: Files of an earlier export, which leave when the new ones have come.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        # within the folder, which may be on a disk of its own, so that a move is a renaming
        with tempfile.TemporaryDirectory(dir=folder, prefix=".export-") as staging:
            yield Path(staging)
            written = [path.name for path in Path(staging).iterdir()]
            for name in written:
                (Path(staging) / name).replace(folder / name)
            for name in set(names).difference(written):
                (folder / name).unlink(missing_ok=True)
    except BaseException:
        for path in missing:
            path.rmdir()
        raise

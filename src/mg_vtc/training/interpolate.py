"""Interpolation of the weights of two models (WiSE-FT)."""

import shutil
from pathlib import Path

import torch
from transformers import AutoConfig

from ..data.prompts import ClassTexts
from ..data.sources import check_source
from ..files import atomic_write_folder, check_destination
from ..inference.loading import open_model, open_tokenizer
from ..models.modeling_mg_vtc import MgVtcModel
from ..runs.directory import SPLIT
from ..runs.manifest import MANIFEST, OF_MODEL, write_manifest
from .starting_point import take_over

MODEL_FILES = ("config.json", "model.safetensors", "preprocessor_config.json", SPLIT, MANIFEST)


def interpolate(
    model_a: str | Path, model_b: str | Path, alpha: float, output_dir: str | Path, *, overwrite: bool = False
) -> Path:
    """Write a model whose weights are `1 - alpha` times those of one model and `alpha` times those of another.

    Source: Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022, equation 1.

    Args:
        model_a: Folder or Hub id of the start of a training: a model of this package, or a dual encoder such as CLIP.
        model_b: Folder or Hub id of the trained model, whose classes, processor and `split.json` are kept. Its
            temperature and threshold are not.
        alpha: Weight of the second, in [0, 1].
        output_dir: Folder to write to.
        overwrite: Whether files of an earlier interpolation may be replaced.

    Returns:
        `output_dir`.

    Raises:
        OSError: A model is not found.
        ValueError: The models have different towers, heads or classes, `alpha` is out of range, or files would be
            overwritten.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be in [0, 1], got {alpha}.")
    folder = Path(output_dir)
    for model in (model_a, model_b):
        check_destination(str(model), folder, MODEL_FILES, overwrite=overwrite)
    trained, image_processor = open_model(model_b, dtype=torch.float32)
    tokenizer = None if trained.config.vision_only else open_tokenizer(model_b)
    mix_weights(_open_start(str(model_a), trained, str(model_b)), trained, alpha)
    trained.config.reset_calibration()
    if tokenizer is not None:
        texts = ClassTexts(trained.config.class_texts, tokenizer, trained.device)
        trained.set_class_embeds(text_mask=texts.mask, **texts.inputs)
    with atomic_write_folder(folder, MODEL_FILES) as staging:
        trained.save_pretrained(staging)
        shutil.copymode(staging / "config.json", staging / "model.safetensors")  # else readable by its owner only
        image_processor.save_pretrained(staging)
        if tokenizer is not None:
            tokenizer.save_pretrained(staging)
        if (Path(model_b) / SPLIT).is_file():
            shutil.copyfile(Path(model_b) / SPLIT, staging / SPLIT)
        write_manifest(staging, (*OF_MODEL, SPLIT))
    return folder


def _open_start(name: str, trained: MgVtcModel, trained_name: str) -> MgVtcModel:
    """Return the model of the start, with the classes of the trained one.

    Raises:
        ValueError: The parameters of the two have different names or shapes.
    """
    check_source(name, "model")
    if AutoConfig.from_pretrained(name).model_type == "mg_vtc":
        start, _ = open_model(name, dtype=torch.float32)
    else:
        start, _ = take_over(name, [*trained.config.id2label.values()])
    own, other = ({key: tensor.shape for key, tensor in model.state_dict().items()} for model in (start, trained))
    if different := sorted(key for key in own.keys() | other.keys() if own.get(key) != other.get(key)):
        raise ValueError(
            f"{name} and {trained_name} are not of one kind: {len(different)} of their tensors differ in name or "
            f"shape, {different[0]!r} first. Weights are interpolated between the start of a training and its end."
        )
    if trained.config.vision_only and start.config.id2label != trained.config.id2label:
        raise ValueError(
            f"{name} and {trained_name} have other classes, and vision-only models learn their embeddings."
        )
    return start


@torch.no_grad()
def mix_weights(start: MgVtcModel, trained: MgVtcModel, alpha: float) -> None:
    """Replace the weights of a trained model by `alpha` times them and `1 - alpha` times those of the start."""
    weights = trained.state_dict()
    for name, tensor in start.state_dict().items():
        if tensor.is_floating_point():
            weights[name].lerp_(tensor, 1 - alpha)

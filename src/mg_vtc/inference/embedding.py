"""Embeddings and similarities of images and class texts, without gradients."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from datasets import Dataset
from torch.utils.data import DataLoader
from tqdm.auto import tqdm
from transformers import BaseImageProcessor

from ..data.dataset import ImageDataset
from ..data.decoding import collate_images, find_resizing, normalize
from ..data.prompts import ClassTexts, check_known
from ..models.configuration_mg_vtc import check_prompt_template
from ..models.modeling_mg_vtc import MgVtcModel
from .loading import Model, name_model, open_tokenizer


def predict_images(
    model: MgVtcModel,
    image_processor: BaseImageProcessor,
    rows: Dataset,
    text_embeds: torch.Tensor,
    *,
    batch_size: int,
    jpeg_draft: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Compare images with texts exactly as evaluation during training does.

    Args:
        model: Model in evaluation mode.
        image_processor: Source of size, mean and standard deviation.
        rows: Columns `image` and `label`.
        text_embeds: (num_texts, projection_dim).
        batch_size: Images per batch.
        jpeg_draft: See `decode`.

    Returns:
        Scaled similarities float32 (num_rows, num_texts) and embeddings float32 (num_rows, projection_dim).

    Raises:
        ValueError: An image cannot be decoded, or the processor does not resize to a square.
    """
    # as in the Trainer: other convolution kernels differ in the last digits
    model.vision_model.to(memory_format=torch.channels_last)
    images = ImageDataset(rows, find_resizing(image_processor), pixels=None, jpeg_draft=jpeg_draft)
    loader = DataLoader(images, batch_size, collate_fn=collate_images)
    logits, image_embeds = [], []
    for batch in tqdm(loader, desc="scoring", unit=" batches", disable=None):
        similarities, embeds = compare_images(model, image_processor, batch["pixel_values"], text_embeds)
        logits.append(similarities)
        image_embeds.append(embeds)
    return torch.cat(logits).numpy(), torch.cat(image_embeds).numpy()


def compare_images(
    model: MgVtcModel, image_processor: BaseImageProcessor, pixel_values: torch.Tensor, text_embeds: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compare a batch of images with texts.

    Args:
        model: Model in evaluation mode.
        image_processor: Source of mean and standard deviation.
        pixel_values: uint8 (batch_size, 3, height, width), channels last in memory.
        text_embeds: (num_texts, projection_dim).

    Returns:
        Scaled similarities float32 (batch_size, num_texts) and embeddings float32 (batch_size, projection_dim), on
        the CPU.
    """
    pixel_values = pixel_values.to(model.device)
    with torch.no_grad():
        pixel_values = normalize(pixel_values, image_processor.image_mean, image_processor.image_std)
        embeds = _embed(model, model.get_image_features(pixel_values).pooler_output)  # (batch_size, projection_dim)
        return model.compare(embeds, text_embeds).float().cpu(), embeds.float().cpu()


def embed_classes(model: MgVtcModel, model_ids: np.ndarray) -> torch.Tensor:
    """Return the saved class embeddings of the given class ids (num_classes, projection_dim)."""
    with torch.no_grad():
        return _embed(model, model.class_embeds[torch.from_numpy(model_ids).to(model.device)])


def embed_names(
    model: MgVtcModel, source: Model, names: list[str], prompt_template: str | Sequence[str], *, processor: Any = None
) -> torch.Tensor:
    """Encode any class names with the text tower (num_names, projection_dim).

    Args:
        model: Model in evaluation mode.
        source: Folder or Hub id that the model came from, or the model itself.
        names: One or more names.
        prompt_template: Prompt of a class, with `{}` for its name; with several, embeddings are their mean.
        processor: See `open_model`.

    Raises:
        ValueError: The model is vision-only, the template has no `{}`, or two prompts are equal to the model.
    """
    if model.config.vision_only:
        raise ValueError(
            f"{name_model(source)} is vision-only: without a text tower it predicts its own classes only. It "
            "cannot be compared with other names."
        )
    templates = [prompt_template] if isinstance(prompt_template, str) else list(prompt_template)
    for template in templates:
        check_prompt_template(template)
    tokenizer = open_tokenizer(source, processor)
    check_known(names, tokenizer)
    prompts = [[template.replace("{}", name) for template in templates] for name in names]
    texts = ClassTexts(prompts, tokenizer, model.device)
    with torch.no_grad():
        embeds = _embed(model, model.get_text_features(**texts.inputs).pooler_output)  # (num_texts, projection_dim)
        if texts.mask is not None:
            embeds = model.average_texts(embeds.view(*texts.mask.shape, -1), texts.mask)
    texts.check_apart(embeds)
    return embeds


def _embed(model: MgVtcModel, features: torch.Tensor) -> torch.Tensor:
    return F.normalize(features, dim=-1) if model.config.normalize else features

"""Parts of the model: encoders of images and texts, projection heads and the output class."""

import functools
import inspect
import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
import transformers
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint
from transformers import MODEL_MAPPING, AutoModel, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils import ModelOutput, is_timm_available

from .configuration_mg_vtc import MgVtcConfig
from .modeling_alexnet import AlexNetModel

MOMENTUM = 0.1  # of batch norm, as by default in PyTorch
DUAL_ENCODERS = ("clip", "metaclip_2", "chinese_clip", "siglip")
NAFLEX = (
    "SigLIP 2 with images of any aspect ratio (NaFlex) is not supported: choose a checkpoint of fixed resolution, "
    "such as google/siglip2-base-patch16-224."
)


@dataclass
class MgVtcOutput(ModelOutput):
    """Output of `MgVtcModel` for B images and T texts or, without texts, the T classes.

    Args:
        logits_per_image: Scaled similarities of images and texts, `(B, T)`.
        logits_per_text: Their transpose, `(T, B)`.
        text_embeds: Embeddings of the texts, `(T, projection_dim)`, of L2 norm 1 if `config.normalize`.
        image_embeds: Embeddings of the images, `(B, projection_dim)`, likewise.
        text_model_output: Output of `MgVtcModel.get_text_features`, if texts were given.
        vision_model_output: Output of `MgVtcModel.get_image_features`.
    """

    logits_per_image: torch.Tensor | None = None
    logits_per_text: torch.Tensor | None = None
    text_embeds: torch.Tensor | None = None
    image_embeds: torch.Tensor | None = None
    text_model_output: BaseModelOutputWithPooling | None = None
    vision_model_output: BaseModelOutputWithPooling | None = None

    def to_tuple(self) -> tuple[Any, ...]:
        return tuple(value.to_tuple() if isinstance(value, ModelOutput) else value for value in self.values())


def build_tower(config: PretrainedConfig, input_name: str, *, pooled: bool = True) -> PreTrainedModel:
    """Build the encoder of a configuration with random weights.

    Args:
        config: Configuration of any `AutoModel` encoder, of half of a dual encoder, or of AlexNet.
        input_name: Its required input, "pixel_values" or "input_ids".
        pooled: Whether its own pooled state is used; without it, a pooling layer would be parameters without gradient.

    Raises:
        OSError: It is a model of timm, which is not installed.
        ValueError: It takes another input, or patches of images of any aspect ratio.
    """
    if config.model_type == "siglip2_vision_model":
        raise ValueError(NAFLEX)
    if config.model_type == "timm_wrapper" and not is_timm_available():
        raise OSError('A tower of this model is one of timm, which is not installed: pip install "mg-vtc[timm]".')
    model_class = _find_class(config)
    if model_class is None:
        tower = AutoModel.from_config(config)  # or its error
    else:
        has_layer = "add_pooling_layer" in inspect.signature(model_class.__init__).parameters
        settings = {} if pooled or not has_layer else {"add_pooling_layer": False}
        tower = model_class._from_config(config, **settings)
    if tower.main_input_name != input_name:
        raise ValueError(
            f"{type(tower).__name__} takes {tower.main_input_name!r}, but this tower must take {input_name!r}: "
            "the first tower is for images, the second for texts."
        )
    return correct_momentum(tower)


def correct_momentum(tower: PreTrainedModel) -> PreTrainedModel:
    """Give batch norm the default momentum of PyTorch where it has that of TensorFlow, and return the tower.

    To TensorFlow, momentum is the weight of the past, such as 0.99; to PyTorch, it is that of a new batch.
    EfficientNet, MobileNetV1 and MobileNetV2 of transformers pass on the first as the second. The running statistics,
    with which a trained model is used, would be those of the last batch alone.
    """
    for module in tower.modules():
        if isinstance(module, _BatchNorm) and module.momentum is not None and module.momentum > 0.5:
            module.momentum = MOMENTUM
    return tower


def _find_class(config: PretrainedConfig) -> Any:
    """Return the class of an encoder: ours, that of `AutoModel`, or half of a dual encoder, which it may not list."""
    if config.model_type == "alexnet":  # `AutoModel` does not know it without the package
        return AlexNetModel
    found = MODEL_MAPPING.get(type(config), None)
    if found is None:
        return getattr(transformers, f"{type(config).__name__.removesuffix('Config')}Model", None)
    return found[0] if isinstance(found, tuple) else found


def build_projection(width: int, config: MgVtcConfig) -> nn.Module:
    """Build the projection head of a tower.

    Args:
        width: Width of the pooled state of the tower.
        config: Kind and width of the head.

    Raises:
        ValueError: There is no head, and the width is not that of the shared embedding space.
    """
    if config.projection == "linear":
        return nn.Linear(width, config.projection_dim, bias=False)
    if config.projection == "mlp":
        return MgVtcProjectionHead(width, config)
    if width != config.projection_dim:
        raise ValueError(
            f"projection 'none' needs towers of width {config.projection_dim} (projection_dim), but one has {width}: "
            "choose projection 'linear' or 'mlp'."
        )
    return nn.Identity()


class MgVtcProjectionHead(nn.Module):
    """Projection head of the method: Linear -> GELU -> Linear -> Dropout, plus the first Linear, LayerNorm."""

    def __init__(self, input_dim: int, config: MgVtcConfig):
        super().__init__()
        self.projection = nn.Linear(input_dim, config.projection_dim)
        self.activation = nn.GELU()
        self.linear = nn.Linear(config.projection_dim, config.projection_dim)
        self.dropout = nn.Dropout(config.projection_dropout)
        self.layer_norm = nn.LayerNorm(config.projection_dim)

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        projected = self.projection(pooled)  # (batch_size, projection_dim)
        residual = self.dropout(self.linear(self.activation(projected)))
        return self.layer_norm(projected + residual)


def read_dual_encoder(parent: Any) -> dict[str, Any]:
    """Return the fields of `MgVtcConfig` of a dual encoder, besides those of its towers.

    Args:
        parent: Model of one of the families of `DUAL_ENCODERS`.

    Raises:
        ValueError: It is of another family.
    """
    family = parent.config.model_type
    if family == "siglip2":  # those of fixed resolution are "siglip"
        raise ValueError(NAFLEX)
    if family not in DUAL_ENCODERS:
        raise ValueError(
            f"A {family!r} model cannot be taken over as a dual encoder, only {', '.join(DUAL_ENCODERS)}: its "
            "halves are not known."
        )
    is_siglip = family == "siglip"
    scale = parent.logit_scale.item()
    return {
        "projection": "none" if is_siglip else "linear",
        "projection_dim": parent.config.text_config.projection_size if is_siglip else parent.config.projection_dim,
        "text_pooling": "cls" if family == "chinese_clip" else "auto",
        "text_length": parent.config.text_config.max_position_embeddings if is_siglip else None,
        "logit_scale_init_value": scale,
        "max_logit_scale": max(100.0, 1.01 * math.exp(scale)),  # the learned scale of SigLIP is larger
        "use_logit_bias": is_siglip,
    }


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put all modules into evaluation mode for a block, then restore the mode of each."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def _keeping_statistics(tower: nn.Module) -> Iterator[None]:
    """Keep running statistics of batch norm as they are in a block, which trains on what they have seen already."""
    norms: list[Any] = [
        module for module in tower.modules() if isinstance(module, _BatchNorm) and module.track_running_stats
    ]
    kept = [(norm, norm.momentum, norm.num_batches_tracked.clone()) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum, num_batches in kept:
            norm.momentum = momentum
            norm.num_batches_tracked.copy_(num_batches)


def encode_images(tower: PreTrainedModel, chunk_size: int | None, pixel_values: torch.Tensor, **kwargs: Any) -> Any:
    """Return the output of a vision tower.

    With gradients, more images than `chunk_size` are encoded in chunks of equal size, up to one image. Their
    activations are recomputed in the backward pass, so a large batch needs the memory of a chunk, for one more forward
    pass. Value and gradient are those of the whole batch, except that batch norm takes its statistics from a chunk.

    Source: Gao et al., "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup", RepL4NLP 2021.

    Args:
        tower: Vision encoder.
        chunk_size: Largest number of images in a chunk; `None` encodes all at once.
        pixel_values: Normalized images, `(batch_size, num_channels, height, width)`.
        kwargs: Passed to the tower, such as `output_hidden_states=True`.

    Returns:
        Output of the tower; of chunks, only its `pooler_output`.
    """
    if chunk_size is None or len(pixel_values) <= chunk_size or not torch.is_grad_enabled():
        return tower(pixel_values=pixel_values, return_dict=True, **kwargs)

    def pool(chunk: torch.Tensor) -> torch.Tensor:
        return tower(pixel_values=chunk, return_dict=True, **kwargs).get("pooler_output")

    def contexts() -> tuple[Any, Any]:
        return nullcontext(), _keeping_statistics(tower)

    num_chunks = -(-len(pixel_values) // chunk_size)
    pooled = [
        checkpoint(pool, chunk, use_reentrant=False, context_fn=contexts)
        for chunk in pixel_values.tensor_split(num_chunks)
    ]
    return BaseModelOutputWithPooling(pooler_output=None if pooled[0] is None else torch.cat(pooled))


def encode_texts(
    tower: PreTrainedModel, config: MgVtcConfig, chunk_size: int | None, **inputs: Any
) -> BaseModelOutputWithPooling:
    """Return the output of a text tower, pooled as `config.text_pooling` says.

    Args:
        tower: Text encoder.
        config: Pooling and padding of texts.
        chunk_size: Number of texts that are encoded at a time. Activations are recomputed in the backward pass, and
            only pooled states are returned. `None` encodes all texts at once.
        inputs: `input_ids` and `attention_mask`, both `(batch_size, sequence_length)`, and others that it takes.

    Returns:
        Output with `pooler_output` `(batch_size, width)`.

    Raises:
        ValueError: A text is longer than `config.text_length`.
    """
    if config.text_length is not None:
        text_config: Any = config.text_config
        pad_values = {"input_ids": text_config.pad_token_id, "attention_mask": 0, "token_type_ids": 0}
        inputs |= {
            name: pad_texts(inputs[name], value, config)
            for name, value in pad_values.items()
            if inputs.get(name) is not None
        }
    if chunk_size is None or len(inputs["input_ids"]) <= chunk_size:
        return _encode_texts(tower, config.text_pooling, **inputs)
    num_texts, pooled = len(inputs["input_ids"]), []
    for start in range(0, num_texts, chunk_size):
        chunk = {
            name: value[start : start + chunk_size] if torch.is_tensor(value) and len(value) == num_texts else value
            for name, value in inputs.items()
        }
        outputs = checkpoint(
            functools.partial(_encode_texts, tower, config.text_pooling, **chunk), use_reentrant=False
        )
        pooled.append(outputs.pooler_output)  # (chunk_size, width)
    return BaseModelOutputWithPooling(pooler_output=torch.cat(pooled))


def pad_texts(tokens: torch.Tensor, value: int, config: MgVtcConfig) -> torch.Tensor:
    """Pad token ids or a mask `(batch_size, sequence_length)` to `(batch_size, config.text_length)`.

    Raises:
        ValueError: They are longer.
    """
    assert config.text_length is not None
    missing = config.text_length - tokens.shape[1]
    if missing < 0:
        raise ValueError(
            f"A text has {tokens.shape[1]} tokens, but this text tower was trained with {config.text_length}: "
            "shorten it."
        )
    sides = (0, missing) if config.text_padding_side == "right" else (missing, 0)
    return F.pad(tokens, sides, value=value)


def _encode_texts(tower: PreTrainedModel, pooling: str, **inputs: Any) -> BaseModelOutputWithPooling:
    outputs = tower(return_dict=True, **inputs)
    pooled = outputs.get("pooler_output")
    if pooling != "auto" or pooled is None:
        pooled = pool_texts(outputs.last_hidden_state, "cls" if pooling == "auto" else pooling, tower.config, **inputs)
    return BaseModelOutputWithPooling(
        last_hidden_state=outputs.last_hidden_state,
        pooler_output=pooled,
        hidden_states=outputs.get("hidden_states"),
        attentions=outputs.get("attentions"),
    )


def pool_texts(
    states: torch.Tensor,
    pooling: str,
    config: PretrainedConfig,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    **inputs: Any,
) -> torch.Tensor:
    """Pool the states of texts `(batch_size, sequence_length, width)` to `(batch_size, width)`.

    Args:
        states: Last hidden states of the text tower.
        pooling: "cls", "mean", "eos" or "last", see `MgVtcConfig`.
        config: Configuration of the text tower, for its `eos_token_id`.
        input_ids: Token ids, `(batch_size, sequence_length)`.
        attention_mask: 1 for tokens, 0 for padding, `(batch_size, sequence_length)`; by default no padding.
        inputs: Other inputs of the tower, which pooling does not need.
    """
    if pooling == "cls":
        return states[:, 0]
    mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask  # (batch_size, sequence_length)
    if pooling == "mean":
        weights = mask[:, :, None].to(states.dtype)  # (batch_size, sequence_length, 1)
        return (states * weights).sum(dim=1) / weights.sum(dim=1)
    if pooling == "eos":
        position = (input_ids == config.eos_token_id).int().argmax(dim=1)  # (batch_size,)
    else:
        places = torch.arange(1, mask.shape[1] + 1, device=mask.device)  # (sequence_length,)
        position = (mask * places).argmax(dim=1)  # (batch_size,), whichever side is padded
    return states[torch.arange(len(states), device=states.device), position]


def project(outputs: ModelOutput, head: nn.Module) -> BaseModelOutputWithPooling:
    """Return the output of a tower with its pooled state projected.

    Args:
        outputs: Output of a tower, with `pooler_output` `(batch_size, width)` or, as ResNet's,
            `(batch_size, width, 1, 1)`.
        head: Its projection head.

    Returns:
        Output with `pooler_output` `(batch_size, projection_dim)`; fields that the tower lacks are `None`.
    """
    return BaseModelOutputWithPooling(
        last_hidden_state=outputs.last_hidden_state,
        pooler_output=head(outputs.pooler_output.flatten(1)),  # (batch_size, projection_dim)
        hidden_states=outputs.get("hidden_states"),
        attentions=outputs.get("attentions"),
    )

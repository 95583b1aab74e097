"""The micro-gesture vision-text contrastive model: two towers, two projection heads, one matrix of similarities.

* Towers are any `AutoModel` encoders (default ResNet50 and DistilBERT), each followed by a projection head to D.
* `MgVtcModel` compares images with texts, `MgVtcForImageClassification` with the saved `class_embeds` of the class
  prompts. Both have the same parameters, so they share one checkpoint. `MgVtcTrainer` computes the loss.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import AutoModel, PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutputWithPooling, ImageClassifierOutput
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs
from transformers.utils.generic import can_return_tuple

from .configuration_mg_vtc import MgVtcConfig, pooled_dim
from .modeling_tower import (
    MgVtcOutput,
    build_projection,
    build_tower,
    correct_momentum,
    encode_images,
    encode_texts,
    evaluating,
    project,
    read_dual_encoder,
)


class MgVtcPreTrainedModel(PreTrainedModel):
    config: MgVtcConfig
    base_model_prefix = "mg_vtc"
    main_input_name = "pixel_values"
    input_modalities: tuple[str, ...] = ("image", "text")
    supports_gradient_checkpointing = True
    accepts_loss_kwargs = False  # a loss of this model is a mean over a batch, not a sum over `num_items_in_batch`
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Initialize the projection heads, the scale and `class_embeds`; towers initialize themselves."""
        if isinstance(module, nn.Linear):  # torch's default, which the method uses
            init.kaiming_uniform_(module.weight, a=math.sqrt(5))
            if module.bias is not None:
                bound = 1 / math.sqrt(module.in_features)
                init.uniform_(module.bias, -bound, bound)
        elif isinstance(module, nn.LayerNorm):
            init.ones_(module.weight)
            init.zeros_(module.bias)
        elif isinstance(module, MgVtcModel):
            init.constant_(module.logit_scale, self.config.logit_scale_init_value)
            init.normal_(module.class_embeds)
            if self.config.use_logit_bias:
                init.zeros_(module.logit_bias)


class MgVtcModel(MgVtcPreTrainedModel):
    """Dual encoder of images and texts with a shared embedding space of width `projection_dim`.

    Attributes:
        class_embeds: Embeddings of the class prompts, `(num_labels, projection_dim)`: random until
            `set_class_embeds` fills them; a learned table if `config.vision_only`.
        logit_scale: Natural logarithm of the scale of the logits, 0-d.
        logit_bias: Bias of the logits, 0-d, if `config.use_logit_bias`.
        image_chunk_size, text_chunk_size: Images and texts that are encoded at a time, `None` for all.
    """

    class_embeds: torch.Tensor
    image_chunk_size: int | None = None
    text_chunk_size: int | None = None

    def __init__(self, config: MgVtcConfig):
        super().__init__(config)
        self.vision_model = build_tower(config.vision_config, "pixel_values")
        self.vision_projection = build_projection(pooled_dim(config.vision_config), config)

        class_embeds = torch.empty(config.num_labels, config.projection_dim)
        if config.vision_only:
            self.class_embeds = nn.Parameter(class_embeds)
        else:
            self.text_model = build_tower(config.text_config, "input_ids", pooled=config.text_pooling == "auto")
            self.text_projection = build_projection(pooled_dim(config.text_config), config)
            self.register_buffer("class_embeds", class_embeds)

        logit_scale = torch.tensor(float(config.logit_scale_init_value))
        if config.learn_logit_scale:
            self.logit_scale = nn.Parameter(logit_scale)
        else:
            self.register_buffer("logit_scale", logit_scale)
        if config.use_logit_bias:
            self.logit_bias = nn.Parameter(torch.zeros(()))

        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        tower = self.vision_model if self.config.vision_only else self.text_model
        return tower.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        tower = self.vision_model if self.config.vision_only else self.text_model
        tower.set_input_embeddings(value)

    @can_return_tuple
    def get_image_features(
        self, pixel_values: torch.Tensor, **kwargs: Unpack[TransformersKwargs]
    ) -> BaseModelOutputWithPooling:
        """Encode images.

        Args:
            pixel_values: Normalized images, `(batch_size, num_channels, height, width)`.
            kwargs: Passed to the vision tower, such as `output_hidden_states=True`.

        Returns:
            The tower's output, with `pooler_output` projected: `(batch_size, projection_dim)`, not yet of norm 1.

        Raises:
            ValueError: The tower gives no pooled state.
        """
        outputs = encode_images(self.vision_model, self.image_chunk_size, pixel_values, **kwargs)
        if outputs.get("pooler_output") is None:
            raise ValueError(
                f"{type(self.vision_model).__name__} gives no pooled state, so it cannot be the vision "
                "tower. Choose an encoder with one, such as resnet, vit or convnext."
            )
        return project(outputs, self.vision_projection)

    @can_return_tuple
    def get_text_features(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, **kwargs: Unpack[TransformersKwargs]
    ) -> BaseModelOutputWithPooling:
        """Encode texts.

        Args:
            input_ids: Token ids, `(batch_size, sequence_length)`.
            attention_mask: 1 for tokens, 0 for padding, `(batch_size, sequence_length)`.
            kwargs: Passed to the text tower, such as `token_type_ids` or `output_hidden_states=True`.

        Returns:
            The tower's output, with `pooler_output` projected: `(batch_size, projection_dim)`, not yet of norm 1.

        Raises:
            ValueError: The model is vision-only, or a text is longer than `config.text_length`.
        """
        return project(self._encode_texts(input_ids, attention_mask=attention_mask, **kwargs), self.text_projection)

    @torch.no_grad()
    def get_text_states(self, input_ids: torch.Tensor, **text_inputs: torch.Tensor) -> torch.Tensor:
        """Return the pooled states of the text tower before projection, without dropout.

        Args:
            input_ids: As for `MgVtcModel.get_text_features`.
            text_inputs: Other outputs of the tokenizer, such as `attention_mask`.

        Returns:
            `(batch_size, width of the tower)`, which `forward` takes instead of texts.
        """
        with evaluating(self):
            return self._encode_texts(input_ids, **text_inputs).pooler_output

    def _encode_texts(self, input_ids: torch.Tensor, **inputs: Any) -> BaseModelOutputWithPooling:
        if self.config.vision_only:
            raise ValueError("This model is vision-only: it has no text tower, so it only scores its own classes.")
        return encode_texts(self.text_model, self.config, self.text_chunk_size, input_ids=input_ids, **inputs)

    def _embed(self, features: torch.Tensor) -> torch.Tensor:
        return F.normalize(features, dim=-1) if self.config.normalize else features

    def average_texts(self, text_embeds: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the embeddings of classes that have several texts.

        Args:
            text_embeds: Embeddings of K texts a class, `(num_classes, K, projection_dim)`.
            mask: True for texts, False for padding, `(num_classes, K)`.

        Returns:
            Means, of norm 1 if the model normalizes: `(num_classes, projection_dim)`.
        """
        sums = (text_embeds * mask[:, :, None]).sum(dim=1)  # (num_classes, projection_dim)
        return self._embed(sums / mask.sum(dim=1, keepdim=True))

    def compare(self, image_embeds: torch.Tensor, text_embeds: torch.Tensor) -> torch.Tensor:
        """Return scaled similarities `(B, T)` of `(B, D)` and `(T, D)`, divided by `config.logit_temperature`."""
        temperature = self.config.logit_temperature
        scale = self.logit_scale.clamp(max=math.log(self.config.max_logit_scale)).exp() / temperature
        logits = scale * image_embeds @ text_embeds.T
        return logits + self.logit_bias / temperature if self.config.use_logit_bias else logits

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.Tensor,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
        text_states: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> MgVtcOutput:
        """Compare each image with each text or, without texts, with each class.

        Args:
            pixel_values: As for `MgVtcModel.get_image_features`.
            input_ids: As for `MgVtcModel.get_text_features`; without them `class_embeds` are the texts.
            attention_mask: As for `MgVtcModel.get_text_features`.
            position_ids: Positions, `(text_batch_size, sequence_length)`.
            token_type_ids: Segments, `(text_batch_size, sequence_length)`, for towers that have any.
            text_states: Output of `get_text_states` for the texts, instead of the texts.
            kwargs: Passed to both towers, such as `output_hidden_states=True`.

        Returns:
            `MgVtcOutput`, or a tuple of its fields with `return_dict=False`.
        """
        vision_outputs = self.get_image_features(pixel_values, return_dict=True, **kwargs)
        image_embeds = self._embed(vision_outputs.pooler_output)  # (image_batch_size, projection_dim)
        text_outputs, text_embeds = None, self.class_embeds  # (num_labels, projection_dim)
        if input_ids is not None:
            text_inputs = {"position_ids": position_ids, "token_type_ids": token_type_ids}
            kwargs |= {name: value for name, value in text_inputs.items() if value is not None}
            text_outputs = self.get_text_features(input_ids, attention_mask, return_dict=True, **kwargs)
            text_embeds = text_outputs.pooler_output  # (text_batch_size, projection_dim)
        elif text_states is not None:
            text_embeds = self.text_projection(text_states)
        text_embeds = self._embed(text_embeds)
        logits_per_image = self.compare(image_embeds, text_embeds)
        return MgVtcOutput(
            logits_per_image=logits_per_image,
            logits_per_text=logits_per_image.T,
            text_embeds=text_embeds,
            image_embeds=image_embeds,
            text_model_output=text_outputs,
            vision_model_output=vision_outputs,
        )

    @torch.no_grad()
    def clamp_logit_scale(self) -> None:
        """Clamp the parameter to its range; call it before or after each step, as CLIP does.

        `forward` clamps the scale, too, but a parameter outside of the range gets no gradient.
        """
        self.logit_scale.clamp_(max=math.log(self.config.max_logit_scale))

    @torch.no_grad()
    def set_class_embeds(
        self,
        text_states: torch.Tensor | None = None,
        text_mask: torch.Tensor | None = None,
        **text_inputs: torch.Tensor,
    ) -> None:
        """Compute the embeddings of the class texts without dropout and store them in `class_embeds`.

        Args:
            text_states: Output of `get_text_states` for the texts, in the order of the classes: `(num_texts, width)`.
            text_mask: With K texts a class, `(num_labels, K)`: True for texts, False for padding. By default a class
                has one text.
            text_inputs: Or outputs of the tokenizer for the texts, each `(num_texts, sequence_length)`.

        Raises:
            ValueError: The number of texts is not that of the classes, times K, or the model is vision-only.
        """
        if text_states is None:
            text_states = self.get_text_states(**text_inputs)
        expected = self.config.num_labels if text_mask is None else text_mask.numel()
        if len(text_states) != expected:
            raise ValueError(
                f"got {len(text_states)} texts for {self.config.num_labels} classes, where {expected} are expected: "
                "give one for each class, or a text_mask."
            )
        with evaluating(self):
            embeds = self._embed(self.text_projection(text_states))  # (num_texts, projection_dim)
        if text_mask is not None:
            embeds = self.average_texts(embeds.view(*text_mask.shape, -1), text_mask)
        self.class_embeds.copy_(embeds)

    def check_weights(self, loading_info: dict[str, Any]) -> None:
        """Refuse incomplete or damaged weights, which transformers would complete with random ones.

        Args:
            loading_info: Second output of `from_pretrained(..., output_loading_info=True)`.

        Raises:
            ValueError: Tensors are missing, too many, of another shape or not finite, or a class has no embedding.
        """
        found = {
            "missing": sorted(loading_info["missing_keys"]),
            "not of this model": sorted(loading_info["unexpected_keys"]),
            "of another shape": sorted(key[0] for key in loading_info["mismatched_keys"]),  # with both shapes
            "not finite": [name for name, tensor in self.state_dict().items() if not tensor.isfinite().all()],
        }
        errors = [f"{what}: {', '.join([*names[:3], '...'][: len(names)])}" for what, names in found.items() if names]
        if errors:
            raise ValueError(
                f"The weights of {self.config.name_or_path or 'the model'} are damaged or of another model. Tensors "
                f"{'; '.join(errors)}. Copy them again, or use a checkpoint."
            )
        empty = [self.config.id2label[i] for i in (self.class_embeds == 0).all(dim=-1).nonzero()[:, 0].tolist()]
        if empty:
            raise ValueError(
                f"{len(empty)} of {self.config.num_labels} classes have no embedding, {empty[0]!r} first: save the "
                "model with a trainer, or call set_class_embeds before saving it."
            )

    @classmethod
    def from_vision_text_pretrained(
        cls, vision: str | PreTrainedModel, text: str | PreTrainedModel | None = None, **config: Any
    ) -> "MgVtcModel":
        """Build a model from two towers; its projection heads, scale and class embeddings are untrained.

        Args:
            vision: Vision encoder, or the Hub id or folder of one.
            text: Text encoder, or the Hub id or folder of one; `None` with `vision_only=True`.
            config: Fields of `MgVtcConfig`, such as `id2label=...`.

        Raises:
            ValueError: A tower has no pooled state, or reads the wrong kind of input.
            OSError: A tower cannot be found.
        """
        vision_model: Any = AutoModel.from_pretrained(vision) if isinstance(vision, str) else vision
        text_model: Any = AutoModel.from_pretrained(text) if isinstance(text, str) else text
        text_config = text_model.config if text_model else None
        model = cls(MgVtcConfig.from_vision_text_configs(vision_model.config, text_config, **config))
        model.vision_model = correct_momentum(vision_model)
        if text_model:
            if model.config.text_pooling != "auto" and getattr(text_model, "pooler", None) is not None:
                text_model.pooler = None  # not used, so not trained
            model.text_model = text_model
        return model.float()  # float32 parameters for the optimizer

    @classmethod
    def from_dual_encoder(cls, parent: str | PreTrainedModel, **config: Any) -> "MgVtcModel":
        """Take over a dual encoder: its towers, projection heads, scale and bias; class embeddings are untrained.

        Logits of images and texts are the parent's. They are similarities for a softmax over names, also for SigLIP,
        which was trained with a sigmoid.

        Args:
            parent: CLIP, MetaCLIP 2, Chinese-CLIP or SigLIP model (SigLIP 2 of fixed resolution included), or the Hub
                id or folder of one.
            config: Fields of `MgVtcConfig`, such as `id2label=...`; those of the parent are taken over.

        Raises:
            ValueError: The model is not such a dual encoder, or a field that it sets is given.
            OSError: The model cannot be found.
        """
        source: Any = AutoModel.from_pretrained(parent) if isinstance(parent, str) else parent
        inherited = read_dual_encoder(source)
        if given := sorted(inherited.keys() & config.keys()):
            raise ValueError(f"{', '.join(given)} is that of the dual encoder: leave it out.")
        settings = inherited | config
        model = cls(
            MgVtcConfig.from_vision_text_configs(source.vision_model.config, source.text_model.config, **settings)
        )
        model.vision_model, model.text_model = source.vision_model, source.text_model
        if isinstance(parent, str):  # where the processor is
            source.vision_model.config.name_or_path = source.text_model.config.name_or_path = parent
        if settings["projection"] == "linear":
            model.vision_projection, model.text_projection = source.visual_projection, source.text_projection
        with torch.no_grad():
            model.logit_scale.copy_(source.logit_scale.reshape(()))
            if settings["use_logit_bias"]:
                model.logit_bias.copy_(source.logit_bias.reshape(()))
        return model.float()


class MgVtcForImageClassification(MgVtcModel):
    """Image classifier by `class_embeds`, which does not run the text tower. It has the parameters of `MgVtcModel`."""

    input_modalities: tuple[str, ...] = ("image",)

    @can_return_tuple
    def forward(
        self, pixel_values: torch.Tensor, labels: torch.Tensor | None = None, **kwargs: Unpack[TransformersKwargs]
    ) -> ImageClassifierOutput:
        """Score each image against each class.

        Args:
            pixel_values: Normalized images, `(batch_size, num_channels, height, width)`.
            labels: Class ids, `(batch_size,)`; with them `loss` is the cross-entropy.
            kwargs: Passed to the vision tower, such as `output_hidden_states=True`.

        Returns: `logits` of shape `(batch_size, num_labels)`.
        """
        outputs = self.get_image_features(pixel_values, return_dict=True, **kwargs)
        logits = self.compare(self._embed(outputs.pooler_output), self._embed(self.class_embeds))
        return ImageClassifierOutput(
            loss=None if labels is None else F.cross_entropy(logits.float(), labels),
            logits=logits,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )


__all__ = ["MgVtcForImageClassification", "MgVtcModel", "MgVtcPreTrainedModel"]

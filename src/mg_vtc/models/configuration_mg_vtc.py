"""Configuration of the micro-gesture vision-text contrastive model."""

import math
from typing import Any

from huggingface_hub.dataclasses import strict
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, PretrainedConfig
from transformers.configuration_utils import SubConfigSpec

from .configuration_alexnet import AlexNetConfig

PROJECTIONS = ("mlp", "linear", "none")
TEXT_POOLINGS = ("auto", "cls", "mean", "eos", "last")
NONE_OF_THESE = "none of these"  # prediction of an image whose best score is below the threshold
# Classes that open a saved folder, with the package or with `trust_remote_code=True`.
AUTO_MAP = {
    "AutoConfig": "configuration_mg_vtc.MgVtcConfig",
    "AutoModel": "modeling_mg_vtc.MgVtcModel",
    "AutoModelForZeroShotImageClassification": "modeling_mg_vtc.MgVtcModel",
    "AutoModelForImageClassification": "modeling_mg_vtc.MgVtcForImageClassification",
}


def pooled_dim(tower_config: PretrainedConfig) -> int:
    """Return the width of the pooled state of a tower.

    Args:
        tower_config: Configuration of any `AutoModel` vision or text encoder.

    Raises:
        ValueError: The configuration states no width, like that of a dual encoder.
    """
    # MobileViT; text tower of SigLIP; BERT, ViT and most others; convolutional encoders, a width a stage;
    # EfficientNet; timm
    for name in ("neck_hidden_sizes", "projection_size", "hidden_size", "hidden_sizes", "hidden_dim", "num_features"):
        width = getattr(tower_config, name, None)
        if width is not None:
            return int(width[-1] if isinstance(width, list | tuple) else width)
    raise ValueError(
        f"A {tower_config.model_type!r} model cannot be a tower: its configuration does not state the width of its "
        "pooled state. Choose an encoder with one, such as resnet, vit or convnext for images, distilbert or bert "
        "for texts."
    )


def check_prompt_template(template: str) -> None:
    """Check that a template has one `{}` for the class name and no other braces, which the pipelines would fill.

    Raises:
        ValueError: It has not.
    """
    if template.count("{}") != 1 or set("{}") & set(template.replace("{}", "")):
        raise ValueError(f"prompt_template needs one '{{}}' for the class name and no other braces, got {template!r}.")


@strict
class MgVtcConfig(PretrainedConfig):
    r"""Configuration of `MgVtcModel` and `MgVtcForImageClassification`.

    Args:
        vision_config: Vision tower: any `AutoModel` encoder with a pooled state, or `alexnet`; default ResNet50.
        text_config: Text tower, any `AutoModel` text encoder; default DistilBERT.
        vision_only: No text tower: class embeddings are a learned table (a vision-only baseline).
        projection: Projection heads: "mlp" (the method), "linear" (without a bias, as in CLIP) or "none" (as in
            SigLIP: the pooled states of both towers have width D).
        projection_dim: Width of the shared embedding space, D.
        projection_dropout: Dropout of the projection heads of "mlp", in [0, 1).
        text_pooling: State that represents a text: "auto" (the tower's pooled state or, without one, its first token),
            "cls" (the first token), "mean" (the mean of all tokens), "eos" (the first end-of-text token) or "last"
            (the last token).
        text_length: Length to which texts are padded, for a text tower that was trained so, like that of SigLIP, which
            attends to padding (its tokenizer gives no mask); `None` pads to the longest text.
        text_padding_side: Side of this padding, "right" or "left", as the tokenizer pads.
        normalize: Divide embeddings by their L2 norm. `False`, with `logit_scale_init_value=0` and
            `learn_logit_scale=False`, is the published setting of the method (tau = 1). From random weights the
            Jensen-Shannon loss does not train with it, because its gradient vanishes at large logits.
        logit_scale_init_value: Natural logarithm of the initial scale of the logits; the default is ln(1 / 0.07).
        learn_logit_scale: Whether the scale is a parameter or constant.
        max_logit_scale: Upper bound of the scale itself (not of its logarithm), 100 as in CLIP.
        use_logit_bias: Whether the logits have a learned bias, as in SigLIP. A softmax over names does not see it.
        logit_temperature: Divisor of all logits, above 0, by which `mg_vtc.calibrate` fits scores to accuracy (Guo et
            al., "On Calibration of Modern Neural Networks", ICML 2017, eq. 9). Training sets it to 1.
        threshold: Score in [0, 1] below which the prediction of an image is "none of these"; `None` for no threshold.
            Logits do not change. Training sets it to `None`.
        prompt_template: Text of a class, with `{}` for its name.
        prompt_templates: Several such texts, of which `prompt_template` is the first: embeddings of any name are the
            mean of those of its texts. `None` where there is one.
        label_texts: Texts of each class, in the order of their ids, where they are not the prompt alone. Embeddings
            of a class are the mean of those of its texts.

    The class names are `id2label`, in the order of their ids.
    """

    model_type = "mg_vtc"
    sub_configs_defaults = {  # noqa: RUF012 (transformers declares it so, and reads it from the class)
        "vision_config": SubConfigSpec(config_class=AutoConfig, model_type="resnet"),
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="distilbert", optional=True),
    }

    vision_config: PretrainedConfig | dict | None = None
    text_config: PretrainedConfig | dict | None = None
    vision_only: bool = False
    projection: str = "mlp"
    projection_dim: int = 256
    projection_dropout: float | int = 0.1
    text_pooling: str = "auto"
    text_length: int | None = None
    text_padding_side: str = "right"
    normalize: bool = True
    logit_scale_init_value: float | int = 2.6592
    learn_logit_scale: bool = True
    max_logit_scale: float | int = 100.0
    use_logit_bias: bool = False
    logit_temperature: float | int = 1.0
    threshold: float | int | None = None
    prompt_template: str = "{}"
    prompt_templates: list[str] | None = None
    label_texts: list[list[str]] | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        if isinstance(self.vision_config, dict) and self.vision_config.get("model_type") == "alexnet":
            self.vision_config = AlexNetConfig.from_dict(self.vision_config)
        for class_id, name in (self.id2label or {}).items():
            if not isinstance(name, str) or not name.strip():
                raise ValueError(f"id2label must map each class to a name, but {class_id!r} has {name!r}.")
        if self.id2label is not None and self.label2id is None:
            self.label2id: dict[str, int] | None = {name: int(i) for i, name in self.id2label.items()}
        if self.text_config is None and not self.vision_only:
            self.text_config = {"model_type": "distilbert"}
        kwargs["auto_map"] = dict(AUTO_MAP)
        super().__post_init__(**kwargs)
        # by id: a file that was written with sorted keys has "10" before "2"
        self.id2label: dict[int, str] = dict(sorted(self.id2label.items()))

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """Build a configuration from the content of a `config.json`.

        Raises:
            ValueError: A setting has a wrong type or value.
        """
        try:
            return super().from_dict(config_dict, **kwargs)
        except (StrictDataclassError, TypeError, KeyError, IndexError, AttributeError) as error:
            raise ValueError(f"The configuration cannot be used: {error.__cause__ or error}") from error

    def validate_towers(self) -> None:
        """Check that `text_config` is set unless the model is vision-only."""
        if self.vision_only and self.text_config is not None:
            raise ValueError("vision_only=True has no text tower, but text_config is set: leave one of them out.")

    def validate_choices(self) -> None:
        """Check the settings that are one of several words."""
        choices = {"projection": PROJECTIONS, "text_pooling": TEXT_POOLINGS, "text_padding_side": ("right", "left")}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}.")

    def validate_ranges(self) -> None:
        """Check the ranges of numbers."""
        if self.projection_dim < 1:
            raise ValueError(f"projection_dim must be at least 1, got {self.projection_dim}.")
        if not 0 <= self.projection_dropout < 1:
            raise ValueError(f"projection_dropout must be in [0, 1), got {self.projection_dropout}.")
        if self.max_logit_scale <= 0:
            raise ValueError(f"max_logit_scale must be positive, got {self.max_logit_scale}.")
        if not 0 < self.logit_temperature < math.inf:
            raise ValueError(f"logit_temperature must be positive and finite, got {self.logit_temperature}.")
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold must be in [0, 1], got {self.threshold}.")
        if self.text_length is not None and self.text_length < 1:
            raise ValueError(f"text_length must be at least 1, got {self.text_length}.")

    def validate_labels(self) -> None:
        """Check that class ids are 0, 1, 2 and so on, and that class names differ."""
        if sorted(self.id2label) != list(range(len(self.id2label))):
            raise ValueError(f"id2label must number the classes 0, 1, 2, ..., got the ids {sorted(self.id2label)}.")
        names: set[str] = set()
        for name in self.id2label.values():
            if name in names:
                raise ValueError(f"id2label has the name {name!r} twice: classes must have different names.")
            names.add(name)

    def validate_texts(self) -> None:
        """Check the prompt templates, and that each class has texts if any has."""
        for template in (self.prompt_template, *self.name_templates):
            check_prompt_template(template)
        if self.name_templates[0] != self.prompt_template:
            raise ValueError(
                f"prompt_template must be the first of prompt_templates, {self.name_templates[0]!r}, got "
                f"{self.prompt_template!r}."
            )
        if self.label_texts is None:
            return
        if len(self.label_texts) != len(self.id2label):
            raise ValueError(
                f"label_texts has texts for {len(self.label_texts)} classes, and id2label {len(self.id2label)} names."
            )
        for class_id, texts in enumerate(self.label_texts):
            if not texts or not all(text.strip() for text in texts):
                raise ValueError(f"label_texts needs a text for each class, but {self.id2label[class_id]!r} has none.")

    def reset_calibration(self) -> None:
        """Forget the temperature and the threshold, which hold for the weights that they were fitted to alone."""
        self.logit_temperature, self.threshold = 1.0, None

    @property
    def name_templates(self) -> list[str]:
        """Templates of the texts of any name: `prompt_templates` or, without them, `prompt_template`."""
        return self.prompt_templates or [self.prompt_template]

    @property
    def class_prompts(self) -> list[str]:
        """Prompts of the classes, in the order of their ids."""
        return [self.prompt_template.replace("{}", self.id2label[i]) for i in range(self.num_labels)]

    @property
    def class_texts(self) -> list[list[str]]:
        """Texts of each class, in the order of their ids: `label_texts` or, without them, the prompts."""
        return self.label_texts or [[prompt] for prompt in self.class_prompts]

    @classmethod
    def from_vision_text_configs(
        cls, vision_config: PretrainedConfig, text_config: PretrainedConfig | None, **kwargs: Any
    ) -> "MgVtcConfig":
        """Build a configuration from those of two towers; `text_config=None` goes with `vision_only=True`."""
        return cls(vision_config=vision_config, text_config=text_config, **kwargs)


__all__ = ["MgVtcConfig"]

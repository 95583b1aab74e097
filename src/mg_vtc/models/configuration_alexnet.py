"""Configuration of AlexNet, the vision tower of the method's vision-only baseline."""

from huggingface_hub.dataclasses import strict
from transformers import PretrainedConfig


@strict
class AlexNetConfig(PretrainedConfig):
    r"""Configuration of `AlexNetModel`; the defaults are the single-column layer sizes in common use
    (Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014, arXiv 1404.5997).

    Args:
        num_channels: Channels of the input image.
        hidden_sizes: Channels of the five convolutions.
        hidden_size: Width of the two fully connected layers, and so of the pooled state.
        dropout: Probability of dropping an input of a fully connected layer, in [0, 1).
    """

    model_type = "alexnet"

    num_channels: int = 3
    hidden_sizes: list[int] | tuple[int, ...] = (64, 192, 384, 256, 256)
    hidden_size: int = 4096
    dropout: float | int = 0.5

    def validate_hidden_sizes(self) -> None:
        """Check that there is a width for each of the five convolutions."""
        if len(self.hidden_sizes) != 5:
            raise ValueError(f"AlexNet has five convolutions; hidden_sizes={self.hidden_sizes} has another number.")


__all__ = ["AlexNetConfig"]

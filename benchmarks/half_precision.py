"""Does the gradient of a loss underflow in float16? The gradients of one batch in both types, with random weights.

    python benchmarks/half_precision.py [--smallest]

ResNet50 and DistilBERT under autocast to float16, with the loss scaled as by PyTorch's `GradScaler` at its start
(65,536) and not at all, beside the same gradient in float32. The lost part is the share of the values that are 0 in
float16 and not in float32; the cosine compares the whole gradient of the vision tower.
"""

import argparse

import torch
import torch.nn.functional as F
from rounds import print_machine
from smallest import add_smallest
from train_step import Batch, make_batch, make_model

from mg_vtc import MgVtcModel, contrastive_loss
from mg_vtc.data.class_lists import IMIGUE_CLASS_NAMES
from mg_vtc.models.processing_mg_vtc import build_tokenizer

SCALES = (1.0, 65536.0)


def find_gradient(model: MgVtcModel, batch: Batch, loss_type: str, scale: float | None) -> torch.Tensor:
    """Return the gradient of the vision tower `(num_values,)`, in float16 with a scale, or in float32 without one."""
    texts = build_tokenizer(IMIGUE_CLASS_NAMES)(IMIGUE_CLASS_NAMES, padding=True, return_tensors="pt")
    model.zero_grad()
    with torch.autocast("cpu", torch.float16, enabled=scale is not None):
        logits = model(pixel_values=batch["pixel_values"], **texts).logits_per_image  # (batch_size, num_labels)
    positives = batch["labels"][:, None] == torch.arange(logits.shape[1])
    (contrastive_loss(logits.float(), positives, loss_type=loss_type) * (scale or 1.0)).backward()
    gradient = torch.cat([p.grad.flatten() for p in model.vision_model.parameters()]) / (scale or 1.0)
    assert gradient.isfinite().all()
    return gradient


def main() -> None:
    parser = argparse.ArgumentParser(description="Underflow of gradients in float16.")
    parser.add_argument("--batch_size", type=int, default=32)
    add_smallest(parser)
    options = parser.parse_args()
    torch.manual_seed(0)
    model = make_model(smallest=options.smallest).eval()  # the same statistics and no dropout in both types
    batch = make_batch(options.batch_size, smallest=options.smallest)
    print_machine(f"Gradients of the vision tower, batches of {options.batch_size}.")
    print("| loss | norm, float32 | scale | lost | cosine |\n|---|---|---|---|---|")
    for loss_type in ("js", "kl", "ce"):
        exact = find_gradient(model, batch, loss_type, None)
        for scale in SCALES:
            half = find_gradient(model, batch, loss_type, scale)
            lost = ((half == 0) & (exact != 0)).float().mean()
            cosine = F.cosine_similarity(half, exact, dim=0)
            print(f"| {loss_type} | {exact.norm():.2g} | {scale:g} | {lost:.1%} | {cosine:.4f} |", flush=True)


if __name__ == "__main__":
    main()

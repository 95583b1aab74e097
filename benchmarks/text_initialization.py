"""Does it matter where the texts begin?

    python benchmarks/text_initialization.py GESTURES

With its default `initializer_range` of 0.02 a small DistilBERT from random weights adds next to nothing to what all
texts share, so that all class texts begin as one point. Each cell is the project's own command with
the recipe `small` at 48 px, clips held out, and texts that begin alike or apart; it is scored after its last epoch.
The cosine is that of two class texts' states before training, on the mean over the pairs of classes and the seeds.
Cells that are finished are not run again.
"""

from typing import Any

import torch
from cells import LAST_EPOCH, QUICK, SMALL, campaign_parser, mean_and_spread, run_cells, small_text_config, text_flags
from rounds import print_machine
from torch.nn.functional import normalize
from transformers import AutoConfig, AutoModel

from mg_vtc import MgVtcModel
from mg_vtc.data import load_image_folder
from mg_vtc.models.processing_mg_vtc import build_tokenizer

ROWS = [("js", "unique"), ("js", "classes"), ("ce", "unique"), ("ce_identity", "pairs")]  # objective, --text_batch
RANGES = (0.02, 0.09)


def measure_cosine(class_names: list[str], text_config: dict[str, Any], seed: int) -> float:
    """Mean cosine of the states of two class texts in a text tower that was not trained."""
    torch.manual_seed(seed)
    tokenizer = build_tokenizer(class_names)
    vocabulary = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
    text_model = AutoModel.from_config(AutoConfig.for_model(**text_config, **vocabulary))
    vision_model = AutoModel.from_config(
        AutoConfig.for_model("resnet", depths=[1], hidden_sizes=[8], embedding_size=8)
    )
    model = MgVtcModel.from_vision_text_pretrained(vision_model, text_model, id2label=dict(enumerate(class_names)))
    states = normalize(model.get_text_states(**tokenizer(class_names, padding=True, return_tensors="pt")), dim=-1)
    num_classes = len(class_names)
    return ((states @ states.T).sum().item() - num_classes) / (num_classes * (num_classes - 1))


def main() -> None:
    parser = campaign_parser("Does it matter where the texts begin?", "text_initialization", epochs=30)
    parser.set_defaults(seeds=[0, 1, 2, 3, 4])
    options = parser.parse_args()
    keys = [(*row, value) for row in ROWS for value in RANGES]
    cells = {
        f"{loss_type}-{text_batch}-{value}-{seed}": [
            *(SMALL, *QUICK, "--train_dir", str(options.folder), "--split_by", "clip", "--seed", str(seed)),
            *("--num_train_epochs", str(options.epochs), *LAST_EPOCH, "--loss_type", loss_type),
            *("--text_batch", text_batch, *text_flags(value)),
        ]
        for loss_type, text_batch, value in keys
        for seed in options.seeds
    }
    results = run_cells(cells, options.output_dir, jobs=options.jobs)

    names = load_image_folder(options.folder)["train"].features["label"].names
    cosines = {
        value: [measure_cosine(names, small_text_config(value), seed) for seed in options.seeds] for value in RANGES
    }
    print_machine(
        f"Where texts begin, {options.epochs} epochs, mean ± standard deviation of {len(options.seeds)} seeds."
    )
    print("| objective | texts | initializer_range | cosine before | top-1 | top-5 |\n" + "|---" * 6 + "|")
    for loss_type, text_batch, value in keys:
        cosine = sum(cosines[value]) / len(cosines[value])
        of_row = [results[f"{loss_type}-{text_batch}-{value}-{seed}"] for seed in options.seeds]
        shown = [mean_and_spread([result[f"eval_{name}_accuracy"] for result in of_row]) for name in ("top1", "top5")]
        print(f"| `{loss_type}` | {text_batch} | {value} | {cosine:.4f} | {' | '.join(shown)} |")


if __name__ == "__main__":
    main()

"""Write checkpoints or read them, by the environment of the Python that runs this: checkpoints.py write|read FOLDER.

`read` prints the predictions of every checkpoint about `image.png` in the folder, as JSON; with `--without_package`
the package is out of reach, and the code in the checkpoints is trusted.
"""

import json
import sys
from pathlib import Path
from typing import Any

HUB = Path(__file__).parents[1] / "src" / "mg_vtc" / "hub"
CLASS_NAMES = ("covering face", "folding arms", "rubbing eyes", "head up")
TEXT = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
TOWERS: dict[str, dict[str, Any]] = {
    "resnet_distilbert": {
        "vision_config": {"model_type": "resnet", "depths": [1, 1], "hidden_sizes": [8, 16], "embedding_size": 8},
        "text_config": {"model_type": "distilbert", "n_layers": 1, "dim": 16, "n_heads": 2, "hidden_dim": 32},
    },
    "vit_bert": {
        "vision_config": {"model_type": "vit", "image_size": 64, "patch_size": 8} | TEXT,
        "text_config": {"model_type": "bert"} | TEXT,
    },
    "alexnet": {
        "vision_config": {"model_type": "alexnet", "hidden_sizes": [4, 8, 8, 8, 8], "hidden_size": 16},
        "vision_only": True,
    },
}


def write(folder: Path) -> None:
    """Save a model of each pair of towers as training does, each in a folder of its own."""
    import torch

    from mg_vtc import MgVtcConfig, MgVtcModel
    from mg_vtc.models.processing_mg_vtc import build_processor, build_tokenizer

    for name, towers in TOWERS.items():
        torch.manual_seed(0)
        vision_only = "text_config" not in towers
        tokenizer = None if vision_only else build_tokenizer(CLASS_NAMES)
        config = MgVtcConfig(
            **towers, projection_dim=12, id2label=dict(enumerate(CLASS_NAMES)), prompt_template="a person {}"
        )
        model = MgVtcModel(config).eval()
        if tokenizer is not None:
            model.set_class_embeds(**tokenizer(config.class_prompts, padding=True, return_tensors="pt"))
        model.save_pretrained(folder / name)
        build_processor(64, tokenizer).save_pretrained(folder / name)


class Absent:
    """A finder before all others, by which the package is not installed."""

    def find_spec(name, path=None, target=None):  # type: ignore[no-untyped-def]
        if name.split(".")[0] == "mg_vtc":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def read(folder: Path, path: Path, *, trust_remote_code: bool) -> dict[str, list[float]]:
    """Predictions of the model of a folder for an image, by entry point."""
    import torch
    from PIL import Image
    from transformers import AutoConfig, AutoModel, AutoModelForImageClassification, AutoProcessor, pipeline

    options = {"trust_remote_code": trust_remote_code}
    config = AutoConfig.from_pretrained(folder, **options)
    image = Image.open(path)
    processor = AutoProcessor.from_pretrained(folder, **options)
    inputs = processor(images=image, return_tensors="pt")
    model, loading = AutoModel.from_pretrained(folder, output_loading_info=True, **options)
    assert not any(loading.values()), loading
    classifier = AutoModelForImageClassification.from_pretrained(folder, **options)
    classify = pipeline("image-classification", str(folder), **options)
    with torch.no_grad():
        predictions = {
            "pixels": inputs["pixel_values"].flatten()[::97].tolist(),  # every 97th is enough to tell
            "AutoModel": model(**inputs).logits_per_image[0].tolist(),
            "AutoModelForImageClassification": classifier(**inputs).logits[0].tolist(),
            "image-classification": [row["score"] for row in classify(image)],
        }
        if not config.vision_only:
            texts = processor.tokenizer(config.class_prompts, padding=True, return_tensors="pt")
            predictions["tokens"] = texts["input_ids"].flatten().tolist()
            predictions["texts"] = model(**inputs, **texts).logits_per_image[0].tolist()
            compare = pipeline("zero-shot-image-classification", str(folder), **options)
            rows = compare(image, candidate_labels=config.class_prompts, hypothesis_template="{}")
            predictions["zero-shot-image-classification"] = [row["score"] for row in rows]
    from handler import EndpointHandler

    predictions["endpoint"] = [row["score"] for row in EndpointHandler(str(folder))({"inputs": path.read_bytes()})]
    home = type(model).__module__.split(".")[0]
    assert home == ("transformers_modules" if trust_remote_code else "mg_vtc"), home
    return predictions


if __name__ == "__main__":
    verb, folder = sys.argv[1], Path(sys.argv[2])
    if verb == "write":
        write(folder)
    else:
        sys.path.insert(0, str(HUB))  # where the handler of endpoints is
        without_package = "--without_package" in sys.argv
        if without_package:
            sys.meta_path.insert(0, Absent)  # type: ignore[arg-type]
        else:
            import mg_vtc  # noqa: F401
        predictions = {
            name: read(folder / name, folder / "image.png", trust_remote_code=without_package) for name in TOWERS
        }
        sys.stdout.write(json.dumps(predictions))

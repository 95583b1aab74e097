"""The campaign of interpolation: one drawer first, then the other, and every model between."""

import sys

import interpolation
import numpy as np
import pytest
from conftest import CLASS_NAMES, TINY_RESNET
from PIL import Image
from transformers import AutoModel, BertConfig, ResNetConfig

from mg_vtc import build_tokenizer

pytestmark = pytest.mark.slow


@pytest.fixture
def towers(tmp_path):
    """Tiny towers with random weights, under the names of the published ones."""
    vision, text = tmp_path / "towers" / "efficientnet-lite0", tmp_path / "towers" / "all-minilm-l6-v2"
    AutoModel.from_config(ResNetConfig.from_dict(TINY_RESNET)).save_pretrained(vision)
    tokenizer = build_tokenizer(CLASS_NAMES)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    AutoModel.from_config(BertConfig(vocab_size=len(tokenizer), **sizes)).save_pretrained(text)
    tokenizer.save_pretrained(text)
    return tmp_path / "towers"


@pytest.fixture
def drawings(tmp_path):
    """Three classes of four clips by each of two drawers."""
    folder, rows = tmp_path / "drawings", ["id,clip,package,short_name,frames"]
    rng = np.random.default_rng(0)
    for label in range(3):
        (folder / "training" / str(label)).mkdir(parents=True)
        for clip in range(8):
            rows.append(f"{label},{clip:04d},drawer-{'ab'[clip % 2]}@1.0,name,1")
            pixels = rng.integers(0, 80, (32, 32, 3), dtype=np.uint8) + np.uint8(50 * label)
            Image.fromarray(pixels).save(folder / "training" / str(label) / f"{clip:04d}.0.jpg")
    (folder / "sources.csv").write_text("\n".join(rows) + "\n")
    names = "\n".join(f"{label},{CLASS_NAMES[label]}" for label in range(3))
    (folder / "labels.csv").write_text(f"id,name\n{names}\n")
    return folder


def test_each_fraction_has_a_score_on_both_drawers(towers, drawings, tmp_path, monkeypatch, capsys):
    flags = (
        "--towers",
        towers,
        "--seeds",
        0,
        "--epochs",
        1,
        "--image_size",
        32,
        "--output_dir",
        tmp_path / "runs",
        "--jobs",
        1,
    )
    monkeypatch.setattr(interpolation, "LAST_EPOCH", (*interpolation.LAST_EPOCH, "--linear_probe_epochs", "0"))
    monkeypatch.setattr(sys, "argv", ["interpolation.py", str(drawings), *map(str, flags)])
    interpolation.main()
    screen = capsys.readouterr().out
    rows = [line.split("|")[1].strip() for line in screen.splitlines() if line.startswith("|")]
    assert rows == ["fraction of the trained weights", "---", "0", "0.25", "0.5", "0.75", "1", "auto"]
    assert len(screen.partition("`auto` chose ")[2].split(",")) == 2
    first = {path.name for path in (tmp_path / "runs" / "drawers" / "drawer-a" / "training" / "0").iterdir()}
    assert first == {f"{clip:04d}.0.jpg" for clip in (0, 2, 4, 6)}

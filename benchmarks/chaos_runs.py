"""What the campaigns share: drawn images, small towers, records of cases, and counts of their outcomes."""

import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CLASS_COLOURS = {"Head up": (220, 40, 40), "Arms akimbo": (40, 200, 60), "Folding arms": (50, 60, 220)}
VISION = {
    "model_type": "resnet",
    "layer_type": "basic",
    "depths": [1, 1],
    "hidden_sizes": [8, 16],
    "embedding_size": 8,
}
TEXT = {"model_type": "distilbert", "n_layers": 1, "dim": 16, "n_heads": 2, "hidden_dim": 32}
TINY: dict[str, Any] = {
    "vision_config": VISION,
    "text_config": TEXT,
    "projection_dim": 12,
    "image_size": 32,
    "per_device_train_batch_size": 4,
    "num_train_epochs": 3,
    "save_total_limit": 2,
    "random_shift": 4,
    "use_cpu": True,
    "report_to": "none",
}

OUTCOMES = ("survived", "lost", "silent")
SUMMARY = "summary.json"


def draw_images(folder: Path, *, per_class: int = 8) -> Path:
    """Draw class folders of images of 32 px; a class is a colour with noise, and a clip has two frames."""
    rng = np.random.default_rng(0)
    for name, colour in CLASS_COLOURS.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(per_class):
            pixels = np.clip(np.array(colour) + rng.integers(-30, 30, (32, 32, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number // 2:04d}.{number % 2}.png")
    return folder


def flags_of(settings: dict[str, Any]) -> list[str]:
    """Return settings as flags of `mg-vtc train`."""
    return [
        word
        for name, value in settings.items()
        for word in (f"--{name}", json.dumps(value) if isinstance(value, dict) else str(value))
    ]


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Hide what the package prints."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read the cases of a campaign; a last line that was cut off is left out, so its case runs again."""
    cases = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        with contextlib.suppress(ValueError):
            cases.append(json.loads(line))
    return cases


def write_summary(folder: Path, *, survived: int, lost: int, silent: int) -> None:
    """Write the counts of a campaign.

    Args:
        folder: Folder of its records.
        survived: Cases that ended as they should.
        lost: Cases that ended in an error that is not clear, or with something lost that is reported.
        silent: Cases that ended with something wrong that nothing reports.
    """
    counts = {"survived": survived, "lost": lost, "silent": silent}
    (folder / SUMMARY).write_text(json.dumps(counts), encoding="utf-8")


def read_summary(folder: Path) -> dict[str, int]:
    """Read the counts of a campaign, by their names in `OUTCOMES`."""
    return json.loads((folder / SUMMARY).read_text(encoding="utf-8"))

"""What does int8 cost in scores? Top-1 of a trained model in float32 and in int8 on its validation images.

    python benchmarks/int8_accuracy.py RUN FOLDER

RUN is the folder of a run on FOLDER; its `split.json` says which images are validation and which training rows.
Ranges are taken from training images, at most 128 spread evenly.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from datasets import Dataset
from PIL import Image
from rounds import print_machine
from transformers import AutoImageProcessor, BaseImageProcessor
from transformers.utils import logging

from mg_vtc import MgVtcForImageClassification
from mg_vtc.data import load_image_folder
from mg_vtc.data.decoding import to_rgb
from mg_vtc.exporters.onnx import CLASSIFIER, INT8_CLASSIFIER, export_onnx

BATCH_SIZE = 64
Classifier = Callable[[np.ndarray], np.ndarray]  # pixel values to logits


def score(
    classifiers: dict[str, Classifier], validation: Dataset, processor: BaseImageProcessor
) -> dict[str, np.ndarray]:
    """Logits of each classifier, (num_images, num_labels), from batches of images, each prepared once."""
    parts: dict[str, list[np.ndarray]] = {name: [] for name in classifiers}
    for batch in validation.iter(BATCH_SIZE):
        images = [to_rgb(image) for image in batch["image"]]
        pixel_values = processor(images, return_tensors="np")["pixel_values"]  # (batch_size, 3, height, width)
        for name, classify in classifiers.items():
            parts[name].append(classify(pixel_values))
    return {name: np.concatenate(logits) for name, logits in parts.items()}


def open_torch(run: Path) -> Classifier:
    model = MgVtcForImageClassification.from_pretrained(run).eval()

    def classify(pixel_values: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return model(torch.from_numpy(pixel_values)).logits.numpy()

    return classify


def open_onnx(path: Path) -> Classifier:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda pixel_values: session.run(None, {"pixel_values": pixel_values})[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    logging.disable_progress_bar()
    rows = load_image_folder(options.folder)["train"]
    split = json.loads((options.run / "split.json").read_text(encoding="utf-8"))
    row_of = {name: row for row, name in enumerate(rows["file_name"][:])}
    processor = AutoImageProcessor.from_pretrained(options.run, backend="pil")
    validation = rows.select([row_of[name] for name in split["validation"]])
    labels = np.array(validation["label"][:])  # (num_images,)
    with tempfile.TemporaryDirectory() as scratch:
        calibration, folder = Path(scratch, "calibration"), Path(scratch, "onnx")
        calibration.mkdir()
        for name in split["train"]:
            image: Image.Image = rows[row_of[name]]["image"]
            image.save(calibration / f"{name.replace(os.sep, '_')}.png")
        files = export_onnx(str(options.run), folder, int8=True, calibration_data=calibration)
        classifiers = {"torch": open_torch(options.run)}
        classifiers |= {name: open_onnx(folder / name) for name in (CLASSIFIER, INT8_CLASSIFIER)}
        predictions = score(classifiers, validation, processor)
    size_of = {file.name: f"{file.num_bytes / 1e6:.1f}" for file in files}
    print_machine(f"{len(labels)} validation images.")
    print("| what | MB | top-1, % | same best class as torch, % |\n|---|---|---|---|")
    for name, logits in predictions.items():
        best = logits.argmax(axis=1)
        accuracy, agreement = 100 * (best == labels).mean(), 100 * (best == predictions["torch"].argmax(axis=1)).mean()
        print(f"| {name} | {size_of.get(name, '')} | {accuracy:.2f} | {agreement:.2f} |")


if __name__ == "__main__":
    main()

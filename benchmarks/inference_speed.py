"""How fast does a trained model predict? Each table is a question of its own, and its first row the reference.

    OMP_NUM_THREADS=1 python benchmarks/inference_speed.py [--rounds 5]

* The two pipelines: image-classification, whose class embeddings are saved, against zero-shot-image-classification,
  which is given the names of the classes at each call, in its own prompt, "This is a photo of {}.", or bare.
* What the classes cost: `MgVtcForImageClassification` against a bare ResNet50, in the same memory layout.
* ONNX Runtime in float32 and int8 against torch in eager mode and its default layout, on as many threads as torch.

ResNet50 and DistilBERT at full size from random weights, the 32 iMiGUE classes, images of 224 x 224. Speed does not
depend on what the weights are; the scores of int8 do, and are the matter of `benchmarks/int8_accuracy.py`.
"""

import argparse
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from PIL import Image
from rounds import measure_rounds, print_machine, print_table
from smallest import IMAGE_SIZE, TOWERS, add_smallest
from transformers import ResNetModel, pipeline
from transformers.utils import logging

from mg_vtc import MgVtcConfig, MgVtcForImageClassification, MgVtcModel
from mg_vtc.data.class_lists import IMIGUE_CLASS_NAMES
from mg_vtc.exporters.onnx import export_onnx
from mg_vtc.models.processing_mg_vtc import build_processor, build_tokenizer

SIZE = 224
NUM_CALLS = 8  # of a round, where one takes a tenth of a second or less


def save_model(folder: Path, size: int, *, smallest: bool) -> None:
    """A model of full size, as training leaves it."""
    torch.manual_seed(0)
    towers = TOWERS if smallest else {}
    model = MgVtcModel(MgVtcConfig(**towers, id2label=dict(enumerate(IMIGUE_CLASS_NAMES)))).eval()
    # all words are known, as they are to the tokenizer of DistilBERT
    tokenizer = build_tokenizer([*IMIGUE_CLASS_NAMES, "This is a photo of."])
    model.set_class_embeds(**tokenizer(model.config.class_prompts, padding=True, return_tensors="pt"))
    model.save_pretrained(folder)
    build_processor(size, tokenizer).save_pretrained(folder)


def draw_images(count: int, size: int) -> list[Image.Image]:
    pixels = np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    return [Image.fromarray(image) for image in pixels]


def compare_pipelines(folder: Path, batch_size: int, size: int, rounds: int) -> None:
    images = draw_images(batch_size, size)
    named = pipeline("zero-shot-image-classification", str(folder))
    saved = pipeline("image-classification", str(folder))
    names, length = list(IMIGUE_CLASS_NAMES), {"batch_size": batch_size}
    arrangements = {
        "zero-shot-image-classification, 32 names": lambda: named(images, candidate_labels=names, **length),
        "the same, the names alone as prompts": lambda: named(
            images, candidate_labels=names, hypothesis_template="{}", **length
        ),
        "image-classification": lambda: saved(images, **length),
    }
    seconds = measure_rounds(arrangements, rounds, warm_up=int(batch_size == 1))  # a large batch needs none
    print_machine(f"Pipelines, {batch_size} images a call.")
    print_table(seconds, batch_size, "images", of="of zero-shot")


def run_torch(model: torch.nn.Module, pixel_values: torch.Tensor) -> Callable[[], object]:
    def run() -> object:
        with torch.inference_mode():
            return [model(pixel_values) for _ in range(NUM_CALLS)]

    return run


def run_onnx(path: Path, pixel_values: torch.Tensor) -> Callable[[], object]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    inputs = {"pixel_values": pixel_values.numpy()}
    return lambda: [session.run(None, inputs) for _ in range(NUM_CALLS)]


def compare_with_bare_tower(folder: Path, pixel_values: torch.Tensor, rounds: int) -> None:
    model = MgVtcForImageClassification.from_pretrained(folder).eval()
    tower = ResNetModel(model.config.vision_config).eval()
    arrangements = {
        "bare ResNet50": run_torch(tower, pixel_values),
        "MgVtcForImageClassification": run_torch(model, pixel_values),
    }
    seconds = measure_rounds(arrangements, rounds)
    print_machine("What the classes cost, one image a call.")
    print_table(seconds, NUM_CALLS, "images", of="of the bare tower")


def compare_with_onnx(folder: Path, pixel_values: torch.Tensor, rounds: int) -> None:
    for number, image in enumerate(draw_images(4, pixel_values.shape[-1])):  # to calibrate with; any are as fast
        image.save(folder / f"{number}.png")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*agree on")  # of random weights, on noise
        export_onnx(str(folder), folder / "onnx", int8=True, calibration_data=folder)
    model, last = (MgVtcForImageClassification.from_pretrained(folder).eval() for _ in range(2))
    last.to(memory_format=torch.channels_last)
    arrangements = {
        "torch eager": run_torch(model, pixel_values),
        "torch eager, channels last": run_torch(last, pixel_values.to(memory_format=torch.channels_last)),
        "ONNX Runtime, float32": run_onnx(folder / "onnx" / "classifier.onnx", pixel_values),
        "ONNX Runtime, int8": run_onnx(folder / "onnx" / "classifier.int8.onnx", pixel_values),
    }
    seconds = measure_rounds(arrangements, rounds)
    print_machine(f"ONNX Runtime {onnxruntime.__version__}, one image a call.")
    print_table(seconds, NUM_CALLS, "images", of="of torch eager")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    add_smallest(parser)
    arguments = parser.parse_args()
    rounds, size = arguments.rounds, IMAGE_SIZE if arguments.smallest else SIZE
    logging.disable_progress_bar()
    pixel_values = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    with tempfile.TemporaryDirectory() as folder:
        save_model(Path(folder), size, smallest=arguments.smallest)
        for batch_size in (1, 32):
            compare_pipelines(Path(folder), batch_size, size, rounds if batch_size == 1 else min(rounds, 2))
        compare_with_bare_tower(Path(folder), pixel_values, rounds)
        compare_with_onnx(Path(folder), pixel_values, rounds)


if __name__ == "__main__":
    main()

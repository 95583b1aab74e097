"""Export to a static web page that runs the model in the browser.

The page, its libraries and the model are files of one folder. Any static server can serve it, offline, too.
"""

import inspect
import json
import shutil
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime  # type: ignore[import-untyped]
import PIL.Image
import torch
from huggingface_hub import SpaceCard
from onnx_ir.passes.common import ClearMetadataAndDocStringPass
from torch.export import Dim
from transformers import AutoTokenizer

from ..files import atomic_write_folder, check_destination
from ..inference.loading import open_model
from ..models.modeling_mg_vtc import MgVtcForImageClassification
from ..runs.manifest import describe_file
from .int8 import quantize, read_calibration_pixels
from .onnx import (
    INT8_TEXT_ENCODER,
    MAX_DIFFERENCE,
    MIN_AGREEMENT,
    TEXT_ENCODER,
    TEXT_INPUTS,
    TOKENIZER,
    ExportedFile,
    quiet_exporter,
    write_text_encoder,
)
from .web_graph import ImageGraph
from .web_runtime import PAGE_FILES, RUNTIME_FILES, describe_licenses, find_runtime

PAGE = Path(__file__).with_name("web_page")
LICENSES, CARD, MODEL, RUNTIME = "LICENSES.txt", "README.md", "model", "runtime"
IMAGE, INT8_IMAGE, CLASS_EMBEDS, DESCRIPTION = "image.onnx", "image.int8.onnx", "class_embeds.bin", "model.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
TEXT_FILES = (TEXT_ENCODER, INT8_TEXT_ENCODER, TOKENIZER, TOKENIZER_CONFIG)
MODEL_FILES = (IMAGE, INT8_IMAGE, CLASS_EMBEDS, DESCRIPTION, *TEXT_FILES)
FILES = (
    *(*PAGE_FILES, LICENSES, CARD),
    *(f"{MODEL}/{name}" for name in MODEL_FILES),
    *(f"{RUNTIME}/{name}" for name in RUNTIME_FILES),
)
OPSET = 20  # has Resize with an antialiased filter
LONGEST_SIDE = 32_768  # pixels, of a canvas
MOST_NAMES = 65_536
MAX_SHARE_DIFFERENCE = 1e-2  # of a probability, when the image is resized: some pixels differ by a grey level


def export_web(
    model_id: str, folder: Path, *, int8: bool = False, calibration_data: Path | None = None, overwrite: bool = False
) -> list[ExportedFile]:
    """Write a folder with a web page that runs the model, after comparing its graphs with the model.

    Args:
        model_id: Folder or Hub id.
        folder: Folder to write to.
        int8: Whether the page runs an int8 model: a quarter of the size, and less exact.
        calibration_data: Folder of images for the value ranges of `int8` and the comparison; every other image is
            for the comparison.
        overwrite: Whether to replace an earlier export.

    Returns:
        Files of the model.

    Raises:
        OSError: The model or an image is not found, or the libraries of the page cannot be fetched.
        ValueError: `int8` without `calibration_data`, files would be overwritten, or the outputs differ from the
            model's.
    """
    if int8 and calibration_data is None:
        raise ValueError("`int8` requires calibration images: pass a folder of images to `calibration_data`.")
    check_destination(model_id, folder, FILES, overwrite=overwrite)
    runtime = find_runtime()
    model, processor = open_model(model_id, torch.float32)
    model.set_attn_implementation("eager")  # torch.export cannot trace the fused attention of some towers (Swin)
    graph = ImageGraph(model, processor).eval()
    with atomic_write_folder(folder, FILES) as staging:
        (staging / MODEL).mkdir()
        unused = () if not int8 else ("*jspi*",)  # int8 does not run on WebGPU
        shutil.copytree(runtime, staging / RUNTIME, ignore=shutil.ignore_patterns(*unused))
        for name in PAGE_FILES:
            shutil.copyfile(PAGE / name, staging / name)
        (staging / LICENSES).write_text(describe_licenses(), encoding="utf-8")
        card = SpaceCard.load(PAGE / CARD)  # for a static Space
        if not Path(model_id).is_dir():
            card.data["models"] = [model_id]
        card.save(staging / CARD)
        files = [_write_image_graph(staging / MODEL / IMAGE, graph, model, processor)]
        if calibration_data is not None and int8:
            files = [_quantize(staging / MODEL, model, read_calibration_pixels(calibration_data, processor))]
        embeds = model._embed(model.class_embeds).numpy(force=True)  # (num_labels, projection_dim)
        (staging / MODEL / CLASS_EMBEDS).write_bytes(embeds.astype("<f4").tobytes())
        if not model.config.vision_only:
            files.append(_write_text_files(staging / MODEL, model_id, model, int8=int8))
        _write_description(staging / MODEL, model_id, model, graph, quantized=int8)
    return files


def _write_image_graph(
    path: Path, graph: ImageGraph, model: MgVtcForImageClassification, processor: Any
) -> ExportedFile:
    """Save the graph, and compare it with the model on images of several sizes."""
    class_embeds = model._embed(model.class_embeds)  # (num_labels, projection_dim)
    side = graph.resizing.image_size
    coarse = np.random.default_rng(0).integers(0, 256, (5, 4, 4), dtype=np.uint8)
    drawn = PIL.Image.fromarray(coarse, "RGBA")
    images = [np.array(drawn.resize(size)) for size in ((side, side), (90, 120), (500, 300))]
    sides = {0: Dim("height", min=1, max=LONGEST_SIDE), 1: Dim("width", min=1, max=LONGEST_SIDE)}
    names = {0: Dim("num_names", min=2, max=MOST_NAMES)}
    with quiet_exporter():
        program = torch.onnx.export(
            graph,
            (torch.from_numpy(images[1]), class_embeds),
            input_names=["pixels", "name_embeds"],
            output_names=["logits", "heat"][: 1 + graph.has_heat],
            dynamic_shapes=(sides, names),
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None
    ClearMetadataAndDocStringPass()(program.model)  # stack traces with local paths
    program.save(path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    differences, shares = [], []
    for pixels in images:
        outputs = session.run(["logits"], {"pixels": pixels, "name_embeds": class_embeds.numpy()})
        found = torch.from_numpy(outputs[0])  # (num_labels,)
        with torch.no_grad():
            expected = graph(torch.from_numpy(pixels), class_embeds)[0]  # (num_labels,)
        differences.append(((found - expected).abs().max() / expected.abs().max()).item())
        shares.append((found.softmax(dim=0) - expected.softmax(dim=0)).abs().max().item())
    exact = differences[0]
    if exact > MAX_DIFFERENCE or max(shares) > MAX_SHARE_DIFFERENCE:
        raise ValueError(
            f"The outputs of {path.name} differ from the model's by {exact:.1e} of the largest output, and the "
            f"probabilities of a resized image by {max(shares):.1e}. Nothing was written. This is an error of the "
            f"exporter for this tower with torch {torch.__version__}: report it."
        )
    return ExportedFile(path.name, path.stat().st_size, exact)


def _quantize(folder: Path, model: MgVtcForImageClassification, images: Sequence[np.ndarray]) -> ExportedFile:
    """Replace the graph by an int8 one, and measure how often its best class is another one.

    Args:
        folder: Folder of the model.
        model: Source of the class embeddings.
        images: Calibration images, each uint8 (side, side, 4).
    """
    if len(images) < 2:
        raise ValueError("`int8` requires two calibration images or more: one for calibration, one for comparison.")
    embeds = model._embed(model.class_embeds).numpy(force=True)  # (num_labels, projection_dim)
    feeds = [{"pixels": pixels, "name_embeds": embeds} for pixels in images]
    quantize(folder / IMAGE, folder / INT8_IMAGE, feeds[::2])
    before, after = (
        onnxruntime.InferenceSession(folder / name, providers=["CPUExecutionProvider"]) for name in (IMAGE, INT8_IMAGE)
    )
    pairs = [(before.run(["logits"], feed)[0], after.run(["logits"], feed)[0]) for feed in feeds[1::2]]
    best = [(int(one.argmax()), int(other.argmax())) for one, other in pairs]
    agreement = sum(one == other for one, other in best) / len(best)
    if agreement < MIN_AGREEMENT:
        warnings.warn(
            f"The int8 model and the model agree on {agreement:.1%} of {len(best)} images, below "
            f"{MIN_AGREEMENT:.0%}: calibrate with images from the model's domain, or export without `int8`.",
            stacklevel=3,
        )
    difference = max(float(np.abs(one - other).max() / np.abs(one).max()) for one, other in pairs)
    (folder / IMAGE).unlink()
    num_bytes = (folder / INT8_IMAGE).stat().st_size
    return ExportedFile(INT8_IMAGE, num_bytes, difference, agreement, (len(best), len({one for one, _ in best})))


def _write_text_files(folder: Path, model_id: str, model: MgVtcForImageClassification, *, int8: bool) -> ExportedFile:
    """Write the text encoder and the two files of its tokenizer."""
    file = write_text_encoder(folder, model_id, model, {}, int8=int8)
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    (folder / TOKENIZER_CONFIG).write_text(json.dumps(settings), encoding="utf-8")
    return file


def _describe_texts(model_id: str, model: MgVtcForImageClassification, *, quantized: bool) -> dict[str, Any]:
    """Describe how the page turns names into inputs of the text encoder."""
    config, tokenizer = model.config, AutoTokenizer.from_pretrained(model_id)
    taken = inspect.signature(model.text_model.forward).parameters
    positions = getattr(config.text_config, "max_position_embeddings", tokenizer.model_max_length)
    return {
        "file": INT8_TEXT_ENCODER if quantized else TEXT_ENCODER,
        "inputs": [name for name in TEXT_INPUTS if name in taken and name in tokenizer.model_input_names],
        "prompts": list(config.name_templates),
        "unknown_id": tokenizer.unk_token_id,
        "max_length": min(positions, tokenizer.model_max_length),
        "text_length": config.text_length,
        "pad_id": tokenizer.pad_token_id or 0,
        "padding_side": config.text_padding_side,
    }


def _write_description(
    folder: Path, model_id: str, model: MgVtcForImageClassification, graph: ImageGraph, *, quantized: bool
) -> None:
    """Write what the page needs to know of the model, with sizes and hashes of its files."""
    config, resizing = model.config, graph.resizing
    name = Path(model_id).resolve().name if Path(model_id).is_dir() else model_id  # no local path on the page
    files = {path.name: describe_file(path) for path in sorted(folder.iterdir())}
    description = {
        "name": name,
        "version": version("mg-vtc"),
        "labels": [config.id2label[i] for i in range(config.num_labels)],
        "embed_dim": config.projection_dim,
        "normalize": config.normalize,
        "image": INT8_IMAGE if quantized else IMAGE,
        "quantized": quantized,
        "heat": graph.has_heat,
        "threshold": config.threshold,
        "image_size": resizing.image_size,
        "shortest_edge": resizing.shortest_edge,
        "class_embeds": CLASS_EMBEDS,
        "text": None if config.vision_only else _describe_texts(model_id, model, quantized=quantized),
        "files": files,
    }
    (folder / DESCRIPTION).write_text(json.dumps(description, ensure_ascii=False, indent=1), encoding="utf-8")

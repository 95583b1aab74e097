"""How fast do images come? JPEGs of 1280 x 960 to batches of 32 at 224 x 224, normalised, with one worker.

    python benchmarks/loader.py [--images 256] [--rounds 3]

* reference: transformers' `ViTImageProcessorPil`, called for each image in `Dataset.set_transform`.
* first epoch: all images are decoded into the cache, in one thread to be fair to one worker, and then read from it.
  JPEGs are decoded by simplejpeg (the extra "jpeg") or, where it is not installed, by Pillow, to the same pixels.
* first epoch, drafts: the same with `jpeg_draft`, which Pillow alone can.
* later epochs: the images are read from the cache in random order, many times over, as one epoch takes too little
  time to be measured.

What train.py does once before the first epoch is in none of them: it looks for unreadable files, for which each JPEG
is decoded at an eighth of its size ("find corrupt images" in table 2). The reference and the first epochs start
their worker in each epoch, the later epochs once for all of them, as with `dataloader_persistent_workers`.

The images are smooth light, ellipses and noise, 150 to 300 KB each at quality 90, in a temporary folder. A second
table tells where the time of the first epoch goes.
"""

import argparse
import io
import statistics
import tempfile
import time
from pathlib import Path
from types import ModuleType
from unittest import mock

import datasets
import numpy as np
import PIL.Image
import PIL.ImageDraw
import simplejpeg
import torch
from rounds import measure_rounds, print_machine, print_table
from torch.utils.data import DataLoader
from transformers.image_utils import IMAGENET_DEFAULT_MEAN as MEAN
from transformers.image_utils import IMAGENET_DEFAULT_STD as STD

from mg_vtc.data import cache, decoding
from mg_vtc.data.corrupt_files import find_error
from mg_vtc.data.dataset import ImageDataset
from mg_vtc.data.decoding import collate_images, normalize, resize, to_rgb
from mg_vtc.files import atomic_write
from mg_vtc.models.processing_mg_vtc import build_processor

IMAGE_SIZE, BATCH_SIZE = 224, 32
LATER_EPOCHS = 20  # that are timed together


def make_image(seed: int, width: int = 1280, height: int = 960) -> PIL.Image.Image:
    """Smooth light, sixty ellipses and the noise of a sensor."""
    rng = np.random.default_rng(seed)
    light = PIL.Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    image = light.resize((width, height), PIL.Image.Resampling.BICUBIC)
    draw = PIL.ImageDraw.Draw(image)
    for x, y, radius in rng.integers((0, 0, 5), (width, height, 150), (60, 3)).tolist():
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=tuple(rng.integers(0, 256, 3).tolist()))
    noisy = np.asarray(image) + rng.normal(0, 2.5, (height, width, 1))
    return PIL.Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def make_rows(folder: Path, num_images: int) -> datasets.Dataset:
    paths = [folder / f"{number}.jpg" for number in range(num_images)]
    for number, path in enumerate(paths):
        make_image(number).save(path, quality=90)
    columns = {"image": list(map(str, paths)), "label": [0] * num_images, "row": list(range(num_images))}
    whole = datasets.Value("int64")
    features = datasets.Features(image=datasets.Image(), label=whole, row=whole)
    return datasets.Dataset.from_dict(columns, features=features)


def read_reference(rows: datasets.Dataset) -> int:
    """An epoch of transformers' image processor."""
    processor = build_processor(IMAGE_SIZE)

    def transform(batch: dict[str, list]) -> dict[str, list]:
        pixel_values = [processor(image, return_tensors="pt")["pixel_values"][0] for image in batch["image"]]
        return {"pixel_values": pixel_values, "labels": batch["label"]}

    loader = DataLoader(rows.with_transform(transform), BATCH_SIZE, num_workers=1)
    return sum(len(batch["pixel_values"]) for batch in loader)


def read_first_epoch(rows: datasets.Dataset, *, jpeg_draft: bool = False, decoder: ModuleType | None = None) -> int:
    """An epoch that begins without a cache; the decoder is `simplejpeg`, or None for Pillow."""
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(datasets.config, "HF_DATASETS_CACHE", Path(folder)),
        mock.patch.object(cache.os, "cpu_count", return_value=1),
        mock.patch.object(decoding, "simplejpeg", decoder),
    ):
        return read_epochs(rows, cache.ImageCache(rows, IMAGE_SIZE, jpeg_draft=jpeg_draft).open(), 1)


def read_epochs(rows: datasets.Dataset, cached: np.memmap, epochs: int) -> int:
    """Epochs in random order that read from the cache, by one worker that stays."""
    dataset = ImageDataset(rows, IMAGE_SIZE, pixels=cached)
    rng = np.random.default_rng(0)
    order = np.concatenate([rng.permutation(len(rows)) for _ in range(epochs)]).tolist()
    loader = DataLoader(dataset, BATCH_SIZE, sampler=order, num_workers=1, collate_fn=collate_images)
    return sum(len(normalize(batch["pixel_values"], MEAN, STD)) for batch in loader)


def print_parts(rows: datasets.Dataset) -> None:
    """Print how long each part takes for an image, in this process and one thread; medians."""
    images = rows.cast_column("image", datasets.Image(decode=False))[:BATCH_SIZE]["image"]
    numbers = range(len(images))
    paths = [Path(image["path"]) for image in images]
    files = [path.read_bytes() for path in paths]
    decoded = [load(data) for data in files]
    drafts = [load(data, jpeg_draft=True) for data in files]
    dataset = ImageDataset(rows, IMAGE_SIZE, pixels=cache.ImageCache(rows, IMAGE_SIZE).open())
    batch = collate_images(dataset.__getitems__(numbers))["pixel_values"]  # (batch_size, 3, height, width)
    processor = build_processor(IMAGE_SIZE)
    size, bilinear = (IMAGE_SIZE, IMAGE_SIZE), PIL.Image.Resampling.BILINEAR

    def write() -> None:
        with atomic_write(cache.cache_folder() / "written") as file:
            for pixels in batch.permute(0, 2, 3, 1).numpy():
                file.write(pixels.data)

    parts = {
        "find corrupt images": lambda: list(map(find_error, paths)),
        "decode with simplejpeg": lambda: [simplejpeg.decode_jpeg(data, "RGBX") for data in files],
        "decode": lambda: [load(data) for data in files],
        "decode a draft": lambda: [load(data, jpeg_draft=True) for data in files],
        "resize": lambda: [resize(pixels, IMAGE_SIZE) for pixels in decoded],
        "resize a draft": lambda: [resize(pixels, IMAGE_SIZE) for pixels in drafts],
        "resize with Pillow": lambda: [np.asarray(pixels.resize(size, bilinear)) for pixels in decoded],
        "all of the processor of transformers": lambda: [processor(pixels) for pixels in decoded],
        "write": write,
        "read and collate": lambda: collate_images(dataset.__getitems__(numbers)),
        "normalise": lambda: normalize(batch, MEAN, STD),
    }
    print("\n| part | ms per image |\n|---|---|")
    for name, part in parts.items():
        seconds = []
        for _ in range(5):
            start = time.perf_counter()
            part()
            seconds.append(time.perf_counter() - start)
        print(f"| {name} | {1000 * statistics.median(seconds) / len(images):.3f} |", flush=True)


def load(data: bytes, *, jpeg_draft: bool = False) -> PIL.Image.Image:
    """Decode a JPEG."""
    with PIL.Image.open(io.BytesIO(data)) as image:
        if jpeg_draft:
            image.draft(None, (IMAGE_SIZE, IMAGE_SIZE))
        return to_rgb(image)


def main() -> None:
    parser = argparse.ArgumentParser(description="Images a second of a loader with one worker.")
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory() as name:
        datasets.config.HF_DATASETS_CACHE = Path(name) / "cache"
        rows = make_rows(Path(name), arguments.images)
        size = sum(path.stat().st_size for path in Path(name).glob("*.jpg")) / arguments.images
        cached = cache.ImageCache(rows, IMAGE_SIZE).open()
        seconds = measure_rounds(
            {
                "reference": lambda: read_reference(rows),
                "first epoch, simplejpeg": lambda: read_first_epoch(rows, decoder=simplejpeg),
                "first epoch, Pillow": lambda: read_first_epoch(rows),
                "first epoch, drafts": lambda: read_first_epoch(rows, jpeg_draft=True),
                "later epochs": lambda: read_epochs(rows, cached, LATER_EPOCHS),
            },
            arguments.rounds,
        )
        seconds["later epochs"] = [total / LATER_EPOCHS for total in seconds["later epochs"]]
        print_machine(f"{arguments.images} JPEGs of 1280 x 960, {size / 1000:.0f} KB each, one worker.")
        print_table(seconds, arguments.images, "images", of="of the reference")
        print_parts(rows)


if __name__ == "__main__":
    main()

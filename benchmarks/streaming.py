"""Does a data set that is bigger than the disk train as a small one does? Step time and memory from 1e3 images on.

    OMP_NUM_THREADS=1 python benchmarks/streaming.py [--images 1000 10000 100000] [--num_workers 2]

For each number it writes that many synthetic images (a pool of 1,000 JPEGs of 64 px, about 1.9 kB each, over and
over, uncompressed) as Parquet shards to a temporary folder, and streams them once, after some steps to warm up, at
32 px through a train step of an MgVtcModel with the smallest of towers, so that it is reading that is measured, in a
process of its own. Memory is what is resident, shared pages counted in every process; "workers" is their sum. Step
times are medians, with the waiting for the batch in them. Nothing is refused for its spread, as the step times of a
quiet machine are spread too: where workers and the main process share the cores, a step finds its batch ready or waits
for it. Drift is seen in the columns of the first and the last tenth, and in those of other numbers of images.

Then it measures, on the same images, where the time of reading goes: the fastest of some rounds, as others may use
the machine.
"""

import argparse
import io
import itertools
import json
import math
import multiprocessing
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import datasets
import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from datasets import ClassLabel, Features, Image
from rounds import print_machine, resident_memory
from smallest import IMAGE_SIZE, TOWERS
from torch.utils.data import DataLoader

from mg_vtc import MgVtcConfig, MgVtcModel
from mg_vtc.data.augmentation import Augmentation
from mg_vtc.data.class_lists import IMIGUE_CLASS_NAMES
from mg_vtc.data.decoding import collate_images, decode, normalize
from mg_vtc.data.streaming import ImageStream, load_stream
from mg_vtc.losses import contrastive_loss
from mg_vtc.models.processing_mg_vtc import build_tokenizer

JPEG_SIZE = 64  # pixels
BATCH_SIZE = 128
POOL_SIZE = 1000
SHARD_SIZE = 10_000  # images
WARM_UP = 20  # steps
SHUFFLE_BUFFER = 1000
NUM_READ = 2000  # images of a round of the second table
ROUNDS = 5


def make_pool() -> list[bytes]:
    """Distinct JPEGs."""
    rng = np.random.default_rng(0)
    pool = []
    for _ in range(POOL_SIZE):
        coarse = PIL.Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        file = io.BytesIO()
        coarse.resize((JPEG_SIZE, JPEG_SIZE), PIL.Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
        pool.append(file.getvalue())
    return pool


def write_parquet(folder: Path, num_images: int) -> None:
    """Write shards, an even number, so that two workers share them equally."""
    pool = make_pool()
    num_shards = 2 * -(-num_images // (2 * SHARD_SIZE))
    features = Features(image=Image(), label=ClassLabel(names=list(IMIGUE_CLASS_NAMES)))
    for shard in range(num_shards):
        numbers = range(shard, num_images, num_shards)
        schema = features.arrow_schema
        with pq.ParquetWriter(
            folder / f"train-{shard:05d}.parquet", schema, compression="none", use_dictionary=False
        ) as writer:
            for start in range(0, len(numbers), POOL_SIZE):
                part = numbers[start : start + POOL_SIZE]
                columns = {
                    "image": [{"bytes": pool[number % POOL_SIZE], "path": None} for number in part],
                    "label": [number % len(IMIGUE_CLASS_NAMES) for number in part],
                }
                writer.write_table(pa.Table.from_pydict(columns, schema=schema))


def write_tar(path: Path, num_images: int) -> None:
    """Write one WebDataset shard."""
    pool = make_pool()
    with tarfile.open(path, "w") as archive:
        for number in range(num_images):
            label = 1 + number % len(IMIGUE_CLASS_NAMES)
            for extension, data in (("jpg", pool[number % POOL_SIZE]), ("cls", str(label).encode())):
                member = tarfile.TarInfo(f"{number:07d}.{extension}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))


def make_step() -> Callable[[dict[str, torch.Tensor]], None]:
    """A train step of a small model: forward, objective, backward, AdamW."""
    torch.manual_seed(0)
    tokenizer = build_tokenizer(IMIGUE_CLASS_NAMES)
    texts = tokenizer(list(IMIGUE_CLASS_NAMES), padding=True, return_tensors="pt")
    id2label = dict(enumerate(IMIGUE_CLASS_NAMES))
    text_config = TOWERS["text_config"] | {"vocab_size": len(tokenizer)}
    model = MgVtcModel(MgVtcConfig(**TOWERS | {"text_config": text_config}, id2label=id2label)).train()
    model.vision_model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)

    def step(batch: dict[str, torch.Tensor]) -> None:
        pixel_values = normalize(batch["pixel_values"], [0.5] * 3, [0.5] * 3)
        text_labels, counts = batch["labels"].unique(return_counts=True)
        outputs = model(pixel_values, **{name: tensor[text_labels] for name, tensor in texts.items()})
        positives = batch["labels"][:, None] == text_labels[None, :]
        loss = contrastive_loss(outputs.logits_per_image, positives, loss_type="js", text_counts=counts)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)

    return step


def resident(process: int | str | None, field: str = "VmRSS") -> float:
    """`resident_memory` in MB."""
    return resident_memory(process, field) / 2**20


def train(folder: str, num_images: int, num_workers: int) -> dict[str, float]:
    """Stream the images once through a train step."""
    rows = load_stream(folder)["train"]
    stream = ImageStream(
        rows,
        IMAGE_SIZE,
        BATCH_SIZE,
        repeat=True,
        shuffle_buffer_size=SHUFFLE_BUFFER,
        augmentation=Augmentation(random_shift=2),
        seed=0,
    )
    batches = iter(DataLoader(stream, batch_size=BATCH_SIZE, num_workers=num_workers, collate_fn=collate_images))
    step = make_step()
    for batch in itertools.islice(batches, WARM_UP):
        step(batch)
    num_steps = num_images // BATCH_SIZE
    tenth = max(num_steps // 10, 1)
    seconds, memory = [], {}
    for number in range(1, num_steps + 1):
        start = time.perf_counter()
        step(next(batches))
        seconds.append(time.perf_counter() - start)
        if number in (tenth, num_steps):
            when = "early" if number < num_steps else "end"
            memory |= {f"main_{when}": resident("self"), f"workers_{when}": sum(map(resident, worker_ids()))}
    return memory | {
        "main_peak": resident("self", "VmHWM"),
        "workers_peak": sum(resident(worker, "VmHWM") for worker in worker_ids()),
        "speed": num_steps * BATCH_SIZE / sum(seconds),
        "first": 1000 * statistics.median(seconds[:tenth]),
        "last": 1000 * statistics.median(seconds[-tenth:]),
    }


def worker_ids() -> list[int | None]:
    """Processes of the workers of a DataLoader."""
    return [worker.pid for worker in multiprocessing.active_children()]


def measure_training(num_images: int, num_workers: int) -> None:
    """Print the line of one number of images."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        write_parquet(Path(folder), num_images)
        written = time.perf_counter() - start
        disk = sum(path.stat().st_size for path in Path(folder).iterdir()) / 1e6
        start = time.perf_counter()
        command = [sys.executable, __file__, "--images", str(num_images), "--num_workers", str(num_workers)]
        output = subprocess.run([*command, "--folder", folder], check=True, stdout=subprocess.PIPE, text=True).stdout
        took = time.perf_counter() - start
    result = json.loads(output)
    cells = [f"{num_images:,}", f"{disk:.0f}", f"{written:.0f} + {took:.0f}", f"{result['speed']:.0f}"]
    cells += [f"{result[name]:.1f}" for name in ("first", "last")]
    cells += [f"{result[f'{part}_{when}']:.0f}" for part in ("main", "workers") for when in ("early", "end", "peak")]
    print(f"| {' | '.join(cells)} |", flush=True)


def exhaust(rows: Iterable) -> None:
    for _ in rows:
        pass


def measure_reading() -> None:
    """Print how fast the parts of a stream are, one process, no training."""
    with tempfile.TemporaryDirectory() as folder:
        parquet, tar = Path(folder) / "parquet", Path(folder) / "tar"
        parquet.mkdir()
        tar.mkdir()
        write_parquet(parquet, NUM_READ)
        write_tar(tar / "train-00000.tar", NUM_READ)
        source = datasets.load_dataset(str(parquet), streaming=True)["train"].decode(False)
        rows = load_stream(str(parquet))["train"]
        tar_rows = load_stream(str(tar), labels_file="imigue")["train"]
        shuffled = rows.shuffle(seed=0, buffer_size=SHUFFLE_BUFFER, max_buffer_input_shards=1)
        images = [row["image"] for row in rows]
        arrangements = {
            "datasets' rows, Parquet, one by one": lambda: exhaust(source),
            "datasets' rows, Parquet, in batches": lambda: exhaust(source.iter(BATCH_SIZE)),
            "load_stream's rows, Parquet, in batches": lambda: exhaust(rows.iter(BATCH_SIZE)),
            "the same from a shuffle buffer": lambda: exhaust(shuffled.iter(BATCH_SIZE)),
            "load_stream's rows, tar, in batches": lambda: exhaust(tar_rows.iter(BATCH_SIZE)),
            "decoding alone": lambda: exhaust(decode(image, IMAGE_SIZE) for image in images),
            "ImageStream, Parquet": lambda: exhaust(ImageStream(rows, IMAGE_SIZE, BATCH_SIZE, repeat=False)),
            "ImageStream, tar": lambda: exhaust(ImageStream(tar_rows, IMAGE_SIZE, BATCH_SIZE, repeat=False)),
        }
        fastest = dict.fromkeys(arrangements, math.inf)
        for _ in range(ROUNDS):
            for name, arrangement in arrangements.items():
                start = time.perf_counter()
                arrangement()
                fastest[name] = min(fastest[name], time.perf_counter() - start)
    print(f"\n| one process, the fastest of {ROUNDS} rounds | us an image | images/s |\n|---|---|---|")
    for name, seconds in fastest.items():
        print(f"| {name} | {1e6 * seconds / NUM_READ:.0f} | {NUM_READ / seconds:.0f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Step time and memory by the number of images of a stream.")
    parser.add_argument("--images", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--num_workers", type=int, default=2)
    parser.add_argument("--folder", help="Train on these shards and print JSON; the command calls itself so.")
    arguments = parser.parse_args()
    if arguments.folder is not None:
        print(json.dumps(train(arguments.folder, arguments.images[0], arguments.num_workers)))
        return
    print_machine(f"Streams of images: batches of {BATCH_SIZE}, {arguments.num_workers} workers;")
    print(
        "| images | disk MB | s to write + train | images/s | ms a step, first tenth | last tenth | "
        "main MB at 10 % | at the end | peak | workers MB at 10 % | at the end | peak |"
    )
    print("|---" * 12 + "|", flush=True)
    for num_images in arguments.images:
        measure_training(num_images, arguments.num_workers)
    measure_reading()


if __name__ == "__main__":
    main()

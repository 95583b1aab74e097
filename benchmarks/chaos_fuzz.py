"""Feed generated inputs to the doors of the package, and count those that end in neither a result nor a clear error.

    python benchmarks/chaos_fuzz.py --examples 10000 --output_dir runs/fuzz

An input may take `MEMORY` more than before it, at its peak. A door is finished when its file is in the output folder:
run the same command again to resume.
"""

import argparse
import base64
import contextlib
import io
import json
import math
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from chaos_runs import write_summary
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from PIL import Image
from rounds import peak_memory, resident_memory

from mg_vtc import MgVtcConfig
from mg_vtc.data.class_lists import IMIGUE_CLASS_NAMES
from mg_vtc.data.labels import read_labels
from mg_vtc.data.metadata import read_metadata
from mg_vtc.data.releases.boxes import read_crops
from mg_vtc.inference.segment_files import read_segments
from mg_vtc.losses import LOSS_TYPES, contrastive_loss, soft_target_loss

Check = Callable[[Any], object]
MEMORY = 256_000_000  # bytes
TOLERANCE = 1e-5  # by which rounding may pass the bound of a loss
FLOATS = st.floats(-1e4, 1e4, width=32)
SPECIAL = st.sampled_from([0.0, -0.0, 1e-30, -1e-30, 88.0, -88.0, 100.0, -100.0, 1e4, -1e4])


@st.composite
def comparisons(draw: Any) -> dict[str, Any]:
    """Arguments of `contrastive_loss`: any finite logits, and positives that are bool or floating point."""
    num_images, num_texts = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    loss_type = draw(st.sampled_from(LOSS_TYPES))
    if loss_type == "ce_identity":
        num_texts = num_images

    def matrix(values: Any) -> torch.Tensor:
        size = num_images * num_texts
        return torch.tensor(draw(st.lists(values, min_size=size, max_size=size))).view(num_images, num_texts)

    logits = matrix(FLOATS | SPECIAL).float()
    positives = matrix(st.booleans())
    if loss_type == "ce_identity":
        positives = positives | torch.eye(num_images, dtype=torch.bool)
    elif draw(st.booleans()):
        positives = matrix(st.sampled_from([0.0, 1e-30, 1e-6, 0.1, 0.5, 0.9, 1.0, 3.0, 1e6])).float()
    counts = None
    if loss_type != "ce_identity" and draw(st.booleans()):
        counts = torch.tensor(draw(st.lists(st.integers(1, 1000), min_size=num_texts, max_size=num_texts)))
    return {
        "logits": logits,
        "positives": positives,
        "loss_type": loss_type,
        "js_weight": draw(st.sampled_from([0.5, 1e-3, 0.1, 0.9, 0.999])),
        "text_counts": counts,
        "symmetric": draw(st.booleans()),
    }


def check_loss(arguments: dict[str, Any]) -> None:
    """A loss and its gradient are finite, and the loss is within its bounds; without positives it is refused."""
    arguments = arguments | {"logits": arguments["logits"].clone().requires_grad_()}
    if not arguments["positives"].any():
        with contextlib.suppress(ValueError):
            contrastive_loss(**arguments)
            raise AssertionError("rows without a positive were accepted")
        return
    loss = contrastive_loss(**arguments)
    loss.backward()
    assert loss.isfinite(), f"loss {loss.item()}"
    assert arguments["logits"].grad.isfinite().all(), "gradient"
    assert loss >= -TOLERANCE * max(1.0, arguments["logits"].abs().max().item()), f"loss {loss.item()}"
    if arguments["loss_type"] == "js" and arguments["js_weight"] == 0.5:
        assert loss <= math.log(2) + TOLERANCE, f"loss {loss.item()}"


@st.composite
def embeddings(draw: Any) -> dict[str, Any]:
    """Arguments of `soft_target_loss`."""
    rows, width = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    values = st.lists(st.floats(-50, 50, width=32), min_size=rows * width, max_size=rows * width)
    images, texts = (torch.tensor(draw(values)).float().view(rows, width) for _ in range(2))
    temperature = draw(st.sampled_from([0.01, 0.07, 1.0, 100.0]))
    return {"image_embeds": images, "text_embeds": texts, "temperature": temperature}


def check_soft_target_loss(arguments: dict[str, Any]) -> None:
    """The loss of soft targets and its gradients are finite."""
    arguments = {
        name: value.clone().requires_grad_() if isinstance(value, torch.Tensor) else value
        for name, value in arguments.items()
    }
    loss = soft_target_loss(**arguments)
    loss.backward()
    assert loss.isfinite(), f"loss {loss.item()}"
    assert arguments["image_embeds"].grad.isfinite().all(), "gradient"


SCALARS = st.none() | st.booleans() | st.integers(-3, 10**20) | st.floats() | st.text(max_size=8)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
)
TOWERS = st.sampled_from([{"model_type": "resnet"}, {"model_type": "alexnet"}, {"model_type": "vit"}, {}])
TEXTS = st.sampled_from([{"model_type": "distilbert"}, {"model_type": "bert"}, {"model_type": "none such"}, None])
CLASSES = st.dictionaries(st.integers(-1, 4) | st.sampled_from(["0", "1", "x"]), st.text(max_size=4) | SCALARS)
SETTINGS: dict[str, Any] = {
    "vision_config": TOWERS | JSON,
    "text_config": TEXTS | JSON,
    "vision_only": st.booleans() | JSON,
    "projection": st.sampled_from(["mlp", "linear", "none"]) | JSON,
    "projection_dim": st.integers(-1, 8) | JSON,
    "projection_dropout": st.floats() | JSON,
    "text_pooling": st.sampled_from(["auto", "cls", "eos"]) | JSON,
    "text_length": st.integers(-1, 8) | JSON,
    "normalize": st.booleans() | JSON,
    "logit_scale_init_value": st.floats() | JSON,
    "max_logit_scale": st.floats() | JSON,
    "prompt_template": st.sampled_from(["{}", "a {}", "{", "{}{}"]) | JSON,
    "id2label": CLASSES | JSON,
    "label2id": JSON,
    "num_labels": st.integers(-1, 5),
    "dtype": JSON,
    "auto_map": JSON,
}
CONFIGS = st.fixed_dictionaries({}, optional=SETTINGS)


def check_config(settings_of_json: dict[str, Any]) -> None:
    """A configuration is built and saved, or refused by a ValueError."""
    with contextlib.suppress(ValueError):
        config = MgVtcConfig.from_dict(dict(settings_of_json))
        saved = config.to_json_string(use_diff=False)
        assert MgVtcConfig.from_dict(json.loads(saved)).id2label == config.id2label


CELLS = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=6),
    st.sampled_from(["id", "name", "video", "start", "end", "class", "file_name", "label", "1", "2", "-1", "x,y,w,h"]),
    st.integers(-2, 10**30).map(str),
)
LINES = st.lists(st.lists(CELLS, max_size=6), max_size=5)


@st.composite
def tables(draw: Any) -> bytes:
    """Bytes of something like a CSV, with the head of a known table or without one."""
    mark, end = draw(st.sampled_from([",", ",", ",", ";", "\t"])), draw(st.sampled_from(["\n", "\r\n", "\r"]))
    head = draw(st.sampled_from(["", "id,name", "video,start,end", "start,end", "video,x,y,w,h", "file_name,label"]))
    lines = [head, *(mark.join(cells) for cells in draw(LINES))]
    content = end.join(lines).encode(draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"])), errors="replace")
    return content + draw(st.binary(max_size=4))


def check_message(error: ValueError) -> None:
    """A message is neither empty nor longer than a screen."""
    assert 0 < len(str(error)) < 1000, f"a message of {len(str(error))} characters"


def check_tables(content: bytes) -> None:
    """Labels, segments, boxes and metadata are read, or refused by a ValueError."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "metadata.csv"
        path.write_bytes(content)
        readers: list[Callable[[], object]] = [
            lambda: read_labels(path),
            lambda: read_segments(path),
            lambda: read_crops(path),
            lambda: read_metadata(path.parent, ["label", "clip"]),
        ]
        for read in readers:
            try:
                read()
            except ValueError as error:
                check_message(error)


def make_check_request(folder: Path) -> Check:
    """Return a check of requests to the endpoint of a small model, saved in a folder."""
    from mg_vtc.hub.handler import EndpointHandler
    from mg_vtc.models.modeling_mg_vtc import MgVtcModel
    from mg_vtc.models.processing_mg_vtc import build_processor, build_tokenizer

    names = IMIGUE_CLASS_NAMES[:6]
    processor = build_processor(32, build_tokenizer(names))
    tower = {"model_type": "resnet", "depths": [1], "hidden_sizes": [8], "embedding_size": 8, "layer_type": "basic"}
    text = {"model_type": "distilbert", "n_layers": 1, "dim": 16, "n_heads": 2, "hidden_dim": 32}
    text["vocab_size"] = len(processor.tokenizer)
    model = MgVtcModel(
        MgVtcConfig(vision_config=tower, text_config=text, projection_dim=8, id2label=dict(enumerate(names)))
    )
    model.eval().set_class_embeds(**processor.tokenizer(list(names), padding=True, return_tensors="pt"))
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    handler = EndpointHandler(str(folder))

    def check(request: Any) -> None:
        """A request gets predictions, or a ValueError with a short message, which is status 400."""
        start = time.monotonic()
        try:
            assert isinstance(handler(request), list)
        except ValueError as error:
            check_message(error)
        assert time.monotonic() - start < 10, "slow"

    return check


PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def draw_bomb() -> str:
    """Return the base64 of a PNG of 400 million pixels in 49 kB."""
    file = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


WORDS = st.text(max_size=5) | st.sampled_from(
    [PIXEL, draw_bomb(), "{}", "a, b", "x" * 5000, '"', "\ud800", "data:;base64,", "/dev/zero"]
)
KEYS = st.sampled_from(
    ["inputs", "parameters", "options", "image", "candidate_labels", "hypothesis_template", "top_k"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=2), inner, max_size=4),
    max_leaves=8,
)
PARAMETERS = st.fixed_dictionaries(
    {},
    optional={
        "candidate_labels": st.lists(WORDS, max_size=4) | WORDS,
        "hypothesis_template": WORDS,
        "top_k": st.integers(),
    },
)
REQUESTS = VALUES | st.fixed_dictionaries(
    {"inputs": VALUES | st.just(PIXEL)}, optional={"parameters": VALUES | PARAMETERS}
)


def list_doors(folder: Path) -> dict[str, tuple[Any, Check]]:
    """Return the inputs and the check of each door."""
    return {
        "losses": (comparisons(), check_loss),
        "loss of soft targets": (embeddings(), check_soft_target_loss),
        "configuration": (CONFIGS, check_config),
        "labels, segments, boxes, metadata": (tables(), check_tables),
        "endpoint": (REQUESTS, make_check_request(folder)),
    }


def feed(inputs: Any, check: Check, num_examples: int, start: int) -> dict[str, Any]:
    """Feed inputs to a check, and count those with an error that is not clear (lost) or a wrong result (silent).

    Faults are those of different messages, each with an input. Memory is in bytes: the most of an input beyond what
    there was before it, and what is kept after all.
    """
    tried, faults, most = 0, {}, 0
    counts = {"lost": 0, "silent": 0}

    @seed(start)
    @settings(
        max_examples=num_examples,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(inputs)
    def run(value: Any) -> None:
        nonlocal tried, most
        tried += 1
        before = resident_memory()
        Path("/proc/self/clear_refs").write_text("5")  # the peak is that of this input
        try:
            check(value)
            assert peak_memory() - before < MEMORY, "memory"
        except Exception as error:  # what is counted here
            kind = f"{type(error).__name__}: {str(error)[:100]}"
            faults.setdefault(kind, repr(value)[:2000])
            counts["silent" if isinstance(error, AssertionError) else "lost"] += 1
        most = max(most, peak_memory() - before)

    begin = resident_memory()
    run()
    return {"tried": tried, **counts, "faults": faults, "most": most, "kept": resident_memory() - begin}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=10_000, help="of each door")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output_dir", type=Path, default=Path("runs/fuzz"))
    options = parser.parse_args()
    torch.set_num_threads(1)  # more would only wait for each other over tensors so small
    options.output_dir.mkdir(parents=True, exist_ok=True)
    print("| door | tried | faults | most memory of an input, MB | kept, MB | s |\n|---|---|---|---|---|---|")
    sums = dict.fromkeys(("tried", "lost", "silent"), 0)
    with tempfile.TemporaryDirectory() as folder:
        for number, (door, (inputs, check)) in enumerate(list_doors(Path(folder)).items()):
            done = options.output_dir / f"{number}-{options.seed}-{options.examples}.json"
            if not done.exists():
                start = time.monotonic()
                found = feed(inputs, check, options.examples, options.seed)
                found["seconds"] = round(time.monotonic() - start, 1)
                done.write_text(json.dumps(found, indent=1))
            found = json.loads(done.read_text())
            sums = {name: number + found[name] for name, number in sums.items()}
            memory = f"{found['most'] / 1e6:.0f} | {found['kept'] / 1e6:.0f}"
            print(
                f"| {door} | {found['tried']:,} | {len(found['faults'])} | {memory} | {found['seconds']} |", flush=True
            )
            for kind, example in found["faults"].items():
                print(f"  {kind}\n    {example[:300]}", file=sys.stderr)
    survived = sums["tried"] - sums["lost"] - sums["silent"]
    write_summary(options.output_dir, survived=survived, lost=sums["lost"], silent=sums["silent"])


if __name__ == "__main__":
    main()

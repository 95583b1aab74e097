"""How large, fast and exact is the web page? Its folder, its first prediction, and its scores against Python's.

    python benchmarks/web_page.py RUN FOLDER
    python benchmarks/web_page.py

RUN is the folder of a run on FOLDER; its `split.json` says which images are validation and which training rows. The
page is exported in float32 and in int8, which training images calibrate, at most 128 spread evenly. Chromium opens it
from loopback on one thread and without a GPU. It scores each validation image, and so does Python.

The first prediction counts from the start of the navigation, with an empty cache, to the name on the page: the median
and the range of several starts, each in a browser of its own.

Without RUN, the model is ResNet50 and DistilBERT at full size from random weights, and only sizes and times are shown.
Needs Chromium with its driver, and selenium.
"""

import argparse
import contextlib
import functools
import http.server
import json
import os
import shutil
import statistics
import tempfile
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from inference_speed import SIZE, draw_images, save_model
from PIL import Image
from rounds import print_machine
from selenium import webdriver
from smallest import IMAGE_SIZE, add_smallest
from transformers.utils import logging

from mg_vtc import predict
from mg_vtc.data import load_image_folder
from mg_vtc.exporters.web import export_web
from mg_vtc.inference.loading import read_config

IMAGES = "images"  # folder of the page with those that are scored
FLAGS = ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "disable-background-networking")
# Scores by name of an image, with all digits, by the worker of the page, which is started once; or its message.
ASK_WORKER = """const [path, provider, done] = arguments;
const worker = window.asked ??= new Worker("worker.js", {type: "module"});
worker.onmessage = async ({data}) => {
  if (data.type === "ready") send();
  else if (data.type === "prediction") done(Object.fromEntries(data.names.map((name, i) => [name, data.scores[i]])));
  else if (data.type !== "progress") done(data.message);
};
const send = async () => worker.postMessage({type: "predict", names: null, blob: await (await fetch(path)).blob()});
const load = async () => {
  const model = await (await fetch("model/model.json")).json();
  worker.postMessage({type: "load", provider, threads: 1, model});
};
if (window.isReady) send(); else load();
window.isReady = true;"""


# Milliseconds from the start of the navigation to the name of a class on the page.
WAIT_FOR_PREDICTION = """const [done] = arguments;
const best = document.getElementById("best");
const look = () => best.textContent !== "No image yet" && done(performance.now());
new MutationObserver(look).observe(best, {childList: true, characterData: true, subtree: true});
look();"""


class Handler(http.server.SimpleHTTPRequestHandler):
    extensions_map = http.server.SimpleHTTPRequestHandler.extensions_map | {
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
    }

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The address of a folder on loopback."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def browsing() -> Iterator[webdriver.Chrome]:
    """A browser with an empty profile."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    with tempfile.TemporaryDirectory() as profile:
        for flag in (*FLAGS, f"user-data-dir={profile}"):
            options.add_argument(f"--{flag}")
        browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
        try:
            yield browser
        finally:
            browser.quit()


def time_first_prediction(folder: Path, image: Path, starts: int) -> list[float]:
    """Seconds from opening the page to its first prediction, of each start."""
    seconds = []
    with serving(folder) as address:
        for _ in range(starts):
            with browsing() as browser:
                browser.set_script_timeout(120)
                browser.get(address)
                browser.find_element("id", "file").send_keys(str(image))
                seconds.append(browser.execute_async_script(WAIT_FOR_PREDICTION) / 1000)
    return seconds


def score(folder: Path, names: list[str], classes: list[str]) -> np.ndarray:
    """Scores of images in the folder of a page by its worker, (num_images, num_labels)."""
    with serving(folder) as address, browsing() as browser:
        browser.set_script_timeout(120)
        browser.get(address)
        rows = [browser.execute_async_script(ASK_WORKER, f"{IMAGES}/{name}", "wasm") for name in names]
    return np.array([[row[name] for name in classes] for row in rows])


def place_images(folder: Path, data: Path, split: dict[str, Any]) -> tuple[list[str], np.ndarray]:
    """Write validation images to `images` and training images to `calibration`; give the names of the former.

    Returns:
        Names, and labels (num_images,).
    """
    rows = load_image_folder(data)["train"]
    row_of = {name: row for row, name in enumerate(rows["file_name"][:])}
    for part, kept in (("calibration", split["train"]), (IMAGES, split["validation"])):
        (folder / part).mkdir()
        for name in kept:
            image: Image.Image = rows[row_of[name]]["image"]
            image.save(folder / part / f"{name.replace(os.sep, '_')}.png")
    labels = np.array([rows[row_of[name]]["label"] for name in split["validation"]])
    return [f"{name.replace(os.sep, '_')}.png" for name in split["validation"]], labels


def measure_size(folder: Path) -> tuple[float, float]:
    """Megabytes that a visitor loads for the first prediction, and those of the whole folder."""
    description = json.loads((folder / "model" / "model.json").read_text(encoding="utf-8"))
    unused = {"tokenizers.min.mjs", *(path.name for path in (folder / "runtime").glob("*jspi*"))}
    if description["text"] is not None:
        unused |= {description["text"]["file"], "tokenizer.json", "tokenizer_config.json"}
    sizes = {path.name: path.stat().st_size / 1e6 for path in folder.rglob("*") if path.is_file()}
    return sum(size for name, size in sizes.items() if name not in unused), sum(sizes.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, metavar="RUN", nargs="?")
    parser.add_argument("folder", type=Path, metavar="FOLDER", nargs="?")
    parser.add_argument("--starts", type=int, default=5, help="of the browser, for the time of the first prediction")
    add_smallest(parser)
    options = parser.parse_args()
    logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*agree on")  # is a column of the table
        _measure(Path(scratch), options)


def _measure(scratch: Path, options: argparse.Namespace) -> None:
    run, names = options.run, []
    if run is None:
        run, size = scratch / "run", IMAGE_SIZE if options.smallest else SIZE
        save_model(run, size, smallest=options.smallest)
        (scratch / "calibration").mkdir()
        for number, drawn in enumerate(draw_images(4, size)):
            drawn.save(scratch / "calibration" / f"{number}.png")
    else:
        split = json.loads((run / "split.json").read_text(encoding="utf-8"))
        names, labels = place_images(scratch, options.folder, split)
        config = read_config(str(run))
        classes = [config.id2label[index] for index in range(config.num_labels)]
        found = predict(run, [scratch / IMAGES / name for name in names], top_k=len(classes))
        expected = [dict(zip(row.labels, row.scores, strict=True)) for row in found]
        truth = np.array([[row[name] for name in classes] for row in expected])  # (num_images, num_labels)
    image = next((scratch / "calibration").iterdir())
    print_machine(f"The web page, {len(names)} validation images." if names else "The web page.")
    print("| page | MB to load | MB in all | first prediction, s | largest difference | same best class, % | top-1 |")
    print("|---|---|---|---|---|---|---|")
    for title, int8 in (("float32", False), ("int8", True)):
        page = scratch / title
        export_web(str(run), page, int8=int8, calibration_data=scratch / "calibration")
        to_load, whole = measure_size(page)
        seconds = time_first_prediction(page, image, options.starts)
        span = f"{min(seconds):.1f} to {max(seconds):.1f}"
        cells = [f"{to_load:.1f}", f"{whole:.1f}", f"{statistics.median(seconds):.1f} ({span})"]
        if names:
            shutil.copytree(scratch / IMAGES, page / IMAGES)
            scores = score(page, names, classes)
            best = scores.argmax(axis=1)
            cells += [f"{np.abs(scores - truth).max():.1e}", f"{100 * (best == truth.argmax(axis=1)).mean():.1f}"]
            cells += [f"{100 * (best == labels).mean():.1f} %"]
        print(f"| {title} | {' | '.join(cells + [''] * (6 - len(cells)))} |", flush=True)


if __name__ == "__main__":
    main()

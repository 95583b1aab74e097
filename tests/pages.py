"""Pages as a user meets them: served by a process, opened in Chromium."""

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from conftest import TINY_DISTILBERT, TINY_RESNET

from mg_vtc import MgVtcConfig, MgVtcModel, load_image_folder
from mg_vtc.models.processing_mg_vtc import build_processor

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
BOUNDARY = "image"
HAS_BROWSER = bool(CHROMIUM and DRIVER)


def train_on_colours(folder, images, tokenizer=None):
    """Save a model that is sure of the colours of `images_dir`; without a tokenizer it is vision-only."""
    torch.manual_seed(0)
    processor = build_processor(32, tokenizer)
    texts = {"vision_only": True}
    if tokenizer is not None:
        texts = {"text_config": TINY_DISTILBERT | {"vocab_size": len(tokenizer)}}
    rows = load_image_folder(images)["train"]
    names = dict(enumerate(rows.features["label"].names))
    model = MgVtcModel(MgVtcConfig(vision_config=TINY_RESNET, projection_dim=12, id2label=names, **texts)).train()
    pixel_values = processor(images=rows["image"][:], return_tensors="pt").pixel_values
    labels = torch.tensor(rows["label"][:])
    prompts = {} if tokenizer is None else tokenizer(list(names.values()), padding=True, return_tensors="pt")
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(80):
        loss = F.cross_entropy(model(pixel_values=pixel_values, **prompts).logits_per_image, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    if prompts:
        model.set_class_embeds(**prompts)
    assert (model(pixel_values=pixel_values).logits_per_image.argmax(dim=1) == labels).all()
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def free_port():
    """A port that the system gives to no other process meanwhile, as it gives those from 32768 on."""
    for port in random.SystemRandom().sample(range(20000, 32768), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError("No port is free.")


@contextmanager
def serving(*command, port, cwd, inherited=os.environ, **environment):
    """Start a command that serves a page, and give the process once the page is there."""
    process = subprocess.Popen(
        [str(word) for word in command],
        cwd=cwd,
        env=dict(inherited) | {"OMP_NUM_THREADS": "1"} | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # which a background job is to ignore
    )
    try:
        deadline = time.monotonic() + 120
        while not is_served(port):
            assert process.poll() is None, process.stdout.read()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield process
    finally:
        process.kill()
        process.communicate()


def is_served(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
            return answer.status == 200
    except (ConnectionError, TimeoutError, urllib.error.URLError):
        return False


def upload(port, content):
    """Where the server put a file that it was sent."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="face.png"\r\n\r\n'
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/gradio_api/upload",
        data=head.encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode(),
        headers={"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)[0]


def click(port, button, values):
    """What a click gives back for the fields of the page, asked for as the page itself asks, without a browser."""
    address = f"http://127.0.0.1:{port}"
    with urllib.request.urlopen(f"{address}/config", timeout=30) as answer:
        page = json.load(answer)
    (clicked,) = (part["id"] for part in page["components"] if part["props"].get("elem_id") == button)
    (event,) = (event["id"] for event in page["dependencies"] if [clicked, "click"] in event["targets"])
    question = {"data": values, "fn_index": event, "session_hash": "visit"}
    request = urllib.request.Request(
        f"{address}/gradio_api/queue/join",
        data=json.dumps(question).encode(),
        headers={"Content-Type": "application/json"},
    )
    urllib.request.urlopen(request, timeout=30).close()
    with urllib.request.urlopen(f"{address}/gradio_api/queue/data?session_hash=visit", timeout=300) as lines:
        for line in lines:
            told = json.loads(line.removeprefix(b"data: ")) if line.strip() else {}
            if told.get("msg") == "process_completed":
                assert told["success"], told
                return told["output"]["data"]
    raise AssertionError("the page gave no answer")


def open_browser(profile, *flags):
    """Chromium without a window, which records what its pages ask the network for."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", f"user-data-dir={profile}"):
        options.add_argument(f"--{flag}")
    for flag in ("--disable-background-networking", *flags):
        options.add_argument(flag)
    options.add_argument("--use-fake-device-for-media-stream")  # a camera that shows a test image
    options.add_argument("--use-fake-ui-for-media-stream")  # and is allowed
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))


class Page:
    """The page in a browser, by what a user sees and does."""

    def __init__(self, browser, url):
        self.browser, self.url = browser, url

    def open(self, *, width=1280, height=900, dark=False):
        phone = width < 500
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        self.browser.get(self.url)
        self.wait(lambda: self.all("#image input[type=file]"))

    def all(self, selector):
        return self.browser.find_elements("css selector", selector)

    def one(self, selector):
        (found,) = self.all(selector)
        return found

    def box(self, selector):
        return self.one(selector).rect

    def wait(self, condition, seconds=30):
        """Until what is seen is as it should be; the page may change while it is read."""
        from selenium.common.exceptions import StaleElementReferenceException
        from selenium.webdriver.support.wait import WebDriverWait

        wait = WebDriverWait(self.browser, seconds, 0.05, [StaleElementReferenceException, ValueError])
        return wait.until(lambda _: condition())

    def upload(self, path):
        self.one("#image input[type=file]").send_keys(str(path))

    def ask(self, names=None):
        from selenium.webdriver.common.keys import Keys

        if names is not None:
            self.one("#names textarea").send_keys(Keys.CONTROL + "a")
            self.one("#names textarea").send_keys(Keys.BACKSPACE, names)
        self.one("#ask").click()

    def scores(self):
        """Names and percentages, as they stand one under the other."""
        words = self.one("#prediction").text.split("\n")[2:]  # behind the title and the best name
        return list(zip(words[::2], (int(share.removesuffix("%")) for share in words[1::2]), strict=True))

    def message(self):
        return " ".join(element.text for element in self.all("#message") if element.is_displayed())

    def asked_for(self):
        """Addresses that the browser asked the network for since this was called last."""
        events = [json.loads(entry["message"])["message"] for entry in self.browser.get_log("performance")]
        return [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]

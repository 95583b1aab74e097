"""Claims about the web page in Chromium: equal to Python, silent on the network, clear about what goes wrong."""

import functools
import http.server
import json
import re
import threading

import numpy as np
import pytest
from conftest import CLASS_NAMES
from pages import HAS_BROWSER, open_browser, train_on_colours
from PIL import Image
from web_page import ASK_WORKER, Handler, serving

from mg_vtc import predict
from mg_vtc.exporters.web import export_web

pytestmark = pytest.mark.slow

COLOURS = CLASS_NAMES[:4]


class Isolating(Handler):
    """Sends the headers of an isolated page if the server wants so."""

    def end_headers(self):
        if self.server.isolated:
            self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
            self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        super().end_headers()


@pytest.fixture(scope="module")
def site(images_dir, processor, tmp_path_factory, web_runtime_cache):
    folder = tmp_path_factory.mktemp("web")
    train_on_colours(folder / "run", images_dir, processor.tokenizer)
    export_web(str(folder / "run"), folder / "site")
    return folder


@pytest.fixture(scope="module")
def server(site):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Isolating, directory=site / "site"))
    server.isolated = False
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


class Widget:
    """The page by what a user sees and does."""

    def __init__(self, browser, url):
        self.browser, self.url = browser, url

    def open(self, *, width=1280, dark=False):
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        self.browser.get(self.url)

    def one(self, name):
        return self.browser.find_element("id", name)

    def wait(self, condition, seconds=60):
        from selenium.webdriver.support.wait import WebDriverWait

        return WebDriverWait(self.browser, seconds, 0.05).until(lambda _: condition())

    def upload(self, path):
        self.one("file").send_keys(str(path))

    def best(self):
        text = self.one("best").text
        return text if text != "No image yet" else ""

    def message(self):
        return self.one("message").text if self.one("message").is_displayed() else ""

    def names(self):
        rows = "return [...document.querySelectorAll('#scores .name')].map((row) => row.textContent)"
        return self.browser.execute_script(rows)  # at once, since rows are replaced

    def type_names(self, text):
        self.wait(lambda: self.one("own").is_displayed())
        self.browser.execute_script("arguments[0].open = true", self.one("own"))
        self.browser.execute_script("arguments[0].value = arguments[1]", self.one("names"), text)
        self.one("apply").click()


@pytest.fixture
def page(browser, server):
    server.isolated = False
    page = Widget(browser, f"http://127.0.0.1:{server.server_port}/")
    page.open()
    return page


@pytest.fixture
def face(images_dir):
    return images_dir / COLOURS[0] / "0000.0.png"


def test_image_gets_its_right_name_and_a_heat_map(page, images_dir):
    for name in COLOURS:
        page.open()
        page.upload(images_dir / name / "0001.1.png")
        assert page.wait(page.best) == name
        assert set(page.names()) == set(COLOURS)
        assert page.one("heat").is_displayed()
        page.one("show-heat").click()
        assert not page.one("heat").is_displayed()


def test_names_of_ones_own_are_compared_instead(page, face):
    page.upload(face)
    page.wait(page.best)
    page.type_names("folding arms\nhead up\ncovering face")
    assert page.wait(lambda: len(page.names()) == 3)
    assert page.names()[0] == "covering face"
    page.one("reset").click()
    assert page.wait(lambda: len(page.names()) == 4)


def test_page_in_8_bits_compares_names_of_ones_own(browser, site, images_dir, face):
    export_web(str(site / "run"), site / "int8", int8=True, calibration_data=images_dir)
    with serving(site / "int8") as address:
        page = Widget(browser, address)
        page.open()
        page.upload(face)
        assert page.wait(page.best) == COLOURS[0]
        page.type_names("folding arms\nhead up\ncovering face")
        assert page.wait(lambda: len(page.names()) == 3)
        assert page.names()[0] == "covering face"


@pytest.mark.parametrize(
    ("typed", "expected"),
    [("one", "two or more"), ("a\na", "twice"), ("\n".join(map(str, range(101))), "the limit is 100")],
    ids=["one", "twice", "many"],
)
def test_names_that_cannot_be_compared_are_refused(page, typed, expected):
    page.type_names(typed)
    assert expected in page.wait(page.message)


def test_threshold_gives_none_of_these(page, face):
    page.upload(face)
    page.wait(page.best)
    set_value = "arguments[0].value = 99; arguments[0].dispatchEvent(new Event('input'))"
    page.browser.execute_script(set_value, page.one("threshold"))
    shown = page.one("best").text
    assert shown in ("None of these", COLOURS[0])
    first = page.browser.find_element("css selector", "#scores .value").text
    assert (shown == "None of these") == (float(first.split()[0]) < 99)


def test_nothing_leaves_the_machine_and_nothing_is_stored(server, face, tmp_path):
    if not HAS_BROWSER:
        pytest.skip("no Chromium with its driver on this machine")
    log, url = tmp_path / "net.json", f"http://127.0.0.1:{server.server_port}/"
    browser = open_browser(tmp_path / "profile", f"--log-net-log={log}")  # of the whole browser, workers too
    try:
        page = Widget(browser, url)
        page.open()
        page.upload(face)
        page.wait(page.best)
        page.type_names("covering face\nhead up")
        page.wait(lambda: len(page.names()) == 2)
        stored = "return [localStorage.length, sessionStorage.length, document.cookie]"
        assert browser.execute_script(stored) == [0, 0, ""]
        databases = "const [done] = arguments; indexedDB.databases().then((found) => done(found.length))"
        assert browser.execute_async_script(databases) == 0
        kept = "const [done] = arguments; caches.keys().then((found) => done(found.length))"
        assert browser.execute_async_script(kept) == 0
    finally:
        browser.quit()
    text = log.read_text()
    asked = {
        json.loads(f'"{found}"') for found in re.findall(r'"initiator":"http://127[^"]*".*?"url":"([^"]+)"', text)
    }
    assert {f"{url}model/image.onnx", f"{url}model/text_encoder.onnx", f"{url}runtime/tokenizers.min.mjs"} <= asked
    assert {address for address in asked if not address.startswith((url, "data:", "blob:"))} == set()


def draw_kinds(folder, count):
    """Images of six kinds: EXIF orientation, alpha, grey, CMYK, huge and tiny."""
    random = np.random.default_rng(0)
    folder.mkdir(exist_ok=True)

    def photo(height, width, channels=3):
        coarse = random.integers(0, 256, (4, 5, channels), dtype=np.uint8)
        bands = [
            Image.fromarray(coarse[:, :, i]).resize((width, height), Image.Resampling.BICUBIC) for i in range(channels)
        ]
        noise = random.integers(-12, 13, (height, width, channels))
        return np.clip(np.stack([np.asarray(band) for band in bands], axis=2) + noise, 0, 255).astype(np.uint8)

    for number in range(count):
        kind = ("exif", "alpha", "grey", "cmyk", "huge", "tiny")[number % 6]
        height, width = (int(side) for side in random.integers(40, 400, 2))
        path = folder / f"{number:03}-{kind}"
        if kind == "exif":
            exif = Image.Exif()
            exif[0x0112] = 1 + number // 6 % 8
            Image.fromarray(photo(height, width)).save(path.with_suffix(".jpg"), quality=90, exif=exif)
        elif kind == "alpha":
            Image.fromarray(photo(height, width, 4), "RGBA").save(path.with_suffix(".png"))
        elif kind == "grey":
            Image.fromarray(photo(height, width, 1)[:, :, 0]).save(path.with_suffix(".png"))
        elif kind == "cmyk":
            Image.fromarray(photo(height, width)).convert("CMYK").save(path.with_suffix(".jpg"), quality=90)
        elif kind == "huge":
            Image.fromarray(photo(1500, 2400)).save(path.with_suffix(".jpg"), quality=85)
        else:
            Image.fromarray(photo(*(int(side) for side in random.integers(1, 12, 2)))).save(path.with_suffix(".png"))
    return sorted(folder.iterdir())


def test_scores_of_100_images_of_six_kinds_are_those_of_python(page, site):
    paths = draw_kinds(site / "site" / "kinds", 100)
    page.browser.set_script_timeout(60)
    differences = {}
    for prediction, path in zip(predict(site / "run", paths, top_k=4), paths, strict=True):
        assert prediction.error is None
        found = page.browser.execute_async_script(ASK_WORKER, f"kinds/{path.name}", "wasm")
        assert isinstance(found, dict), (path.name, found)
        expected = dict(zip(prediction.labels, prediction.scores, strict=True))
        differences[path.name] = max(abs(found[name] - score) for name, score in expected.items())
    assert {name: value for name, value in differences.items() if value > 1e-3} == {}


def test_isolated_page_runs_on_several_threads(page, server, face):
    server.isolated = True
    page.browser.execute_cdp_cmd("Network.clearBrowserCache", {})  # its files were sent without these headers
    page.open()
    page.upload(face)
    assert page.wait(page.best) == COLOURS[0]
    assert "threads" in page.one("engine").text


@pytest.fixture
def gpu_browser(tmp_path):
    """Chromium with WebGPU, which it computes on the CPU where there is no GPU."""
    if not HAS_BROWSER:
        pytest.skip("no Chromium with its driver on this machine")
    browser = open_browser(tmp_path / "profile", "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader")
    yield browser
    browser.quit()


def test_scores_by_webgpu_are_those_of_python(gpu_browser, server, site, images_dir):
    gpu_browser.get(f"http://127.0.0.1:{server.server_port}/LICENSES.txt")  # starts no other engine
    find_adapter = "const [done] = arguments; navigator.gpu.requestAdapter().then((adapter) => done(adapter !== null))"
    is_there = "return Boolean(navigator.gpu) && 'Suspending' in WebAssembly"
    if not (gpu_browser.execute_script(is_there) and gpu_browser.execute_async_script(find_adapter)):
        pytest.skip("this Chromium has no WebGPU adapter")
    paths = [images_dir / name / "0001.1.png" for name in COLOURS]
    (site / "site" / "colours").mkdir()
    gpu_browser.set_script_timeout(110)  # shaders are compiled at the first run, on a CPU in up to a minute
    for prediction, path in zip(predict(site / "run", paths, top_k=4), paths, strict=True):
        (site / "site" / "colours" / path.parent.name).with_suffix(".png").write_bytes(path.read_bytes())
        address = f"/colours/{path.parent.name}.png"
        found = gpu_browser.execute_async_script(ASK_WORKER, address, "webgpu")
        expected = dict(zip(prediction.labels, prediction.scores, strict=True))
        assert found == pytest.approx(expected, abs=1e-3)


def test_camera_gives_predictions_until_it_is_stopped(page):
    page.wait(lambda: page.one("engine").text.startswith("WebAssembly"))
    page.one("camera").click()
    assert page.wait(page.best) in COLOURS
    page.wait(lambda: "640" in page.one("facts").text)
    assert page.one("camera").get_attribute("aria-pressed") == "true"
    page.one("camera").click()
    assert page.one("camera").text == "Camera"


def write_video(path, image):
    """Ten frames of an image, as Chromium's fake camera reads them."""
    width, height = image.size
    luma, *colour = (np.asarray(band) for band in image.convert("YCbCr").split())
    frame = b"".join(plane.tobytes() for plane in (luma, *(band[::2, ::2] for band in colour)))
    header = f"YUV4MPEG2 W{width} H{height} F10:1 Ip A1:1 C420jpeg\n".encode()
    path.write_bytes(header + 10 * (b"FRAME\n" + frame))


@pytest.mark.parametrize("name", COLOURS[1:3])
def test_camera_gives_the_right_gesture(server, images_dir, tmp_path, name):
    if not HAS_BROWSER:
        pytest.skip("no Chromium with its driver on this machine")
    shown = Image.open(images_dir / name / "0001.1.png").resize((640, 480))
    write_video(tmp_path / "camera.y4m", shown)
    flag = f"--use-file-for-fake-video-capture={tmp_path / 'camera.y4m'}"
    browser = open_browser(tmp_path / "profile", flag)
    try:
        page = Widget(browser, f"http://127.0.0.1:{server.server_port}/")
        page.open()
        page.wait(lambda: page.one("engine").text.startswith("WebAssembly"))
        page.one("camera").click()
        page.wait(lambda: "640 × 480" in page.one("facts").text)
        assert page.best() == name
    finally:
        browser.quit()


@pytest.mark.parametrize("error", ["NotAllowedError", "NotFoundError", "NotReadableError"])
def test_camera_that_cannot_be_used_says_what_to_do(page, error):
    refuse = f"navigator.mediaDevices.getUserMedia = async () => {{ throw new DOMException('', '{error}'); }}"
    page.browser.execute_script(refuse)
    page.one("camera").click()
    assert "then press Camera again" in page.wait(page.message)


def test_file_that_is_no_image_says_what_to_use_and_the_page_goes_on(page, face, tmp_path):
    (tmp_path / "wrong.png").write_text("no image")
    page.upload(tmp_path / "wrong.png")
    assert page.wait(page.message) == "This file cannot be read as an image. Use JPEG, PNG or WebP."
    page.upload(face)
    assert page.wait(page.best) == COLOURS[0]
    assert page.message() == ""


@pytest.mark.parametrize("name", ["image.onnx", "model.json"])
@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_damaged_model_is_named(page, site, name, damage):
    path = site / "site" / "model" / name
    content = path.read_bytes()
    try:
        if damage == "changed":
            path.write_bytes(
                content[:1000] + bytes([content[1000] ^ 1]) + content[1001:] if name != "model.json" else b"{"
            )
        else:
            path.unlink()
        page.browser.execute_cdp_cmd("Network.clearBrowserCache", {})
        page.open()
        message = page.wait(page.message)
        assert f"model/{name}" in message
        assert "copy the folder again" in message
        assert page.one("engine").text == "Not running"
    finally:
        path.write_bytes(content)


def test_old_browser_is_told_which_are_new_enough(page):
    source = {"source": "delete self.OffscreenCanvas;"}
    added = page.browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", source)
    try:
        page.open()
        assert "lacks OffscreenCanvas. Use a current Chrome" in page.wait(lambda: page.one("start").text)
    finally:  # the browser is that of all tests
        page.browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)


def test_keyboard_reaches_every_control_and_results_are_announced(page, face):
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.keys import Keys

    page.upload(face)
    page.wait(page.best)
    reached = []
    for _ in range(8):
        ActionChains(page.browser).send_keys(Keys.TAB).perform()
        reached.append(page.browser.switch_to.active_element.get_attribute("id"))
    assert {"file", "camera", "show-heat", "threshold"} <= set(reached)
    assert page.one("best").get_attribute("aria-live") == "polite"
    assert page.one("message").get_attribute("role") == "alert"
    assert COLOURS[0] in page.one("image").get_attribute("aria-label")


@pytest.mark.parametrize("width", [390, 768, 1440, 1920])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_page_fits_the_window_and_the_prediction_is_in_sight(page, face, width, dark):
    page.open(width=width, dark=dark)
    page.upload(face)
    page.wait(page.best)
    sizes = page.browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert sizes[0] <= sizes[1]
    assert page.one("best").rect["y"] < 900
    ground = page.browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, ground.removeprefix("rgb(").rstrip(")").split(","))) < 200) == dark

"""Names of strangers on the page, in Chromium: they are shown, and nothing of them acts."""

import sys

import pytest
from conftest import TINY_RESNET
from hostile_names import FORMULAS, LINKS, MARKS, TAGS, TEMPLATES
from pages import Page, free_port, serving
from PIL import Image
from saved_models import save_model

pytestmark = pytest.mark.slow

NAMES = list(dict.fromkeys(" ".join(name.split()) for name in TAGS + LINKS + MARKS + TEMPLATES + FORMULAS))
OWNED = "return [typeof window.__owned, document.querySelectorAll('.gradio-container a[href]').length]"


@pytest.fixture
def page(browser, tmp_path, processor):
    folder = tmp_path / "`<img src=x onerror=alert(1)>`"
    save_model(folder, TINY_RESNET, tokenizer=processor.tokenizer, id2label=dict(enumerate([*NAMES, "\u202egnp.exe"])))
    port = free_port()
    with serving(sys.executable, "-m", "mg_vtc", "app", folder, "--port", port, port=port, cwd=tmp_path):
        page = Page(browser, f"http://127.0.0.1:{port}/")
        page.open()
        yield page


def test_names_are_shown_and_act_nowhere(page, tmp_path):
    Image.new("RGB", (40, 40), (200, 40, 40)).save(tmp_path / "red.png")
    page.upload(tmp_path / "red.png")
    page.wait(page.scores)
    assert page.one("h1 + p code").text == "`<img src=x onerror=alert(1)>`"
    (opener,) = (one for one in page.all("button") if "training classes" in one.text)
    opener.click()
    page.wait(lambda: page.all("#classes li"))
    listed = [one.get_attribute("textContent") for one in page.all("#classes li")]
    assert listed == [*NAMES, r"\u202egnp.exe"]
    assert page.scores()[0][0] in listed
    assert page.browser.execute_script(OWNED) == ["undefined", 0]
    typed = [name for name in [*NAMES[:6], *TEMPLATES] if '"' not in name]  # quotes group words in the field
    page.ask("\n".join(typed))
    page.wait(lambda: any(f"“{name}”" in page.one("#about").text for name in typed) or page.message())
    assert page.message() == ""
    page.ask("\n".join([*typed, TAGS[0], TAGS[0].upper()]))
    assert "are the same" in page.wait(page.message)
    assert page.browser.execute_script(OWNED) == ["undefined", 0]
    assert not [url for url in page.asked_for() if "example.invalid" in url]

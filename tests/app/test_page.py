"""Claims about the page, in Chromium, served by the real command for a model that was trained on colours."""

import sys

import pytest
from conftest import CLASS_NAMES
from pages import Page, free_port, serving, train_on_colours
from PIL import Image

pytestmark = pytest.mark.slow

COLOURS = CLASS_NAMES[:4]


@pytest.fixture(scope="module")
def url(browser, images_dir, processor, tmp_path_factory):
    folder = train_on_colours(tmp_path_factory.mktemp("colours"), images_dir, processor.tokenizer)
    port = free_port()
    command = [sys.executable, "-m", "mg_vtc", "app", folder, "--port", port]
    temporary = tmp_path_factory.mktemp("temporary")
    with serving(*command, port=port, cwd=temporary, TMPDIR=str(temporary)) as process:
        yield f"http://127.0.0.1:{port}/"
        assert list(temporary.rglob("*.png"))
        process.terminate()
        process.wait(timeout=30)
        assert list(temporary.iterdir()) == []  # all images of all tests


@pytest.fixture
def page(browser, url):
    page = Page(browser, url)
    page.open()
    return page


@pytest.fixture
def faces(images_dir):
    """An image of the first class."""
    return images_dir / COLOURS[0] / "0000.0.png"


def test_image_that_is_uploaded_gets_its_right_name_first(page, images_dir):
    for name in COLOURS:
        page.open()
        page.upload(images_dir / name / "0001.1.png")
        scores = page.wait(page.scores)
        assert scores[0][0] == name
        assert scores[0][1] > 80
        assert {name for name, _ in scores} == set(COLOURS)
        assert [share for _, share in scores] == sorted((share for _, share in scores), reverse=True)


def test_names_of_ones_own_are_compared_instead(page, faces):
    page.upload(faces)
    page.wait(lambda: len(page.scores()) == 4)
    page.ask("folding arms\nhead up, or back\ncovering face")
    page.wait(lambda: len(page.scores()) == 3)
    assert page.scores()[0][0] == "covering face"
    assert "“covering face”" in page.one("#about").text
    page.ask("")
    page.wait(lambda: len(page.scores()) == 4)


def test_map_is_shown_over_the_image_and_said_to_be_rough(page, tmp_path):
    Image.new("RGB", (300, 150), (220, 40, 40)).save(tmp_path / "wide.png")
    page.upload(tmp_path / "wide.png")
    page.wait(lambda: page.all("#heat img"))
    size = "const [one] = arguments; return one.complete && [one.naturalWidth, one.naturalHeight]"
    assert page.wait(lambda: page.browser.execute_script(size, page.one("#heat img"))) == [300, 150]
    assert "4 × 4 fields" in page.wait(lambda: page.one("#about").text)


def test_file_that_is_no_image_is_reported_in_the_page_which_goes_on(page, faces, tmp_path):
    (tmp_path / "wrong.png").write_text("no image")
    page.upload(tmp_path / "wrong.png")
    assert page.wait(page.message) == "This file cannot be read as an image. Use JPEG, PNG or WebP."
    assert not page.all("#heat img")
    assert "Traceback" not in page.browser.page_source
    assert str(tmp_path) not in page.browser.page_source
    page.open()
    page.upload(faces)
    assert page.wait(page.scores)[0][0] == COLOURS[0]
    assert page.message() == ""


def test_file_of_another_kind_is_reported_in_the_page(page, tmp_path):
    (tmp_path / "notes.txt").write_text("no image")
    page.upload(tmp_path / "notes.txt")
    page.wait(lambda: "Invalid file type: notes.txt" in page.one("body").text)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ("folding arms", "“folding arms” alone would always score 100 %"),
        (", ,", "Name 1 in '' is empty"),
        ("Head up, head up, <b>x</b>", "'Head up' and 'head up' are the same class name"),
    ],
)
def test_names_that_cannot_be_compared_are_reported_in_the_page(page, faces, names, words):
    page.upload(faces)
    page.wait(page.scores)
    page.ask(names)
    assert words in page.wait(page.message)
    assert page.one("#prediction").text == "Prediction"  # the former one is gone
    page.ask("folding arms, <i>head</i> up")
    page.wait(page.scores)
    assert page.message() == ""


def test_asking_without_an_image_is_reported(page):
    page.ask()
    assert page.wait(page.message) == "Upload or take an image first."


def test_drawn_example_is_predicted_with_a_click(page):
    assert len(page.all("#examples img")) == 3
    page.all("#examples img")[0].click()
    page.wait(lambda: page.scores() and page.all("#heat img"))


def test_image_from_the_camera_is_predicted(page):
    page.one("#image [aria-label='Capture from camera']").click()
    page.wait(lambda: page.all("#image [title='grant webcam access']"))[0].click()

    def capture():  # again and again, as the camera needs some time to show anything
        for button in page.all("#image [aria-label='capture photo']"):
            button.click()
        return page.scores() and page.all("#heat img")

    page.wait(capture)


def test_limits_are_in_sight_before_anything_is_asked(page):
    limits = page.one("#limits").text
    for words in ("A gesture is not an emotion.", "not stored", "AI Act, Article 5"):
        assert words in limits
    assert page.box("#limits")["y"] + page.box("#limits")["height"] < page.box("#image")["y"] < 300


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_phone_shows_all_in_its_width_with_the_prediction_behind_the_image(page, faces, dark):
    page.open(width=390, height=844, dark=dark)
    page.upload(faces)
    page.wait(lambda: page.scores() and page.all("#heat img"))
    width = (
        "return [document.documentElement.scrollWidth, innerWidth, getComputedStyle(document.body).backgroundColor]"
    )
    needed, given, background = page.browser.execute_script(width)
    assert needed <= given == 390
    assert (max(int(part) for part in background.strip("rgba()").split(",")[:3]) < 60) == dark
    tops = [page.box(one)["y"] for one in ("#limits", "#image", "#examples", "#prediction", "#names", "#ask", "#heat")]
    assert tops == sorted(tops)
    assert all(page.box(one)["width"] > 300 for one in ("#image", "#prediction", "#names", "#heat"))


def in_view(page, selector):
    """Whether all of a part of the page is seen without scrolling."""
    code = "const box = arguments[0].getBoundingClientRect(); return 0 <= box.top && box.bottom <= innerHeight"
    return page.browser.execute_script(code, page.one(selector))


def test_phone_shows_the_prediction_after_an_upload_and_after_a_question(page, faces, tmp_path):
    page.open(width=390, height=844)
    assert not in_view(page, "#prediction")
    page.upload(faces)
    page.wait(lambda: page.scores() and in_view(page, "#prediction"))
    page.browser.execute_script("arguments[0].scrollIntoView()", page.one("#heat"))
    page.wait(lambda: not in_view(page, "#prediction"))
    page.ask("folding arms, covering face")
    page.wait(lambda: len(page.scores()) == 2 and in_view(page, "#prediction"))
    page.ask("folding arms")
    page.wait(lambda: "would always score 100 %" in page.message() and in_view(page, "#message"))


def test_wide_screen_shows_the_prediction_without_scrolling(page, faces):
    page.upload(faces)
    page.wait(lambda: page.scores() and page.all("#heat img"))
    assert in_view(page, "#prediction")
    assert page.browser.execute_script("return scrollY") == 0


def test_nothing_is_loaded_from_elsewhere(page, url, faces):
    page.asked_for()
    page.open()
    page.upload(faces)
    page.wait(lambda: page.scores() and page.all("#heat img"))
    addresses = page.asked_for()
    assert len(addresses) > 10
    assert [address for address in addresses if not address.startswith((url, "data:", "blob:" + url))] == []

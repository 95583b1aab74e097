"""Claims about the app of a Space: the files of a Space, by themselves, serve the page of the model they name."""

import sys

import pytest
from conftest import CLASS_NAMES
from pages import Page, free_port, serving, train_on_colours

from mg_vtc.hub.space import collect_space

pytestmark = pytest.mark.slow

KEPT_SECONDS = 20  # by the page that is tested; enough to be answered on a busy machine


@pytest.fixture(scope="module")
def space(images_dir, tmp_path_factory):
    """The folder of a Space; its model is vision-only, and in a folder, as there is no Hub here."""
    model = train_on_colours(tmp_path_factory.mktemp("colours"), images_dir)
    folder = tmp_path_factory.mktemp("space")
    for name, content in collect_space("org/colours", "resnet").items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content.replace(b"org/colours", bytes(model)))
    page = folder / "mg_vtc" / "app" / "page.py"  # changed, to be told from that of the package that is installed
    changes = {"Drawn examples": "Marked examples", "KEPT_SECONDS = 600": f"KEPT_SECONDS = {KEPT_SECONDS}"}
    source = page.read_text()
    for old, new in (changes | {"EVERY_SECONDS = 60": "EVERY_SECONDS = 1"}).items():
        assert old in source
        source = source.replace(old, new)
    page.write_text(source)
    return folder


def files_in(folder):
    return {path for path in folder.rglob("*") if path.is_file()}


def test_space_shows_its_model_with_its_own_copy_of_the_package_and_forgets_images(
    browser, space, images_dir, tmp_path
):
    port = free_port()
    # python puts the folder of a script first, before the package that is installed here
    settings = {"PYTHONPATH": "", "GRADIO_SERVER_PORT": str(port), "GRADIO_TEMP_DIR": str(tmp_path)}
    with serving(sys.executable, "app.py", port=port, cwd=space, **settings):
        examples = files_in(tmp_path)
        page = Page(browser, f"http://127.0.0.1:{port}/")
        page.open()
        assert not page.all("#names")  # a vision-only model reads none
        assert "Marked examples" in page.one("#examples").text
        page.upload(images_dir / CLASS_NAMES[1] / "0002.0.png")
        scores = page.wait(page.scores)
        assert scores[0][0] == CLASS_NAMES[1]
        assert len(scores) == 4
        assert len(files_in(tmp_path) - examples) >= 2  # what was uploaded, and the map over it
        page.wait(lambda: files_in(tmp_path) == examples, seconds=60)
        page.ask()
        assert page.wait(page.message) == "The image has been deleted since it was chosen. Choose it again."

"""Claims about the app of a Space: the files of a Space, by themselves, serve the page of the model they name."""

import sys

import pytest
from conftest import CLASS_NAMES
from pages import Page, free_port, serving, train_on_colours

from mg_vtc.hub.publish_space import collect_space


@pytest.fixture(scope="module")
def space(picture_folder, tmp_path_factory):
    """The folder of a Space; its model is vision-only, and in a folder, as there is no Hub here."""
    model = train_on_colours(tmp_path_factory.mktemp("colours"), picture_folder)
    folder = tmp_path_factory.mktemp("space")
    for name, content in collect_space(str(model)).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    page = folder / "mg_vtc" / "space" / "page.py"  # marked, to be told from that of the package that is installed
    page.write_text(page.read_text().replace("Drawn examples", "Marked examples"))
    return folder


def test_space_shows_its_model_with_its_own_copy_of_the_package(browser, space, picture_folder):
    port = free_port()
    # python puts the folder of a script first, before the package that is installed here
    with serving(
        sys.executable, "app.py", port=port, cwd=space, PYTHONPATH="", GRADIO_SERVER_PORT=str(port)
    ) as process:
        page = Page(browser, f"http://127.0.0.1:{port}/")
        page.open()
        assert not page.all("#names")  # a vision-only model reads none
        page.upload(picture_folder / CLASS_NAMES[1] / "0002.0.png")
        scores = page.wait(page.scores)
        assert scores[0][0] == CLASS_NAMES[1]
        assert len(scores) == 4
        assert "Marked examples" in page.one("#examples").text
        assert process.poll() is None

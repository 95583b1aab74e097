"""The benchmark of the web page: its sizes, times and scores, with and without a run."""

import json
import sys

import pytest
import web_page
from pages import HAS_BROWSER, train_on_colours

pytestmark = pytest.mark.slow


@pytest.fixture
def run_main(monkeypatch, capsys, web_runtime_cache):
    """The main function of the script, with flags; gives the cells of each row of its table."""
    if not HAS_BROWSER:
        pytest.skip("no Chromium with its driver on this machine")

    def run(*flags):
        monkeypatch.setattr(sys, "argv", ["web_page.py", *map(str, flags), "--starts", "1"])
        web_page.main()
        rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
        return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]

    return run


def test_page_of_a_run_scores_its_validation_images_as_python_does(run_main, images_dir, processor, tmp_path):
    folder = train_on_colours(tmp_path / "run", images_dir, processor.tokenizer)
    names = [path.relative_to(images_dir).as_posix() for path in sorted(images_dir.rglob("*.png"))]
    split = {"train": names[::2], "validation": names[1::2]}
    (folder / "split.json").write_text(json.dumps(split))
    exact, int8 = run_main(folder, images_dir)
    assert [exact[0], int8[0]] == ["float32", "int8"]
    assert float(exact[4]) < 1e-3
    assert exact[5:] == ["100.0", "100.0 %"]
    assert float(exact[1]) < float(exact[2])  # the text model is not loaded at first
    assert float(int8[2]) < float(exact[2])
    assert float(int8[5]) > 90


def test_page_without_a_run_shows_sizes_and_times(run_main):
    for row in run_main("--smallest"):
        assert float(row[1]) > 14  # ONNX Runtime alone
        assert float(row[3].split()[0]) > 0
        assert row[4:] == ["", "", ""]

"""`mg-vtc app`: what it prints, what it leaves, what it refuses."""

import os
import signal
import socket
import sys
from pathlib import Path

import pytest
from pages import click, free_port, serving, upload

pytestmark = pytest.mark.slow


def test_page_is_for_this_machine_alone_and_leaves_nothing_when_ctrl_c_stops_it(two_class_run, tmp_path):
    temporary, cwd = tmp_path / "temporary", tmp_path / "cwd"
    temporary.mkdir()
    cwd.mkdir()
    port = free_port()
    command = [sys.executable, "-m", "mg_vtc", "app", two_class_run, "--port", port]
    with serving(*command, port=port, cwd=cwd, TMPDIR=str(temporary)) as process:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", port), timeout=5)
        path = upload(port, b"a face")
        assert path.startswith(str(temporary))
        with open(path, "rb") as file:
            assert file.read() == b"a face"
        assert process.stdout.readline() == f"http://127.0.0.1:{port}/ shows {two_class_run}. Ctrl-C stops it.\n"
        process.send_signal(signal.SIGINT)
        screen, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    assert screen == "\nstopped\n"
    assert list(temporary.iterdir()) == []
    assert list(cwd.iterdir()) == []


def test_files_that_were_not_shown_to_the_page_are_neither_opened_nor_told_of(two_class_run, image, tmp_path):
    """Whoever speaks to the server may name any path: each got an answer about that file once."""
    port = free_port()
    command = [sys.executable, "-m", "mg_vtc", "app", two_class_run, "--port", port]
    (tmp_path / "secret.png").write_bytes(image.read_bytes())
    with serving(*command, port=port, cwd=tmp_path):
        shown = upload(port, image.read_bytes())
        _, answer, heat, _ = click(port, "ask", [{"path": shown}, ""])
        assert answer["label"]
        assert heat["path"]
        folder = Path(shown).parent
        outside = f"{folder}/{os.path.relpath(tmp_path, folder)}/secret.png"
        for path in (
            str(tmp_path / "secret.png"),
            str(tmp_path / "absent.png"),
            "/etc/passwd",
            "/",
            "",
            "\0",
            outside,
        ):
            message, *nothing = click(port, "ask", [{"path": path}, ""])
            assert "has been deleted since it was chosen" in message["value"], path
            assert not any(value.get("value") for value in nothing if value), path
        for file in ({"path": None}, {}):
            assert "has been deleted" in click(port, "ask", [file, ""])[0]["value"], file


def test_misclassifications_are_reported_in_a_line(refusal, tmp_path):
    assert "must be from 1 to 65535, got 99999" in refusal("app", tmp_path, "--port", "99999")

"""Claims about the server: which ports it takes, and what it refuses before anything slow."""

import os
import socket

import pytest

from mg_vtc import serve


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_ports_that_are_none_are_refused(port):
    with pytest.raises(ValueError, match=f"`port` must be from 1 to 65535, got {port}"), serve("absent", port):
        pass


def test_taken_port_is_refused_with_the_way_out():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=f"Port {port} cannot be used .*choose another"), serve("x", port):
            pass
    assert "GRADIO_TEMP_DIR" not in os.environ

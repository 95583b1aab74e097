"""Local server of the demo page."""

import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

LOOPBACK = "127.0.0.1"
VARIABLE = "GRADIO_TEMP_DIR"


@contextmanager
def serve(model_id: str, port: int | None = None) -> Iterator[str]:
    """Serve the page of a model on this machine until the block ends, then delete all uploaded images.

    The page is reachable from this machine only. It connects to nothing but the Hub, to load a model by its id.

    Args:
        model_id: Folder or Hub id of a model of this package.
        port: Port from 1 to 65535; by default the first free port from 7860.

    Yields:
        URL of the page.

    Raises:
        OSError: The model is not found, or there is no free port.
        ValueError: The model type is not mg_vtc, or the port is invalid or in use.
    """
    if port is not None:
        _check_port(port)
    with tempfile.TemporaryDirectory(prefix="mg-vtc-demo-") as images, _keeping_images_in(images):
        from .page import LAUNCH, build_page  # Gradio creates folders there on import

        page = build_page(model_id)
        _, url, _ = page.launch(server_name=LOOPBACK, server_port=port, prevent_thread_lock=True, **LAUNCH)
        try:
            yield url
        finally:
            page.close(verbose=False)


@contextmanager
def _keeping_images_in(folder: str) -> Iterator[None]:
    """Make Gradio store uploads in a folder."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = folder
    try:
        yield
    finally:
        del os.environ[VARIABLE]
        if before is not None:
            os.environ[VARIABLE] = before


def _check_port(port: int) -> None:
    if not 1 <= port <= 65535:
        raise ValueError(f"`port` must be from 1 to 65535, got {port}.")
    with socket.socket() as probe:
        probe.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # like the server; ignores ports that were just closed
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            raise ValueError(f"Port {port} cannot be used ({error.strerror}): choose another `port`.") from error

"""The page of a model on this machine, for this machine alone."""

import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

LOOPBACK = "127.0.0.1"
VARIABLE = "GRADIO_TEMP_DIR"


@contextmanager
def serve(model_id: str, port: int | None = None) -> Iterator[str]:
    """Serve the page of a model until the block ends; the pictures that were shown to it go with it.

    It is within reach of this machine alone, and reaches for nothing itself but a model that is named by its Hub id.

    Args:
        model_id: Folder or Hub id of a model of this package.
        port: Where, from 1 to 65535; by default the first that is free from 7860 on.

    Yields:
        Its address.

    Raises:
        OSError: There is no such model within reach, or no free port.
        ValueError: It is a model of another kind, or the port is taken.
    """
    if port is not None:
        _check_port(port)
    with tempfile.TemporaryDirectory(prefix="mg-vtc-demo-") as pictures, _keeping_pictures_in(pictures):
        from .page import LAUNCH, build_page  # Gradio makes folders there when it is imported

        page = build_page(model_id)
        _, url, _ = page.launch(server_name=LOOPBACK, server_port=port, prevent_thread_lock=True, **LAUNCH)
        try:
            yield url
        finally:
            page.close(verbose=False)


@contextmanager
def _keeping_pictures_in(folder: str) -> Iterator[None]:
    """Make Gradio keep there what is uploaded and shown."""
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
        raise ValueError(f"--port is {port}; it must be from 1 to 65535.")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as a server does: not those that just closed
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            raise ValueError(f"Port {port} can not be used ({error.strerror}): choose another --port.") from error

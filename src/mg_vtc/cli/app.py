"""`mg-vtc app`: try a model on a page in the browser."""

import argparse
import signal
import threading
from typing import Any


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "app",
        help="try a model in the browser, on this machine",
        description="Serve a page to try a model with images from files or the camera, with a heat map and names of "
        "your own. Only this machine can open it.",
        allow_abbrev=False,
    )
    parser.add_argument("model", metavar="MODEL", help="folder of a run, or Hub id")
    parser.add_argument("--port", type=int, metavar="N", help="port; by default the first free one from 7860")
    parser.set_defaults(run=_serve)


def _serve(options: argparse.Namespace) -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that uploaded images are deleted then, too
    try:
        from transformers.utils import logging

        from ..app.server import serve

        logging.disable_progress_bar()  # of loading weights
        with serve(options.model, options.port) as url:
            print(f"{url} shows {options.model}. Ctrl-C stops it.", flush=True)
            threading.Event().wait()
    except KeyboardInterrupt:
        print("\nstopped")

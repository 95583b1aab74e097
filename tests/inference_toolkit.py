"""What Hugging Face's inference toolkit does with a `handler.py`: python -I inference_toolkit.py FOLDER.

Prints the port of the loopback interface on which it serves. As on the machine of an endpoint, the package is out of
reach; and unlike there, whatever the handler would fetch from a network is an error.
"""

import importlib.util
import io
import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qsl, urlsplit

from PIL import Image


class Absent:
    """A finder before all others, by which the package is not installed."""

    def find_spec(name, path=None, target=None):
        if name.split(".")[0] == "mg_vtc":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def refuse_network(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo"):
        raise PermissionError(f"{event} {arguments}")


def shut_in():
    sys.meta_path.insert(0, Absent)
    sys.addaudithook(refuse_network)


def load_handler(folder):
    """Load the handler of a folder as the toolkit does: by its path, with the folder on `sys.path`."""
    spec = importlib.util.spec_from_file_location("handler.EndpointHandler", f"{folder}/handler.py")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, folder)
    sys.modules["handler.EndpointHandler"] = module
    spec.loader.exec_module(module)
    return module.EndpointHandler(folder)


def read_query(query):
    """Parameters of a query; those that look like one become numbers or truth values."""
    constants = {"true": True, "false": False}
    return {name: int(value) if value.isnumeric() else constants.get(value, value) for name, value in parse_qsl(query)}


class Toolkit(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send(*((200, "text/plain", b"Ok") if self.path in ("/", "/health") else (404, "text/plain", b"")))

    def do_POST(self):
        url = urlsplit(self.path)
        try:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            kind = (self.headers["Content-Type"] or "").split(";")[0]
            if kind == "application/json":
                data = json.loads(body)
            elif kind.startswith("image/"):
                data = {"inputs": Image.open(io.BytesIO(body)).convert("RGB")}
            else:
                raise ValueError(f"Content type {kind!r} not supported.")
            if "inputs" not in data:
                raise ValueError("Body needs to provide a inputs key.")
            if url.query and "parameters" not in data:
                data["parameters"] = read_query(url.query)
            status, answer = 200, json.dumps(self.server.handler(data), allow_nan=False)
        except Exception as error:
            status, answer = 400, json.dumps({"error": str(error)})
        self.send(status, "application/json", answer.encode())

    def send(self, status, kind, content):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments):
        pass


if __name__ == "__main__":
    shut_in()
    with HTTPServer(("127.0.0.1", 0), Toolkit) as server:
        server.handler = load_handler(sys.argv[1])
        sys.stdout.write(f"{server.server_port}\n")
        sys.stdout.flush()
        server.serve_forever()

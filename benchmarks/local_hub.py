"""A Hub on loopback, written with the standard library: what `huggingface_hub` asks for to push and to load a model.

Commits, branches and objects are kept in memory as git and git LFS keep them: a commit is a tree of files under a sha
that never changes, and weights are objects of their own, which a commit points to.
"""

import base64
import hashlib
import json
import re
import socket
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import yaml
from huggingface_hub import constants, hf_api
from transformers.utils import hub as transformers_hub

TOKEN, STRANGER = "hf_" + "a" * 34, "hf_" + "b" * 34
LFS_SUFFIXES = (".safetensors", ".bin", ".pt", ".onnx", ".png")


@dataclass
class File:
    """Content in the repository itself or, with an `lfs` oid, in the store of objects."""

    content: bytes = b""
    lfs: str | None = None

    @property
    def oid(self):
        pointer = f"oid sha256:{self.lfs}\n".encode() if self.lfs else self.content
        return hashlib.sha1(b"blob %d\0" % len(pointer) + pointer).hexdigest()


@dataclass
class Repo:
    private: bool = False
    commits: dict = field(default_factory=dict)  # sha: {name: File}
    messages: dict = field(default_factory=dict)  # sha: message of the commit
    branches: dict = field(default_factory=dict)  # name: sha

    def commit(self, branch, files, message):
        tree = {name: file.oid for name, file in sorted(files.items())}
        sha = hashlib.sha1(json.dumps([self.branches.get(branch), tree, message]).encode()).hexdigest()
        self.commits[sha], self.messages[sha], self.branches[branch] = files, message, sha
        return sha

    def resolve(self, revision):
        return self.branches.get(revision, revision if revision in self.commits else None)


class Refused(Exception):
    def __init__(self, status, message, code=None):
        self.status, self.message, self.code = status, message, code


def owner_of(name):
    return name.split("/")[-2]


class Hub:
    """State of the server. `users` are the namespaces that a token may write to.

    With `break_off` "upload" the server reads half of an object, tells `half_way` and waits; with "commit" it closes
    the connection without a response; with "object" it refuses the objects, as a store does whose links have expired;
    with "pause" it tells `half_way` and waits before it stores an object.
    """

    def __init__(self):
        self.repos, self.objects = {}, {}
        self.users = {TOKEN: {"org", "me"}, STRANGER: {"stranger"}}
        self.break_off = None
        self.half_way, self.stop = threading.Event(), threading.Event()
        self.requests = []  # method, path

    def namespaces(self, token):
        """Where a token may write."""
        if token is None:
            raise Refused(401, "Invalid username or password.")
        if token not in self.users:
            raise Refused(401, "Invalid credentials in Authorization header")
        return self.users[token]

    def writable(self, name, token):
        repo = self.readable(name, token)
        if owner_of(name) not in self.namespaces(token):
            raise Refused(403, "You don't have the rights to write to this repository")
        return repo

    def readable(self, name, token):
        repo = self.repos.get(name)
        owners = self.users.get(token, set())
        if repo is None or (repo.private and owner_of(name) not in owners):
            # nobody without access learns whether it exists
            raise Refused(401 if token is None else 404, "Repository not found", "RepoNotFound")
        return repo

    def content(self, file):
        return self.objects[file.lfs] if file.lfs else file.content

    def files(self, name, revision="main"):
        """Contents of a revision by name."""
        repo = self.repos[name]
        return {path: self.content(file) for path, file in repo.commits[repo.resolve(revision)].items()}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # a Space is kept as "spaces/owner/name", as its page's address has it
    named = r"(?P<name>(?:spaces/)?[^/]+/[^/]+)"
    api = rf"/api/(?:models/|(?=spaces/)){named}"
    routes = (
        ("POST", r"/api/repos/create", "create"),
        ("POST", r"/api/validate-yaml", "validate_yaml"),
        ("POST", rf"{api}/preupload/(?P<revision>[^/]+)", "preupload"),
        ("POST", rf"{api}/commit/(?P<revision>[^/]+)", "commit"),
        ("POST", rf"{api}/branch/(?P<revision>[^/]+)", "branch"),
        ("POST", rf"/{named}\.git/info/lfs/objects/batch", "lfs_batch"),
        ("PUT", r"/lfs/(?P<oid>\w+)", "lfs_put"),
        ("GET", r"/lfs/(?P<oid>\w+)", "lfs_get"),
        ("GET", rf"{api}(?:/revision/(?P<revision>[^/]+))?", "info"),
        ("GET", rf"{api}/tree/(?P<revision>[^/]+)(?:/(?P<path>.+))?", "tree"),
        ("GET", rf"{api}/auth-check/write", "may_write"),
        ("GET", rf"/{named}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", "resolve"),
    )

    @property
    def hub(self):
        return self.server.hub

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    @property
    def store(self):
        """Where objects are: another host for the client, which sends its token to the first one alone."""
        return f"http://localhost:{self.server.server_address[1]}/lfs"

    def log_message(self, *_):
        pass

    def serve(self):
        path = urlsplit(self.path).path
        self.hub.requests.append((self.command, unquote(path)))
        bearer = self.headers.get("Authorization", "")
        self.token = bearer.removeprefix("Bearer ") or None
        self.unread = int(self.headers.get("Content-Length", 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            raise AssertionError("this server reads no chunks")
        try:
            for method, pattern, action in self.routes:
                match = re.fullmatch(pattern, path)
                if match and method == ("GET" if self.command == "HEAD" else self.command):
                    arguments = {key: value and unquote(value) for key, value in match.groupdict().items()}
                    return getattr(self, action)(**arguments)
            raise Refused(404, f"no such address: {self.command} {path}")
        except Refused as refusal:
            self.body()
            code = {"X-Error-Code": refusal.code} if refusal.code else {}
            self.answer(
                {"error": refusal.message}, status=refusal.status, headers={"X-Error-Message": refusal.message} | code
            )

    do_GET = do_HEAD = do_POST = do_PUT = serve

    def body(self, size=None):
        content = self.rfile.read(self.unread if size is None else size)
        self.unread -= len(content)
        return content

    def answer(self, content, status=200, headers=None):
        if not isinstance(content, bytes):
            content = json.dumps(content).encode()
            headers = {"Content-Type": "application/json"} | (headers or {})
        self.send_response(status)
        for key, value in ({"Content-Length": len(content)} | (headers or {})).items():
            self.send_header(key, str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    # Pushing

    def create(self):
        wanted = json.loads(self.body())
        namespaces = self.hub.namespaces(self.token)
        name = f"{wanted['organization']}/{wanted['name']}"
        name = f"spaces/{name}" if wanted.get("type") == "space" else name
        if wanted["organization"] not in namespaces:
            raise Refused(403, f"You don't have the rights to create a model under the namespace {owner_of(name)}")
        if name in self.hub.repos:
            return self.answer({"error": "You already created this model repo", "url": f"{self.address}/{name}"}, 409)
        repo = self.hub.repos[name] = Repo(private=wanted.get("visibility") == "private")
        repo.commit("main", {".gitattributes": File(b"*.safetensors filter=lfs\n")}, "initial commit")
        return self.answer({"url": f"{self.address}/{name}", "name": name})

    def may_write(self, name):
        self.hub.writable(name, self.token)
        self.answer({})

    def validate_yaml(self):
        content = json.loads(self.body())["content"]
        matter = re.match(r"---\n(.*?)\n---\n", content, re.DOTALL)
        try:
            data = yaml.safe_load(matter[1]) if matter else None
        except yaml.YAMLError as error:
            return self.answer({"errors": [{"message": str(error)}], "warnings": []}, 400)
        warnings = [] if data else [{"message": "empty or missing yaml metadata in repo card"}]
        return self.answer({"errors": [], "warnings": warnings})

    def _tree(self, name, revision, *, write=False):
        repo = (self.hub.writable if write else self.hub.readable)(name, self.token)
        sha = repo.resolve(revision)
        if sha is None:
            raise Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return repo, sha, repo.commits[sha]

    def preupload(self, name, revision):
        _, _, tree = self._tree(name, revision, write=True)
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["path"].endswith(LFS_SUFFIXES) else "regular",
                "shouldIgnore": False,
                "oid": (tree[file["path"]].lfs or tree[file["path"]].oid) if file["path"] in tree else None,
            }
            for file in json.loads(self.body())["files"]
        ]
        self.answer({"files": files})

    def lfs_batch(self, name):
        self.hub.writable(name, self.token)
        rows = json.loads(self.body())["objects"]
        for row in rows:
            if row["oid"] not in self.hub.objects:
                row["actions"] = {"upload": {"href": f"{self.store}/{row['oid']}"}}
        self.answer({"transfer": "basic", "objects": rows})

    def lfs_put(self, oid):
        if self.hub.break_off == "object":
            raise Refused(403, "Request has expired")
        if self.hub.break_off == "upload":
            self.body(self.unread // 2)
            self.hub.half_way.set()
            self.hub.stop.wait()
            self.close_connection = True
            return
        content = self.body()
        if self.hub.break_off == "pause":
            self.hub.half_way.set()
            self.hub.stop.wait()
        if hashlib.sha256(content).hexdigest() != oid:
            raise Refused(400, "The content does not have the hash that it was announced with")
        self.hub.objects[oid] = content
        self.answer(b"")

    def branch(self, name, revision):
        repo = self.hub.writable(name, self.token)
        self.body()
        if revision in repo.branches:
            raise Refused(409, "Reference already exists")
        repo.branches[revision] = repo.branches["main"]
        self.answer({})

    def commit(self, name, revision):
        repo, _, tree = self._tree(name, revision, write=True)
        lines = [json.loads(line) for line in self.body().splitlines()]
        if self.hub.break_off == "commit":
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        files, message = dict(tree), None
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                message = value["summary"]
            elif line["key"] == "file":
                files[value["path"]] = File(base64.b64decode(value["content"]))
            elif line["key"] == "lfsFile":
                if value["oid"] not in self.hub.objects:
                    raise Refused(400, f"The object of {value['path']} was not uploaded")
                files[value["path"]] = File(lfs=value["oid"])
            elif line["key"] == "deletedFile":
                del files[value["path"]]
            else:
                raise AssertionError(line["key"])
        sha = repo.commit(revision, files, message)
        self.answer({"success": True, "commitOid": sha, "commitUrl": f"{self.address}/{name}/commit/{sha}"})

    # Loading

    def info(self, name, revision):
        repo, sha, tree = self._tree(name, revision or "main")
        siblings = [{"rfilename": path} for path in tree]
        about = {"id": name, "modelId": name, "sha": sha, "private": repo.private, "siblings": siblings, "tags": []}
        if "README.md" in tree:
            matter = re.match(r"---\n(.*?)\n---\n", tree["README.md"].content.decode(), re.DOTALL)
            card = yaml.safe_load(matter[1]) if matter else {}
            about |= {"cardData": card, "tags": card.get("tags", [])}
            about |= {key: card[key] for key in ("pipeline_tag", "library_name") if key in card}
        self.answer(about)

    def tree(self, name, revision, path):
        _, _, tree = self._tree(name, revision)
        recursive = parse_qs(urlsplit(self.path).query).get("recursive", ["false"])[0].lower() in ("true", "1")
        prefix = f"{path}/" if path else ""
        rows, folders = [], set()
        for file_path, file in sorted(tree.items()):
            if not file_path.startswith(prefix):
                continue
            inner = file_path.removeprefix(prefix)
            if "/" in inner and not recursive:
                folders.add(prefix + inner.split("/")[0])
                continue
            row = {"type": "file", "path": file_path, "size": len(self.hub.content(file)), "oid": file.oid}
            if file.lfs:
                row["lfs"] = {"oid": file.lfs, "size": row["size"], "pointerSize": 134}
            rows.append(row)
        if path and not rows and not folders:
            raise Refused(404, f"{path} does not exist", "EntryNotFound")
        self.answer(rows + [{"type": "directory", "path": folder, "oid": "0" * 40} for folder in sorted(folders)])

    def resolve(self, name, revision, path):
        _, sha, tree = self._tree(name, revision)
        commit = {"X-Repo-Commit": sha}
        if path not in tree:
            self.answer({"error": "Entry not found"}, 404, commit | {"X-Error-Code": "EntryNotFound"})
            return
        file = tree[path]
        if file.lfs:
            size = len(self.hub.objects[file.lfs])
            headers = commit | {"X-Linked-Etag": f'"{file.lfs}"', "X-Linked-Size": size}
            self.answer(b"", 302, headers | {"Location": f"{self.store}/{file.lfs}"})
        else:
            self._send_range(file.content, commit | {"ETag": f'"{file.oid}"'})

    def lfs_get(self, oid):
        if self.token is not None:
            raise Refused(400, "A link that is signed goes without a token")
        self._send_range(self.hub.objects[oid], {"ETag": f'"{oid}"'})

    def _send_range(self, content, headers):
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        headers |= {"Accept-Ranges": "bytes"}
        if not wanted:
            return self.answer(content, 200, headers)
        start, end = int(wanted[1]), int(wanted[2] or len(content) - 1)
        if start >= len(content):
            return self.answer(b"", 416, headers | {"Content-Range": f"bytes */{len(content)}"})
        headers |= {"Content-Range": f"bytes {start}-{min(end, len(content) - 1)}/{len(content)}"}
        return self.answer(content[start : end + 1], 206, headers)


@contextmanager
def serving_hub():
    """A running Hub, with its `address`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True  # an upload that was broken off may hang in one
    server.hub = hub = Hub()
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.stop.set()
        server.shutdown()
        server.server_close()
        thread.join()


def client_environment(environment, hub, home, token=TOKEN):
    """The environment of a process that speaks to the Hub alone, with caches and a token of its own."""
    dropped = {"HF_HUB_OFFLINE", "HF_TOKEN", "HF_HUB_CACHE", "HF_HUB_DISABLE_PROGRESS_BARS"}
    kept = {key: value for key, value in environment.items() if key not in dropped and "proxy" not in key.lower()}
    kept |= {"HF_ENDPOINT": hub.address, "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    kept |= {"HF_HOME": str(home), "HF_MODULES_CACHE": str(home / "modules")}
    return kept | ({} if token is None else {"HF_TOKEN": token})


def speak_to(hub, patch, home):
    """Make the client of this process, which has read its environment, speak to the Hub, with a token for `org`."""
    settings = {"ENDPOINT": hub.address, "HF_HUB_OFFLINE": False, "HF_HUB_DISABLE_XET": True}
    settings |= {"HUGGINGFACE_CO_URL_TEMPLATE": hub.address + "/{repo_id}/resolve/{revision}/{filename}"}
    settings |= {"HF_HUB_DISABLE_TELEMETRY": True, "HF_TOKEN_PATH": str(home / "absent")}
    settings |= {"HF_HUB_CACHE": str(home / "hub_cache")}  # with nothing of an earlier test, nor of the user's
    for name, value in settings.items():
        patch.setattr(constants, name, value)
    patch.setattr(hf_api.api, "endpoint", hub.address)  # which it read when it was made,
    patch.setattr(transformers_hub, "_hf_api", None)  # and so did that of transformers, which is made again
    patch.setenv("HF_TOKEN", TOKEN)

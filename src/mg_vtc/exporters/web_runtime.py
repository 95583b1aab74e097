"""Libraries that the web page runs on, from npm: ONNX Runtime Web and a tokenizer.

A wheel ships them, so an export needs no npm. In a checkout they are fetched on first use and kept in the cache. This
module uses only the standard library, since the build of the wheel runs it.
"""

import base64
import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import NamedTuple

PAGE_FILES = ("index.html", "style.css", "icon.svg", "app.js", "engine.js", "worker.js")  # beside these libraries
SHIPPED = Path(__file__).with_name("web_page") / "runtime"


class Library(NamedTuple):
    """A pinned package of npm.

    Attributes:
        name: Name and version.
        sha512: Hash of its archive, in Base64, as npm publishes it.
        license: SPDX identifier.
        owner: Holder of the copyright.
        files: Files that the page loads, from its folder `dist`.
    """

    name: str
    sha512: str
    license: str
    owner: str
    files: tuple[str, ...]


LIBRARIES = (
    Library(
        "onnxruntime-web@1.30.0",
        "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ==",
        "MIT",
        "Microsoft Corporation",
        (
            "ort.wasm.min.mjs",
            "ort-wasm-simd-threaded.mjs",
            "ort-wasm-simd-threaded.wasm",
            "ort.jspi.min.mjs",  # with WebGPU
            "ort-wasm-simd-threaded.jspi.mjs",
            "ort-wasm-simd-threaded.jspi.wasm",
        ),
    ),
    Library(
        "@huggingface/tokenizers@0.2.0",
        "LidMHe1FpcSYH4vcSjXooda34pC0M8m1gmDOv7SQi6Iv+ib1zX7J3sHBCC9/3FPCkn2k1b55FneVqMRxrr99pg==",
        "Apache-2.0",
        "Hugging Face",
        ("tokenizers.min.mjs",),
    ),
)
RUNTIME_FILES = tuple(name for library in LIBRARIES for name in library.files)


def find_runtime() -> Path:
    """Return a folder with all of `RUNTIME_FILES`: that of the wheel, or that of the cache, filled if necessary.

    Raises:
        OSError: The files are in neither, and npm is missing or cannot fetch them.
    """
    if SHIPPED.is_dir():
        return SHIPPED
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "mg_vtc", "web-runtime")
    folder = cache / "-".join(library.name.rpartition("@")[2] for library in LIBRARIES)
    if not folder.is_dir():
        fetch_runtime(folder)
    return folder


def fetch_runtime(folder: Path) -> None:
    """Fetch the libraries with npm, compare their hashes, and write `RUNTIME_FILES` to a new folder.

    Raises:
        OSError: npm is missing or cannot fetch them, or an archive has another hash.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise OSError(
            "The libraries of the web page are not part of this installation: install npm to fetch them, or install a "
            "wheel of mg-vtc that has them."
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as staging:
        for library in LIBRARIES:
            archive = _pack(npm, library, Path(staging))
            with tarfile.open(archive) as packed:
                for name in library.files:
                    member = packed.extractfile(f"package/dist/{name}")
                    assert member is not None  # the hash was compared
                    target = Path(staging, "runtime", name)
                    target.parent.mkdir(exist_ok=True)
                    target.write_bytes(member.read())
        try:
            Path(staging, "runtime").rename(folder)
        except OSError:  # another process was first
            if not folder.is_dir():
                raise


def _pack(npm: str, library: Library, folder: Path) -> Path:
    """Download the archive of a library.

    Raises:
        OSError: npm cannot fetch it, or its hash is another one.
    """
    command = [npm, "pack", library.name, "--silent", "--ignore-scripts", "--pack-destination", str(folder)]
    packed = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if packed.returncode != 0:
        reason = (packed.stderr or packed.stdout).strip().splitlines()
        raise OSError(f"npm cannot fetch {library.name}: {reason[-1] if reason else 'no reason given'}")
    archive = folder / packed.stdout.split()[-1]
    found = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if found != library.sha512:
        raise OSError(f"The archive of {library.name} has the SHA-512 {found}, not {library.sha512}: not used.")
    return archive


def describe_licenses() -> str:
    """Return the licences of the libraries, for a file beside them."""
    texts = [f"{library.name}, {library.license}, Copyright (c) {library.owner}\n" for library in LIBRARIES]
    return "\n".join(["Libraries in the folder runtime:\n", *texts, MIT_LICENSE, APACHE_NOTICE])


MIT_LICENSE = """MIT License

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""
APACHE_NOTICE = """Apache License, Version 2.0

Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except in compliance with the
License. You may obtain a copy of the License at http://www.apache.org/licenses/LICENSE-2.0. Unless required by
applicable law or agreed to in writing, software distributed under the License is distributed on an "AS IS" BASIS,
WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific language
governing permissions and limitations under the License.
"""

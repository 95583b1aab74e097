"""Build the set of real images that the numbers of this project are measured on.

    python benchmarks/gestures.py FOLDER

864 images of 64 px of 32 hand and body gestures, in the layout of iMiGUE: `training/<id>/<clip>.<frame>.jpg`, with
the names of the classes in `labels.csv`. A clip is one drawing of an emoji, its frames are the skin tones of that
drawing, so they are near duplicates, as neighbouring frames of a video are.

The drawings are Noto Emoji and Twemoji, out of two packages that npm fetches; `gestures.csv` beside this script says
which clip is which emoji. Nothing is written before all images are made and have the pixels they should have. The
licences are printed, and written to `LICENSES.txt`.
"""

import argparse
import csv
import hashlib
import io
import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import PIL
from PIL import Image

CLIPS = Path(__file__).with_suffix(".csv")
JPEG_QUALITY = 92
# SHA-256 of all pixels before JPEG, in the order of `gestures.csv`, and of all JPEG files: the second depends on the
# encoder and is that of Pillow 12.3.0.
PIXELS_DIGEST = "7cba4d80acbcf320861391012fd1a61c7a0d22d19c0e7fafb45eaa9013a20f3d"
FILES_DIGEST = "371ec05df0e2424ca9f87b0ca20a05b016abbb6ead37b4215435df23ebb4f82e"
LICENSES = """\
The images in this folder were made from these works: of each emoji, the PNG of 64 px was laid on white and saved as
JPEG. They are not part of mg-vtc and are under the licences of their makers.

Files of `sources.csv` with the package emoji-datasource-google:
    Noto Emoji, copyright Google Inc. Apache License 2.0, https://www.apache.org/licenses/LICENSE-2.0

Files of `sources.csv` with the package emoji-datasource-twitter:
    Twemoji, copyright Twitter, Inc and other contributors. Graphics licensed under CC-BY 4.0,
    https://creativecommons.org/licenses/by/4.0/

Both packages are by Cal Henderson, https://github.com/iamcal/emoji-data, with the MIT License. They say that the
images are under the licences above.
"""
Clip = Mapping[str, str]  # a row of `gestures.csv`
ReleaseImage = tuple[str, Image.Image]  # path below the folder, and RGB


def read_clips() -> list[Clip]:
    """The rows of `gestures.csv`: id, name, clip, package, short_name, frames."""
    with CLIPS.open(newline="") as file:
        return list(csv.DictReader(file))


def fetch(package: str, folder: Path) -> Path:
    """Have npm fetch a package, such as "name@1.0.0", and return its tarball in `folder`."""
    npm = shutil.which("npm")
    if npm is None:
        raise SystemExit("The images come out of packages of npm, and npm is not here: install Node.js.")
    result = subprocess.run([npm, "pack", "--loglevel", "error", package], cwd=folder, capture_output=True, text=True)
    if result.returncode != 0:
        raise SystemExit(f"npm could not fetch {package}:\n{result.stderr.strip() or result.stdout.strip()}")
    return folder / result.stdout.split()[-1]


def draw_clips(tarball: Path, clips: Iterable[Clip]) -> list[ReleaseImage]:
    """Take the frames of some clips out of a package, each on white.

    The emoji itself is frame 0; its skin tones follow in the order of the package's `emoji.json`.

    Raises:
        SystemExit: The package has no such emoji, or another number of frames of it.
    """
    images = []
    with tarfile.open(tarball) as package:
        emoji = {entry["short_name"]: entry for entry in json.loads(read_packed(package, "emoji.json"))}
        for clip in clips:
            vendor = clip["package"].split("@")[0].rsplit("-", 1)[1]
            entry = emoji.get(clip["short_name"], {"image": None})
            files = [entry["image"], *(tone["image"] for tone in entry.get("skin_variations", {}).values())]
            if entry["image"] is None or len(files) != int(clip["frames"]):
                raise SystemExit(f"{tarball.name} has no {clip['frames']} frames of {clip['short_name']!r}.")
            for frame, file in enumerate(files):
                path = f"training/{clip['id']}/{clip['clip']}.{frame}.jpg"
                images.append((path, lay_on_white(read_packed(package, f"img/{vendor}/64/{file}"))))
    return images


def read_packed(package: tarfile.TarFile, name: str) -> bytes:
    """A file of an npm package, by its path in it."""
    file = package.extractfile(f"package/{name}")
    assert file is not None, name  # it is a regular file of the package
    return file.read()


def lay_on_white(png: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(png)).convert("RGBA")
    page = Image.new("RGB", image.size, "white")
    page.paste(image, mask=image.getchannel("A"))
    return page


def encode(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=JPEG_QUALITY)
    return file.getvalue()


def digest(contents: Iterable[bytes]) -> str:
    """SHA-256 over all of them, one after the other."""
    result = hashlib.sha256()
    for content in contents:
        result.update(content)
    return result.hexdigest()


def format_table(header: list[str], clips: Iterable[Clip]) -> str:
    """CSV of some columns, each row once."""
    file = io.StringIO()
    csv.writer(file).writerows([header, *dict.fromkeys(tuple(clip[name] for name in header) for clip in clips)])
    return file.getvalue()


def write_set(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write all files into a folder that is new or empty.

    Raises:
        SystemExit: The folder holds something.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SystemExit(f"{folder} is there already and is left as it is: name a folder that is new or empty.")
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def make_set(clips: list[Clip]) -> dict[str, bytes]:
    """All files of the set, by their paths; the images in the order of `gestures.csv`."""
    by_path: dict[str, Image.Image] = {}
    with tempfile.TemporaryDirectory() as folder:
        for package in sorted({clip["package"] for clip in clips}):
            tarball = fetch(package, Path(folder))
            by_path |= draw_clips(tarball, [clip for clip in clips if clip["package"] == package])
            with tarfile.open(tarball) as opened:
                package_license = read_packed(opened, "LICENSE").decode()
    order = [f"training/{clip['id']}/{clip['clip']}.{n}.jpg" for clip in clips for n in range(int(clip["frames"]))]
    if (found := digest(by_path[path].tobytes() for path in order)) != PIXELS_DIGEST:
        raise SystemExit(f"These are not the images that were measured: their digest is {found}.")
    return {path: encode(by_path[path]) for path in order} | {
        "labels.csv": format_table(["id", "name"], clips).encode(),
        "sources.csv": format_table(["id", "clip", "package", "short_name", "frames"], clips).encode(),
        "LICENSES.txt": f"{LICENSES}\n{package_license}".encode(),
    }


def write_and_describe(folder: Path, files: Mapping[str, bytes], licenses: str, files_digest: str) -> None:
    """Write a set whose pixels are as measured, and say whether its files are, too."""
    write_set(folder, files)
    images = [content for path, content in files.items() if path.endswith(".jpg")]
    print(licenses)
    print(f"{len(images)} images in {folder}; licences in {folder / 'LICENSES.txt'}.")
    print(f"Their pixels before JPEG are those that were measured. SHA-256 of the files: {digest(images)}", end=", ")
    if digest(images) == files_digest:
        print("as measured.")
    else:
        print(f"not as measured: Pillow {PIL.__version__} encodes JPEG otherwise, so scores may differ slightly.")


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the set of 864 real images of 32 gestures.")
    parser.add_argument("folder", type=Path, help="A folder that is new or empty.")
    folder = parser.parse_args().folder
    write_set(folder, {})  # refuse before anything is fetched
    write_and_describe(folder, make_set(read_clips()), LICENSES, FILES_DIGEST)


if __name__ == "__main__":
    main()

"""Build a set of the classes of GESTURES by a further drawer, to test models on drawings unlike those of the training.

    python benchmarks/further_drawer.py FOLDER

432 images of 64 px of the 32 gestures of `gestures.py`, in the same layout: `training/<id>/<clip>.<frame>.jpg`. The
drawings are Fluent Emoji (3D), copyright Microsoft Corporation, MIT License, out of a package that npm fetches. They
are rendered and shaded; the drawings of GESTURES are flat. `further_drawer.csv` beside this script says which clip is
which emoji. The clips are numbered from 0010, so that they are other clips than those of GESTURES.

Nothing is written before all images are made and have the pixels they should have. The licence is printed, and written
to `LICENSES.txt`.
"""

import argparse
import csv
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path

from gestures import (
    Clip,
    ReleaseImage,
    digest,
    encode,
    fetch,
    format_table,
    lay_on_white,
    read_packed,
    write_and_describe,
    write_set,
)
from PIL import Image

CLIPS = Path(__file__).with_suffix(".csv")
PACKAGE = "@lobehub/fluent-emoji-3d@1.1.0"
IMAGE_SIZE = 64  # that of GESTURES
TONES = ("1f3fb", "1f3fc", "1f3fd", "1f3fe", "1f3ff")  # frames 1 to 5, in the order of GESTURES
# SHA-256 as in `gestures.py`; the second depends on the encoder and is that of Pillow 12.3.0.
PIXELS_DIGEST = "cd45607a377d8b1ca7d0f35f8e52b3ff2992b09c993b0511e778305402ae2504"
FILES_DIGEST = "61b03be5c0580da569502758f1fb47eb2efc4ad23e9a7f27837ebf705b2de8be"
LICENSES = """\
The images in this folder were made from Fluent Emoji (3D): each image of 256 px was laid on white, made smaller and
saved as JPEG. They are not part of mg-vtc. They come out of the npm package @lobehub/fluent-emoji-3d 1.1.0 by LobeHub,
https://github.com/lobehub/fluent-emoji, with the MIT License, and are under this licence of their maker,
https://github.com/microsoft/fluentui-emoji:

MIT License

Copyright (c) Microsoft Corporation.

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


def read_clips() -> list[Clip]:
    """The rows of `further_drawer.csv`: id, name, clip, package, short_name, code, frames."""
    with CLIPS.open(newline="") as file:
        return list(csv.DictReader(file))


def codes_of(clip: Clip) -> list[str]:
    """Names of the files of an emoji and of its skin tones, which follow its first code point."""
    first, *others = clip["code"].split("-")
    others = others[1:] if others[:1] == ["fe0f"] else others  # a tone replaces the mark of a coloured emoji
    return [clip["code"], *("-".join((first, tone, *others)) for tone in TONES)][: int(clip["frames"])]


def draw_clips(tarball: Path, clips: Iterable[Clip]) -> list[ReleaseImage]:
    """Take the frames of some clips out of the package, each on white.

    Raises:
        SystemExit: The package lacks one.
    """
    images = []
    with tarfile.open(tarball) as package:
        for clip in clips:
            for frame, code in enumerate(codes_of(clip)):
                try:
                    packed = read_packed(package, f"assets/{code}.webp")
                except KeyError:
                    raise SystemExit(f"{tarball.name} has no {code}.webp of {clip['short_name']!r}.") from None
                image = lay_on_white(packed).resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.LANCZOS)
                images.append((f"training/{clip['id']}/{clip['clip']}.{frame}.jpg", image))
    return images


def make_set(clips: list[Clip]) -> dict[str, bytes]:
    """All files of the set, by their paths; the images in the order of `further_drawer.csv`."""
    with tempfile.TemporaryDirectory() as folder:
        images = draw_clips(fetch(PACKAGE, Path(folder)), clips)
    if (found := digest(image.tobytes() for _, image in images)) != PIXELS_DIGEST:
        raise SystemExit(f"These are not the images that were measured: their digest is {found}.")
    return {path: encode(image) for path, image in images} | {
        "labels.csv": format_table(["id", "name"], clips).encode(),
        "sources.csv": format_table(["id", "clip", "package", "short_name", "frames"], clips).encode(),
        "LICENSES.txt": LICENSES.encode(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the set of 432 images of 32 gestures by a further drawer.")
    parser.add_argument("folder", type=Path, help="A folder that is new or empty.")
    folder = parser.parse_args().folder
    write_set(folder, {})  # refuse before anything is fetched
    write_and_describe(folder, make_set(read_clips()), LICENSES, FILES_DIGEST)


if __name__ == "__main__":
    main()

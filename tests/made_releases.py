"""Small videos that show the number of each frame as black and white blocks, which survive compression."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

WIDTH, HEIGHT = 64, 48
COLUMNS, ROWS = 8, 2  # of blocks, a bit each, the least first
PAL, NTSC = Fraction(25), Fraction(30000, 1001)


def make_video(
    path: Path,
    num_frames: int,
    rate: Fraction = PAL,
    *,
    times: Sequence[int] | None = None,
    rotation: int = 0,
    index_first: bool = False,
) -> Path:
    """Write H.264 with B-frames.

    Args:
        path: MP4, AVI or MKV, by its ending.
        num_frames: Their numbers are from 0.
        rate: Frames a second.
        times: Milliseconds at which each frame is shown, for a variable rate.
        rotation: Degrees that players turn it counter-clockwise.
        index_first: Whether an MP4 begins with its index, as those for the web do, so that it opens when cut off.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options={"movflags": "faststart"} if index_first else {}) as container:
        stream = container.add_stream("libx264", rate=rate, options={"bf": "2", "g": "12", "crf": "18"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.thread_count = 1
        if rotation:
            stream.set_display_rotation(rotation)
        time_base = 1 / rate if times is None else Fraction(1, 1000)
        stream.codec_context.time_base = time_base
        for number in range(num_frames):
            frame = av.VideoFrame.from_image(draw_number(number))
            frame.pts, frame.time_base = number if times is None else times[number], time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def draw_number(number: int) -> Image.Image:
    """Draw a number below 2 ** 16; the first block of the picture is its last bit."""
    bits = [number >> bit & 1 for bit in range(COLUMNS * ROWS)]
    blocks = np.array(bits, dtype=np.uint8).reshape(ROWS, COLUMNS) * 255
    return Image.fromarray(blocks).resize((WIDTH, HEIGHT), Image.Resampling.NEAREST).convert("RGB")


def read_number(picture: Image.Image) -> int:
    """Read the number that a picture shows, whatever its size."""
    blocks = np.asarray(picture.convert("L").resize((COLUMNS, ROWS), Image.Resampling.BOX))  # (ROWS, COLUMNS)
    return sum(1 << int(bit) for bit in np.flatnonzero(blocks.ravel() > 127))

"""Demo data set: drawn figures that show the 32 iMiGUE classes."""

import textwrap
from itertools import product

import datasets
import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from ..class_lists import IMIGUE_CLASS_NAMES
from .drawing import CLOTHES, HAIR, HAIR_COLOURS, INK, NECKLINES, SKINS, Arm, Look, Pen, Pose, draw_figure, shade

SUPERSAMPLING = 4
VIEW = 112.0  # width of an image, in units of the figure
BACKGROUNDS = ("#ece6da", "#dce5e8", "#eaded9", "#dfe7da", "#e5e1ec", "#d9dcdf")
# fmt: off
REST, BEHIND, HIP = Arm(35 + 120j, 6, 95), Arm(8 + 78j, -16, 170, "fist", "out"), Arm(26 + 69j, 8, 185, "flat", "out")
COVER, RUB = Arm(7 + 4j, 26, -95, "flat", "low"), Arm(9 + 1j, 26, -150, "fist", "low")
CLASP, HOLD = Arm(13 + 60j, 26, 195, "pinch", "low"), Arm(22 + 60j, 26, 195, "pinch", "low")
OVER, UNDER = Arm(5 + 58j, 26, 200, "flat", "low"), Arm(4 + 63j, 24, 190, "blade", "low")
STEEPLE, KNEE = Arm(9.5 + 60j, 26, -115, "blade", "low"), Arm(20 + 92j, 26, 105, "blade", "out")
POSES = (  # same order as IMIGUE_CLASS_NAMES
    Pose(REST, REST, "", (), 11j, (-9, -9)),
    Pose(REST, REST, "puffed", ((19 + 9j, 10), (-19 + 9j, 170))),
    Pose(Arm(25 - 10j, 20, -160, "pinch", "out"), REST, "hat", hair="crop"),
    Pose(Arm(16 - 19j, 12, -155, "flat", "out"), REST, "", ((22 - 24j, -30), (-2 - 26j, -120))),
    Pose(Arm(11 - 9j, 24, 185, "flat", "out"), REST),
    Pose(COVER, COVER),
    Pose(RUB, RUB, "", ((18 - 9j, -30), (-18 - 9j, -150))),
    Pose(Arm(17 + 19j, 26, -150, "point"), REST),
    Pose(Arm(26 + 9j, 14, -150, "pinch", "out"), REST, hair="bun"),
    Pose(Arm(13 + 21j, 26, -145, "pinch"), REST, "bite"),
    Pose(Arm(11 + 30j, 26, -138, "pinch"), REST),
    Pose(Arm(14 + 29j, 18, -165), REST, "", ((24 + 20j, -10),)),
    Pose(Arm(40 + 22j, 16, -170, "pinch", "low"), REST, "strand", hair="long"),
    Pose(Arm(16 + 36j, 24, 190, "pinch", "low"), Arm(16 + 47j, 26, 200, "pinch", "low"), "tie", neckline="collar"),
    Pose(Arm(11 + 42j, 24, 200, "flat", "low"), REST),
    Pose(Arm(7 + 51j, 16, 148, "flat", "up"), REST, "", ((-9 + 48j, 200),), hair="back", neckline="back"),
    Pose(Arm(-20 + 50j, 20, 190), Arm(-14 + 59j, 24, 170)),
    Pose(Arm(-15 + 44j, 24, 195, "blade"), REST, "dust", ((-25 + 56j, 130),)),
    Pose(BEHIND, BEHIND),
    Pose(REST, REST, "", ((-34 + 40j, 180), (-31 + 60j, 180)), lean=14),
    Pose(KNEE, KNEE, "seat", zoom=0.72),
    Pose(Arm(-24 + 54j, 24, 190), REST, "", ((-38 + 50j, 180),)),
    Pose(OVER, UNDER, "", ((14 + 48j, -40), (-14 + 48j, -140))),
    Pose(CLASP, CLASP, "knit"),
    Pose(STEEPLE, STEEPLE),
    Pose(HOLD, HOLD, "cube"),
    Pose(REST, BEHIND, "grip"),
    Pose(REST, REST, "up", ((20 - 16j, -70), (-20 - 16j, -110)), 1j),
    Pose(REST, REST, "pressed"),
    Pose(HIP, HIP),
    Pose(REST, REST, "", ((39 + 27j, -30), (-39 + 22j, -150)), 0j, (-9, -4)),
    Pose(Arm(36 + 40j, 26, -60, "open"), Arm(32 + 54j, 26, -30, "open"), "talk"),
)
# fmt: on


def render_frame(label: int, clip: int, frame: int, image_size: int = 64) -> Image.Image:
    """Render one frame of a clip as an RGB image of `image_size` x `image_size` pixels, deterministically.

    The class and the clip determine figure, framing and light; frames of a clip differ by small movements.

    Args:
        label: Class, 0 to 31, in the order of `IMIGUE_CLASS_NAMES`.
        clip: Number of the clip, from 0.
        frame: Number of the frame, from 0.
        image_size: Height and width, in pixels.

    Raises:
        ValueError: `label` is out of range, `clip` or `frame` is negative, or `image_size` is below 1.
    """
    if label not in range(len(POSES)) or min(clip, frame) < 0 or image_size < 1:
        limits = f"label must be 0 to {len(POSES) - 1}, clip and frame at least 0 and image_size at least 1"
        raise ValueError(f"{limits}; got {label}, {clip}, {frame} and {image_size}.")
    figure, moment = np.random.default_rng((label, clip)), np.random.default_rng((label, clip, frame))
    skin, hair_colour, cloth, back = map(figure.choice, (SKINS, HAIR_COLOURS, CLOTHES, BACKGROUNDS))
    pose, hair, neckline = POSES[label], figure.choice(list(HAIR)[:-1]), figure.choice(list(NECKLINES)[:-1])
    look = Look(skin, hair_colour, cloth, pose.hair or hair, pose.neckline or neckline, figure.random() < 0.6)
    for rng, spread in ((figure, 0.8), (moment, 0.5)):
        pose = pose._replace(right=pose.right.moved(spread, rng), left=pose.left.moved(spread, rng))
    side = image_size * SUPERSAMPLING
    image = Image.new("RGB", (side, side), back)
    origin = complex(figure.uniform(0.46, 0.54), figure.uniform(0.31, 0.34)) + 0.004 * complex(*moment.normal(size=2))
    pen = Pen(ImageDraw.Draw(image), side * origin, side / VIEW * figure.uniform(0.94, 1.06))
    pen.oval(complex(figure.uniform(-20, 20), 24), 112, 112, shade(back, 1.05))
    draw_figure(pen, look, pose, figure.normal(0, 2) + moment.normal(0, 0.8))
    image = image.resize((image_size, image_size), Image.Resampling.BOX)
    light = figure.uniform(0.9, 1.03) * (1 + figure.uniform(-0.02, 0.02) * np.array((1, 0, -1)))
    image = Image.fromarray((np.asarray(image) * light).clip(0, 255).astype(np.uint8))
    return ImageOps.mirror(image) if figure.random() < 0.5 else image


def load_demo_dataset(image_size: int = 64, num_clips: int = 6, num_frames: int = 4) -> datasets.Dataset:
    """Load the demo data set: drawn figures that make the 32 gestures of iMiGUE.

    Args:
        image_size: Height and width, in pixels.
        num_clips: Clips per class.
        num_frames: Frames per clip.

    Returns:
        Rows ordered by class, clip and frame, with the columns `image`, `label`, `file_name` (the layout of iMiGUE,
        "<id from 1>/<clip>.<frame>.png") and `clip` ("<id from 1>/<clip>").

    Raises:
        ValueError: A number is below 1.
    """
    if min(num_clips, num_frames) < 1:
        raise ValueError(f"num_clips and num_frames must be at least 1, got {num_clips} and {num_frames}.")
    rows = []
    for label, clip, frame in product(range(len(POSES)), range(num_clips), range(num_frames)):
        name, image = f"{label + 1}/{clip:04d}", render_frame(label, clip, frame, image_size)
        rows.append({"image": image, "label": label, "file_name": f"{name}.{frame}.png", "clip": name})
    text, names = datasets.Value("string"), datasets.ClassLabel(names=list(IMIGUE_CLASS_NAMES))
    features = {"image": datasets.Image(), "label": names, "file_name": text, "clip": text}
    return datasets.Dataset.from_list(rows, features=datasets.Features(features))


def render_contact_sheet(image_size: int = 192, columns: int = 8) -> Image.Image:
    """Render an image of every class above its name, `columns` images of `image_size` pixels per row."""
    gap, caption, font = 8, 44, ImageFont.load_default(14)
    width, height = image_size + gap, image_size + gap + caption
    sheet = Image.new("RGB", (columns * width + gap, -(-len(POSES) // columns) * height + gap), "white")
    draw = ImageDraw.Draw(sheet)
    for label, name in enumerate(IMIGUE_CLASS_NAMES):
        x, y = gap + label % columns * width, gap + label // columns * height
        sheet.paste(render_frame(label, 0, 0, image_size), (x, y))
        text = textwrap.fill(name, int(image_size / 6.6))  # a character is about 6.6 pixels wide
        draw.text((x + image_size / 2, y + image_size + 5), text, INK, font, "ma", align="center")
    return sheet

"""Draw generic upper-body figures: hands, arms, heads, clothes and props.

Figures have their own units. The centre of the head is 0; x points right, y points down. The chin is at y = 18, the
shoulders are at y = 36 and x = -27, 27. A point is a complex number x + yj, so that rotation and scaling are one
product.
"""

import cmath
import math
from collections.abc import Sequence
from itertools import pairwise, product
from typing import NamedTuple

import numpy as np
from PIL import ImageColor, ImageDraw

Points = Sequence[complex] | np.ndarray
BONE = 37.0  # units; upper arm and forearm are equally long
# fmt: off
INK, LIP, SHIRT, TIE, WOOD, FELT = "#30323c", "#7c2f30", "#f4f1ea", "#a23b43", "#b08a63", "#5b4a3c"
SKINS = ("#f7d6bd", "#ecbd98", "#d39a70", "#a56c48", "#7d5238")
HAIR_COLOURS = ("#2a2422", "#3d2a22", "#5d3823", "#c08f4f", "#8f8f96", "#9c4a2f")
CLOTHES = ("#3d6b8e", "#c65f46", "#4f8a70", "#dba53c", "#6f5c90", "#46505e", "#b9506c", "#2f8a94")
FRINGE = (-15 + 3j, -17 - 9j, -11 - 21j, -23j, 11 - 21j, 17 - 9j, 15 + 3j, 13 - 5j, 5 - 11j, -5 - 9j, -12 - 7j)
PARTING = (-15 + 8j, -18 - 8j, -11 - 22j, -24j, 11 - 22j, 18 - 8j, 15 + 8j, 13 - 3j, 7 - 10j, 1 - 16j, -8 - 9j)
HAIR = {  # shapes behind and in front of the head; the last entry is for figures seen from behind
    "crop": ((), FRINGE),
    "bob": ((-19 - 8j, -13 - 23j, 13 - 23j, 19 - 8j, 22 + 22j, 8 + 26j, -8 + 26j, -22 + 22j), PARTING),
    "long": ((-19 - 8j, -13 - 23j, 13 - 23j, 19 - 8j, 23 + 26j, 20 + 54j, -20 + 54j, -23 + 26j), PARTING),
    "bun": ((-8 - 22j, -9 - 33j, 9 - 33j, 8 - 22j), PARTING),
    "curls": (tuple(cmath.rect(19 + 7 * (k % 2), math.radians(140 + 20 * k)) - 4j for k in range(14)), FRINGE),
    "back": ((), (-14 + 16j, -19 - 10j, -10 - 24j, 10 - 24j, 19 - 10j, 14 + 16j, 17j)),
}
VEE = ((-10 + 25j, 48j, 10 + 25j), "")
NECKLINES = {  # shapes and colours, "" for skin; the last entry is a back
    "crew": (((-11 + 26j, -9 + 33j, -5 + 37j, 5 + 37j, 9 + 33j, 11 + 26j), ""),), "vee": (VEE,),
    "collar": (VEE, *(((s * 5 + 23j, s * 13 + 28j, s * 9 + 41j, 39j), SHIRT) for s in (-1, 1))), "back": (),
}
MOUTHS = {  # line and width, by `Pose.extra`
    "": ((-3.4 + 9.6j, -1.6 + 10.7j, 1.6 + 10.7j, 3.4 + 9.6j), 1.1), "puffed": ((-0.8 + 11j, 0.8 + 11j), 2.8),
    "talk": ((-1.6 + 10.5j, 1.6 + 10.5j), 5.4), "bite": ((-1.6 + 10.5j, 1.6 + 10.5j), 5.4),
    "pressed": ((-6.5 + 8.8j, -6.5 + 11.2j, -6.5 + 10j, 6.5 + 10j, 6.5 + 8.8j, 6.5 + 11.2j), 1.4),
}
CHAIR = (-48 + 0j, 48 + 0j, 54 + 140j, -54 + 140j)
PROPS = {  # shapes and colours, "" for hair, by `Pose.extra`
    "seat": tuple(((s + 92j, s * 9 + 83j, s * 27 + 83j, s * 35 + 94j, s * 33 + 130j), INK) for s in (-1, 1)),
    "hat": (((-18 - 9j, -17 - 30j, -3 - 25j, 3 - 25j, 17 - 30j, 18 - 9j), FELT),
            ((-18 - 17j, 18 - 17j, 18 - 8j, -18 - 8j), WOOD),
            ((-33 - 10j, -15 - 15j, 15 - 15j, 33 - 10j, 15 - 5j, -15 - 5j), FELT)),
    "tie": (((-3 + 38j, 3 + 38j, 7 + 76j, 86j, -7 + 76j), TIE), ((-6 + 31j, 6 + 31j, 3 + 42j, -3 + 42j), TIE)),
    "strand": (((13 - 6j, 22 + 5j, 31 + 16j, 34 + 27j, 29 + 44j, 28 + 28j, 26 + 19j, 17 + 7j), ""),),
    "cube": tuple(((c, c + 7, c + 7 + 7j, c + 7j), ("#e2574c", SHIRT, "#3f7fbf", "#f0c244", "#4f9d69")[k % 5])
                  for k, c in enumerate(complex(7 * x - 10.5, 7 * y + 46) for y, x in product(range(3), repeat=2))),
    "dust": tuple(((p - 2.4, p - 2.4j, p + 2.4, p + 2.4j), "#a39a89") for p in (
        -25 + 24j, -33 + 22j, -40 + 29j, -45 + 37j, -47 + 49j, -52 + 42j, -47 + 60j, -52 + 56j)),
}
FINGERS = {  # drawn over the other hand or arm
    "knit": tuple((complex(s * 8, 53 + 2 * k), complex(-s * 6, 54 + 2 * k)) for k, s in enumerate((1, -1) * 4)),
    "grip": tuple((complex(24, y), complex(35, y + 1)) for y in (55, 59, 63, 67)),
}
HANDS = {  # base, angle in degrees and length of each finger; fingers point to +x, the thumb is last and towards +y
    "flat": ((3 - 4.4j, -5, 9), (3 - 1.5j, -1, 11), (3 + 1.5j, 2, 11), (3 + 4.2j, 6, 10), (-1 + 4.5j, 50, 9)),
    "open": ((3 - 4.4j, -26, 9), (3 - 1.6j, -9, 11), (3 + 1.6j, 8, 11), (3 + 4.2j, 24, 10), (-1 + 4j, 70, 10)),
    "blade": ((3 - 4j, 2, 9), (3 - 1.4j, 0, 11), (3 + 1.4j, 0, 11), (3 + 4j, -2, 10)),
    "fist": ((3 - 4.2j, 0, 3.5), (3 - 1.5j, 0, 4.5), (3 + 1.5j, 0, 4.5), (3 + 4.2j, 0, 4), (1 + 5j, 20, 4)),
    "point": ((3 - 4.2j, 0, 3), (3 - 1.5j, 0, 4), (3 + 1.2j, 0, 4.5), (3 + 4j, 2, 13), (-1 + 4.5j, 50, 6)),
    "pinch": ((3 - 4.2j, -8, 6), (3 - 1.5j, 0, 7), (3 + 1.2j, 8, 9), (3 + 3.8j, 14, 11), (1 + 5j, 40, 10)),
}
POLES = {"down": (0.3, 1.0, 0.1), "low": (0.75, 1.0, 0.0), "out": (1.0, 0.35, 0.0), "up": (1.0, -0.7, 0.0)}
# fmt: on


class Arm(NamedTuple):
    """An arm on the right side of the image; `_draw_arm` mirrors it for the left side."""

    hand: complex  # centre of the palm
    depth: float  # units in front of the chest; negative is behind the body
    aim: float  # direction of the fingers in degrees: 0 outwards, 90 down, 180 inwards
    shape: str = "flat"  # key of HANDS
    elbow: str = "down"  # key of POLES

    def moved(self, spread: float, rng: np.random.Generator) -> "Arm":
        x, y, turn = spread * rng.normal(size=3)
        return self._replace(hand=self.hand + complex(x, y), aim=self.aim + 3 * turn)


class Pose(NamedTuple):
    """A pose that shows a class."""

    right: Arm
    left: Arm
    extra: str = ""  # key of MOUTHS, PROPS or FINGERS
    marks: tuple[tuple[complex, float], ...] = ()  # motion arcs: place and direction in degrees
    head: complex = 0j  # shift
    shrug: tuple[float, float] = (0.0, 0.0)  # vertical shift of the left and right shoulder
    lean: float = 0.0  # degrees, about the hip
    zoom: float = 1.0
    hair: str = ""  # key of HAIR if the class needs one
    neckline: str = ""  # key of NECKLINES if the class needs one


def shade(colour: str, factor: float = 0.7) -> str:
    return "#" + "".join(f"{min(255, round(value * factor)):02x}" for value in ImageColor.getrgb(colour))


class Pen(NamedTuple):
    """Draw shapes given in units: `origin` in pixels, `scale` in pixels per unit, times the rotation."""

    draw: ImageDraw.ImageDraw
    origin: complex
    scale: complex

    def at(self, place: complex, degrees: float = 0.0, zoom: float = 1.0) -> "Pen":
        """Return a pen whose coordinate system is moved, rotated and scaled."""
        return Pen(self.draw, self.origin + self.scale * place, self.scale * cmath.rect(zoom, math.radians(degrees)))

    def fill(self, points: Points, colour: str, smooth: int = 0, edge: float = 0.8) -> None:
        """Fill a closed shape, smoothed `smooth` times (Chaikin), with a darker edge `edge` units wide."""
        outline = np.array(points)
        for _ in range(smooth):
            following = np.roll(outline, -1)
            outline = np.stack((0.75 * outline + 0.25 * following, 0.25 * outline + 0.75 * following), axis=1).ravel()
        pixels = self.origin + self.scale * outline
        corners = list(zip(pixels.real.tolist(), pixels.imag.tolist(), strict=True))
        self.draw.polygon(corners, fill=colour)
        if edge:
            self.draw.line([*corners, *corners[:2]], shade(colour), round(edge * abs(self.scale)), joint="curve")

    def oval(self, centre: complex, width: float, height: float, colour: str, edge: float = 0.0) -> None:
        turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
        self.fill(centre + width / 2 * np.cos(turn) + 0.5j * height * np.sin(turn), colour, edge=edge)

    def limb(self, start: complex, end: complex, radii: Sequence[float], colour: str, edge: float = 0.0) -> None:
        """Fill the hull of two discs, with a darker edge that widens from 0 at the start to `edge` units."""
        if edge:
            self.limb(start, end, (radii[0], radii[1] + edge), shade(colour))
        half = np.exp(1j * np.linspace(-np.pi / 2, np.pi / 2, 10)) * (end - start) / abs(end - start)
        self.fill(np.concatenate((start - radii[0] * half, end + radii[1] * half)), colour, edge=0)

    def stroke(self, points: Points, width: float, colour: str = INK) -> None:
        for start, end in pairwise(points):
            self.limb(start, end, (width / 2, width / 2), colour)


class Look(NamedTuple):
    """Appearance of a figure: colours, keys of `HAIR` and `NECKLINES`, and sleeve length."""

    skin: str
    hair_colour: str
    cloth: str
    hair: str
    neckline: str
    long_sleeves: bool


def _draw_hand(pen: Pen, skin: str, shape: str, thumb: int) -> None:
    """Draw a hand with the palm at 0, the fingers along +x and the thumb on the side of `thumb` * y."""
    pen.oval(0j, 14.4, 13.4, shade(skin))
    for base, angle, length in reversed(HANDS[shape]):
        start = complex(base.real, thumb * base.imag)
        pen.limb(start, start + cmath.rect(length, math.radians(thumb * angle)), (2.3, 1.9), skin, edge=1)
    pen.oval(0j, 12.8, 11.8, skin)


def _reach(shoulder: complex, wrist: complex, depth: float, pole: Sequence[float]) -> tuple[complex, complex]:
    """Return the projected elbow (bent towards the pole) and wrist by two-bone inverse kinematics."""
    start = np.array((shoulder.real, shoulder.imag, 0.0))
    axis = np.array((wrist.real, wrist.imag, depth)) - start
    distance = float(np.linalg.norm(axis))
    axis, half = axis / distance, min(distance / 2, 0.99 * BONE)
    bend = np.array(pole) - axis * (axis @ np.array(pole))
    elbow = start + half * axis + math.sqrt(BONE**2 - half**2) * bend / np.linalg.norm(bend)
    return complex(*elbow[:2]), complex(*(start + 2 * half * axis)[:2])


def _draw_arm(pen: Pen, look: Look, arm: Arm, side: int, shoulder: complex) -> None:
    """Draw the arm on the right (side 1) or left (side -1) of the image."""
    angle = math.radians(arm.aim if side == 1 else 180 - arm.aim)
    palm, forward = complex(side * arm.hand.real, arm.hand.imag), cmath.rect(7, angle)
    out, down, near = POLES[arm.elbow]
    elbow, wrist = _reach(shoulder, palm - forward, arm.depth, (side * out, down, near))
    colour = look.cloth if look.long_sleeves else look.skin
    pen.limb(shoulder, elbow, (8, 7.2), colour, edge=1)
    if not look.long_sleeves:
        pen.limb(shoulder, shoulder + 0.55 * (elbow - shoulder), (9, 9), look.cloth, edge=1)
    pen.limb(elbow, wrist, (7.2, 5), colour, edge=1)
    thumb = -side if arm.shape == "open" else side  # an open hand shows the palm, other hands the back
    _draw_hand(pen.at(wrist + forward, math.degrees(angle)), look.skin, arm.shape, thumb)
    pen.limb(elbow, wrist, (7.2, 5), colour)


def _draw_head(pen: Pen, look: Look, extra: str) -> None:
    puff, lift = 5 * (extra == "puffed"), 8 * (extra == "up")
    chin = 18.5j - 0.25j * lift
    cheek = [chin, 10 + puff + chin - 1.5j, 14 + puff + chin - 10j, 15 - 4j, 13 - 15j, 6 - 20j]
    face = pen.at(-1j * lift)
    for side in (-1, 1):
        pen.oval(side * 14.5 + 2j, 6, 9, look.skin, edge=0.8)
    pen.fill([*cheek, *(complex(-point.real, point.imag) for point in reversed(cheek))], look.skin, smooth=3)
    for side in (-1, 1):
        face.oval(side * 8.5 + 5.5j, 5 + puff, 3.2 + puff, "#e08b78" if puff else shade(look.skin, 0.94))
        face.stroke((side * 3.6 - 5.6j, side * 8 - 5.8j), 1.1, look.hair_colour)
        face.oval(side * 5.6 - 0.6j, 2.6, 3.2, INK)
    face.stroke((0.5 + 0.5j, 1.2 + 4.2j, -0.4 + 4.6j), 1, shade(look.skin))
    face.stroke(*MOUTHS.get(extra, MOUTHS[""]), LIP)
    if lift:  # the jaw from below
        pen.stroke((-8 + 8.5j, -4.5 + 11j, 4.5 + 11j, 8 + 8.5j), 0.9, shade(look.skin, 0.8))
    if extra in ("talk", "bite"):
        face.stroke((-1.8 + 9.3j, 1.8 + 9.3j), 1.2, SHIRT)
    pen.at(-0.9j * lift).fill(HAIR[look.hair][1], look.hair_colour, smooth=2, edge=0)


def draw_figure(pen: Pen, look: Look, pose: Pose, tilt: float) -> None:
    """Draw a figure from back to front; `tilt` rotates the head, in degrees."""
    pen = pen.at(100j, pose.lean).at(-100j, zoom=pose.zoom)
    head = pen.at(pose.head, tilt - 0.6 * pose.lean)
    left, right = complex(-27, 36 + pose.shrug[0]), complex(27, 36 + pose.shrug[1])
    arms = sorted(((pose.left, -1, left), (pose.right, 1, right)), key=lambda arm: arm[0].depth)
    if pose.extra == "seat":
        pen.fill(CHAIR, WOOD, smooth=3)
    if behind := HAIR[look.hair][0]:
        head.fill(behind, shade(look.hair_colour, 0.85), smooth=3, edge=0)
    for arm in arms:
        if arm[0].depth < 0:
            _draw_arm(pen, look, *arm)
    body = [-8 + 27j, left - 2 - 8j, left - 8 - 2j, left - 4 + 22j, -23 + 78j, -27 + 120j]
    body += [27 + 120j, 23 + 78j, right + 4 + 22j, right + 8 - 2j, right + 2 - 8j, 8 + 27j]
    pen.fill(body, look.cloth, smooth=3)
    pen.fill((-7 + 2j, -7 + 30j, 36j, 7 + 30j, 7 + 2j), shade(look.skin, 0.84), smooth=2, edge=0)
    for shape, colour in NECKLINES[look.neckline]:
        pen.fill(shape, colour or look.skin, edge=0.8 if colour else 0)
    _draw_head(head, look, pose.extra)
    for shape, colour in PROPS.get(pose.extra, ()):
        head.fill(shape, colour or look.hair_colour, smooth=1)
    for arm in arms:
        if arm[0].depth >= 0:
            _draw_arm(pen, look, *arm)
    for start, end in FINGERS.get(pose.extra, ()):
        pen.limb(start, end, (2.7, 2.7), shade(look.skin))
        pen.limb(start, end, (1.9, 1.9), look.skin)
    for place, aim in pose.marks:
        for radius in (4, 8):
            arc = place + radius * np.exp(1j * np.radians(aim + np.linspace(-38, 38, 7)))
            pen.stroke(arc, 3, SHIRT)
            pen.stroke(arc, 1.5)

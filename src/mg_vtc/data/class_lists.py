"""Class lists of published data sets: iMiGUE, SMG and Micro-Action-52."""

from typing import NamedTuple

# X. Liu et al., "iMiGUE: An Identity-free Video Dataset for Micro-Gesture Understanding and Emotion Analysis",
# CVPR 2021. Ids are 1 to 32 in this order; the last class (99 in the raw annotation) is not a micro-gesture.
IMIGUE_CLASS_NAMES: tuple[str, ...] = (
    "Turtle neck",
    "Bulging face or deep breath",
    "Touching hat",
    "Touching or scratching head",
    "Touching or scratching forehead",
    "Covering face",
    "Rubbing eyes",
    "Touching or scratching facial parts",
    "Touching ears",
    "Biting nails",
    "Touching jaw",
    "Touching or scratching neck",
    "Playing or adjusting hair",
    "Buckle button, pulling shirt collar, adjusting tie",
    "Touching or covering suprasternal notch",
    "Scratching back",
    "Folding arms",
    "Dusting off clothes",
    "Putting arms behind body",
    "Moving torso",
    "Sitting straightly",
    "Scratching or touching arms",
    "Rubbing or holding hands",
    "Crossing fingers",
    "Minaret gesture",
    "Playing or manipulating objects",
    "Hold back arms",
    "Head up",
    "Pressing lips",
    "Arms akimbo",
    "Shaking shoulders",
    "Illustrative hand gestures",
)

# H. Chen et al., "SMG: A Micro-gesture Dataset Towards Spontaneous Body Gestures for Emotional Stress State
# Analysis", IJCV 2023. Ids are 0 to 16 in this order; the last class is not a micro-gesture.
SMG_CLASS_NAMES: tuple[str, ...] = (
    "Turtling neck and shoulder",
    "Rubbing eyes and forehead",
    "Folding arms",
    "Touching or covering suprasternal notch",
    "Moving legs",
    "Touching or scratching neck",
    "Folding arms behind body",
    "Rubbing hands and crossing finger",
    "Arms akimbo",
    "Crossing legs",
    "Scratching some part of body",
    "Scratching or touching facial parts other than eyes",
    "Playing or adjusting hair",
    "Holding arms",
    "Pulling shirt collar",
    "Playing with jewelry, and manipulating other objects",
    "Illustrative hand gestures",
)

# D. Guo et al., "Benchmarking Micro-action Recognition: Dataset, Methods, and Applications", IEEE TCSVT 34(7), 2024.
# Ids are 0 to 51 in this order, as in its label_name.txt.
MA52_CLASS_NAMES: tuple[str, ...] = (
    "shaking body",
    "sitting straightly",
    "shrugging",
    "turning around",
    "rising up",
    "bowing head",
    "head up",
    "tilting head",
    "turning head",
    "nodding",
    "shaking head",
    "scratching arms",
    "playing objects",
    "putting hands together",
    "rubbing hands",
    "pointing oneself",
    "clenching fist",
    "stretching arms",
    "retracting arms",
    "waving",
    "spreading hands",
    "hands touching fingers",
    "other finger movements",
    "illustrative gestures",
    "shaking legs",
    "curling legs",
    "spread legs",
    "closing legs",
    "crossing legs",
    "stretching feet",
    "retracting feet",
    "tiptoe",
    "scratching or touching neck",
    "scratching or touching chest",
    "scratching or touching back",
    "scratching or touching shoulder",
    "arms akimbo",
    "crossing arms",
    "playing or tidying hair",
    "scratching or touching hindbrain",
    "scratching or touching forehead",
    "scratching or touching face",
    "rubbing eyes",
    "touching nose",
    "touching ears",
    "covering face",
    "covering mouth",
    "pushing glasses",
    "patting legs",
    "touching legs",
    "scratching legs",
    "scratching feet",
)

# The seven body parts of Micro-Action-52, in the order of their ids, with their numbers of classes: classes 0 to 4 are
# of the body, 5 to 10 of the head and so on.
MA52_BODY_PARTS: dict[str, int] = {
    "body": 5,
    "head": 6,
    "upper limb": 13,
    "lower limb": 8,
    "body-hand": 6,
    "head-hand": 10,
    "leg-hand": 4,
}


class ClassList(NamedTuple):
    """Classes of a published data set.

    Attributes:
        title: Name of the data set.
        names: Class names in id order.
        first_id: Id of the first class.
        groups: Coarse class of each class; None if the data set has none.
    """

    title: str
    names: tuple[str, ...]
    first_id: int
    groups: tuple[str, ...] | None = None


# By the value of `labels_file` that selects it.
CLASS_LISTS: dict[str, ClassList] = {
    "imigue": ClassList("iMiGUE", IMIGUE_CLASS_NAMES, 1),
    "smg": ClassList("SMG", SMG_CLASS_NAMES, 0),
    "ma52": ClassList(
        "Micro-Action-52",
        MA52_CLASS_NAMES,
        0,
        tuple(part for part, num_classes in MA52_BODY_PARTS.items() for _ in range(num_classes)),
    ),
}

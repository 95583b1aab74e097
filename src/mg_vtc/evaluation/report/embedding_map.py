"""Two-dimensional map of images and class texts in the shared embedding space."""

import numpy as np
from sklearn.manifold import TSNE

MAX_MAPPED = 1000  # images; more overlap, and take longer than ten seconds
STEP = 4.0  # pixels between candidate positions of a label
PERPLEXITY = 30.0  # the usual value


def map_embeddings(image_embeds: np.ndarray, text_embeds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Map images and class texts to a plane with deterministic t-SNE on cosine distances.

    Source: van der Maaten and Hinton, "Visualizing Data using t-SNE", JMLR 2008.

    Args:
        image_embeds: Image embeddings of any norm, `(num_rows, projection_dim)`.
        text_embeds: Embeddings of the class texts, `(num_classes, projection_dim)`.

    Returns:
        Coordinates of the images `(num_rows, 2)` and of the texts `(num_classes, 2)`, within [0, 1].
    """
    embeds = np.concatenate([image_embeds, text_embeds]).astype(np.float64)  # (num_rows + num_classes, projection_dim)
    embeds /= np.linalg.norm(embeds, axis=1, keepdims=True)
    has_plane = min(embeds.shape) > 1 and np.ptp(embeds, axis=0).max() > 1e-6  # False for a collapsed model
    tsne = TSNE(
        metric="cosine",
        init="pca" if has_plane else "random",
        perplexity=min(PERPLEXITY, (len(embeds) - 1) / 3),
        random_state=0,
    )
    places = tsne.fit_transform(embeds)  # (num_rows + num_classes, 2)
    span = np.ptp(places, axis=0)
    places = (places - places.min(axis=0)) / np.where(span > 0, span, 1)
    return places[: len(image_embeds)], places[len(image_embeds) :]


def sample_rows(num_rows: int) -> np.ndarray:
    """Return the sorted ids of the rows to map: all, or `MAX_MAPPED` drawn with a fixed seed."""
    if num_rows <= MAX_MAPPED:
        return np.arange(num_rows)
    return np.sort(np.random.default_rng(0).choice(num_rows, MAX_MAPPED, replace=False))


def place_labels(
    anchors: np.ndarray, sizes: np.ndarray, *, width: float, height: float, marker_size: float
) -> np.ndarray:
    """Place every label as close to its marker as possible without overlapping other labels or markers.

    Args:
        anchors: Centres of the markers, `(num_labels, 2)`, in pixels.
        sizes: Width and height of the labels, `(num_labels, 2)`, in pixels.
        width: Width of the canvas, in pixels.
        height: Height of the canvas, in pixels.
        marker_size: Side of a marker, in pixels.

    Returns:
        Centres of the labels, `(num_labels, 2)`, in pixels.

    Raises:
        ValueError: The canvas is too small for the labels.
    """
    xs, ys = np.arange(0, width, STEP), np.arange(0, height, STEP)
    taken = [(anchor, np.full(2, marker_size)) for anchor in anchors]
    middles = np.empty_like(anchors, dtype=float)
    for row, (anchor, size) in enumerate(zip(anchors, sizes, strict=True)):
        distances = np.hypot(xs - anchor[0], ys[:, None] - anchor[1])  # (num_ys, num_xs)
        low, high = size / 2, np.array([width, height]) - size / 2
        distances[(ys < low[1]) | (ys > high[1])] = np.inf
        distances[:, (xs < low[0]) | (xs > high[0])] = np.inf
        for middle, other_size in taken:
            reach = (size + other_size) / 2
            first = np.maximum(np.floor((middle - reach) / STEP).astype(int) + 1, 0)
            last = np.ceil((middle + reach) / STEP).astype(int)
            distances[first[1] : max(last[1], 0), first[0] : max(last[0], 0)] = np.inf
        if not np.isfinite(distances).any():
            raise ValueError(f"A canvas of {width:.0f} x {height:.0f} pixels is too small for {len(anchors)} labels.")
        y, x = np.unravel_index(distances.argmin(), distances.shape)
        middles[row] = xs[x], ys[y]
        taken.append((middles[row], size))
    return middles

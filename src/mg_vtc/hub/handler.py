"""What an Inference Endpoint runs: answers to requests about pictures, by the model in whose folder this file lies.

It is uploaded beside the weights and stands alone: it imports no other file of the project. An exception is answered
with status 400 and its text, so every text here is for the person who sent the request.
"""

import base64
import csv
import functools
import http.client
import io
import ipaddress
import os
import re
import socket
import ssl
import threading
import time
import unicodedata
from typing import Any
from urllib.parse import urljoin, urlsplit

import numpy as np
import torch
from PIL import ExifTags, Image, UnidentifiedImageError
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

ALLOW_URLS = "MG_VTC_ALLOW_URLS"  # environment variable; only the owner of an endpoint can set it
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")  # Pillow reads more, some with the help of other programs
TRANSPOSES = {  # by EXIF orientation; 1 is upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
MAX_PICTURES, MAX_LABELS = 64, 1000  # of a request
MAX_PIXELS, MAX_SIDE = 50_000_000, 20_000  # of a picture; a file of a few bytes can ask for the whole memory,
MAX_PIXELS_OF_REQUEST = 200_000_000  # and many such files for minutes
MAX_URL_BYTES, MAX_URL_SECONDS, MAX_REDIRECTS = 20_000_000, 10, 3
NUM_CACHED_TEXTS = 32  # sets of texts whose states are kept
PARAMETERS: dict[str, tuple[Any, str]] = {
    "candidate_labels": (list | str, "a list of texts, or one with commas between the labels"),
    "hypothesis_template": (str, "a text"),
    "top_k": (int, "a whole number"),
}


class EndpointHandler:
    """Classifies pictures by the model's classes or, where a request has `candidate_labels`, by those (zero-shot).

    Args:
        path: Folder of the model.
    """

    def __init__(self, path: str) -> None:
        # the code of the model came with this file, which runs already
        local: dict[str, Any] = {"trust_remote_code": True, "local_files_only": True}
        device = "cuda" if torch.cuda.is_available() else "cpu"
        checked: dict[str, Any] = {"output_loading_info": True, "ignore_mismatched_sizes": True}
        model, loading_info = AutoModel.from_pretrained(path, **checked, **local)
        model.check_weights(loading_info)
        self.model = model.eval().to(device)
        self.image_processor = AutoImageProcessor.from_pretrained(path, backend="pil", **local)
        self.tokenizer: Any = None  # of a vision-only model
        if not self.model.config.vision_only:
            self.tokenizer = AutoTokenizer.from_pretrained(path, **local)
        self._cached_text_states = functools.lru_cache(NUM_CACHED_TEXTS)(self._get_text_states)

    @torch.inference_mode()
    def __call__(self, data: dict[str, Any]) -> list[dict[str, Any]] | list[list[dict[str, Any]]]:
        """Answer a request.

        Args:
            data: `inputs`: a picture (bytes of a file, base64 of them, a `data:` URL, a PIL image; where the endpoint
                allows it an `http(s)` URL), or a list of pictures, or a mapping of `image` to them, and of parameters.
                `parameters`, all optional: `candidate_labels` (a list, or names with commas between),
                `hypothesis_template` (by default the model's own), `top_k` (by default 5 of the classes, or all
                candidate labels).

        Returns:
            For a picture, rows `{"label": str, "score": float}` with the best first, where the scores of all labels
            add up to 1; for a list of pictures, such a list for each.

        Raises:
            ValueError: The request can not be answered; the text says what it should be.
        """
        inputs, parameters = _read_request(data)
        pictures = inputs if isinstance(inputs, list) else [inputs]
        if not 1 <= len(pictures) <= MAX_PICTURES:
            raise ValueError(f"'inputs' has {len(pictures)} pictures; send 1 to {MAX_PICTURES} in a request.")
        labels, text_states = self._read_labels(parameters)
        pixel_values = self._prepare(pictures)
        pixel_values = pixel_values.to(self.model.device, self.model.dtype)  # (num_pictures, 3, height, width)
        logits = self.model(pixel_values=pixel_values, text_states=text_states).logits_per_image
        top_k = parameters.get("top_k", 5 if text_states is None else len(labels))
        best = logits.float().softmax(dim=-1).topk(min(top_k, len(labels)))  # each (num_pictures, top_k)
        answers = [
            [{"label": labels[index], "score": score} for score, index in zip(*rows, strict=True)]
            for rows in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]
        return answers if isinstance(inputs, list) else answers[0]

    def _read_labels(self, parameters: dict[str, Any]) -> tuple[list[str], torch.Tensor | None]:
        """Labels to choose from, and states of their texts `(num_labels, width)`; `None` for the model's classes."""
        config = self.model.config
        labels = parameters.get("candidate_labels")
        if labels is None:
            if "hypothesis_template" in parameters:
                raise ValueError("'hypothesis_template' is the text of 'candidate_labels', of which there are none.")
            return [config.id2label[i] for i in range(config.num_labels)], None
        if self.tokenizer is None:
            raise ValueError(
                "This model is vision-only and can not compare pictures with 'candidate_labels'. Leave them out to "
                f"classify by its own {config.num_labels} classes."
            )
        if isinstance(labels, str):
            labels = _split_labels(labels)
        if not 1 <= len(labels) <= MAX_LABELS:
            raise ValueError(f"'candidate_labels' has {len(labels)} labels; send 1 to {MAX_LABELS}.")
        labels = _normalize_labels(labels)
        template = parameters.get("hypothesis_template", config.prompt_template)
        if template.count("{}") != 1 or set("{}") & set(template.replace("{}", "")):
            raise ValueError(
                f"'hypothesis_template' needs one '{{}}' for the label and no other braces, got {_shorten(template)}."
            )
        if template.encode(errors="ignore").decode() != template:
            raise ValueError(f"{_shorten(template)} has half of a surrogate pair, which is not a character.")
        for label in labels:
            ids = self.tokenizer(label, add_special_tokens=False).input_ids
            if self.tokenizer.unk_token_id is not None and set(ids) <= {self.tokenizer.unk_token_id}:
                raise ValueError(f"The model knows no word of the label {_shorten(label)}: use other words.")
        texts = tuple(template.replace("{}", label) for label in labels)
        return labels, self._cached_text_states(texts)

    def _get_text_states(self, texts: tuple[str, ...]) -> torch.Tensor:
        """States of texts in the text tower, `(num_texts, width)`."""
        tokens = self.tokenizer(list(texts), padding=True, return_tensors="pt").to(self.model.device)
        length = tokens["input_ids"].shape[1]
        positions = getattr(self.model.config.text_config, "max_position_embeddings", length)
        if length > min(positions, self.tokenizer.model_max_length):
            longest = max(texts, key=len)
            raise ValueError(f"The text {_shorten(longest)} is too long for this model: shorten the candidate label.")
        return self.model.get_text_states(**tokens)

    def _prepare(self, pictures: list[Any]) -> torch.Tensor:
        """Pixel values of the pictures of a request, `(num_pictures, 3, height, width)`.

        Pictures are prepared one by one, so that the memory never holds two large ones.
        """
        prepared, num_pixels = [], 0
        for place, picture in enumerate(pictures):
            try:
                image = _open_picture(picture)
                num_pixels += image.width * image.height
                if num_pixels > MAX_PIXELS_OF_REQUEST:
                    raise ValueError(
                        f"with it the request has more than {MAX_PIXELS_OF_REQUEST:,} pixels; send fewer."
                    )
                image = _to_rgb(image)
            except Exception as error:  # the decoders of Pillow raise whatever they stumble over
                raise ValueError(f"Picture {place} of 'inputs' can not be read: {error}") from error
            prepared.append(self.image_processor(images=image, return_tensors="pt")["pixel_values"])
        return torch.cat(prepared)


def _split_labels(text: str) -> list[str]:
    """Split labels with commas between them; one that holds a comma stands in double quotes."""
    try:
        return [label for row in csv.reader([text], skipinitialspace=True, strict=True) for label in row]
    except csv.Error as error:
        raise ValueError(
            f"'candidate_labels' has {_shorten(text)} ({error}): send a list of texts, or commas between them."
        ) from error


def _normalize_labels(labels: list[Any]) -> list[str]:
    """Normalize labels by the package's rule for class names: Unicode form C, single spaces, all different."""
    names: dict[str, str] = {}
    for label in labels:
        name = " ".join(unicodedata.normalize("NFC", label).split()) if isinstance(label, str) else ""
        kinds = [unicodedata.category(character) for character in name]
        if all(kind in ("Cf", "Zs") for kind in kinds) or "Cc" in kinds or "Cs" in kinds:
            raise ValueError(
                f"'candidate_labels' has {_shorten(label)}; each must be a text of visible characters, not empty."
            )
        visible = "".join(one for one, kind in zip(name, kinds, strict=True) if kind != "Cf")
        key = " ".join(unicodedata.normalize("NFC", visible.casefold()).split())
        if key in names:
            raise ValueError(f"'candidate_labels' has {_shorten(name)} twice: each label must be another one.")
        names[key] = name
    return list(names.values())


def _read_request(data: Any) -> tuple[Any, dict[str, Any]]:
    """The picture or list of pictures of a request, and its parameters, checked, without those that are null."""
    if not isinstance(data, dict):
        raise ValueError(f"A request is an object with 'inputs' (images) and 'parameters', not {_shorten(data)}.")
    unknown = set(data) - {"inputs", "parameters", "options"}  # options are for the service, not for the model
    if unknown or data.get("inputs") is None:
        raise ValueError(
            f"A request has the fields 'inputs' (images) and 'parameters', this one has {_shorten(list(data))}. "
            "Put everything except images into 'parameters'."
        )
    inputs, given = data["inputs"], {} if data.get("parameters") is None else data["parameters"]
    if not isinstance(given, dict):
        raise ValueError(f"'parameters' must map names to values, got {_shorten(given)}.")
    if isinstance(inputs, dict):
        inside = {name: value for name, value in inputs.items() if name != "image"}
        if "image" not in inputs or inside.keys() & given.keys():
            raise ValueError(
                f"'inputs' as a mapping has an 'image', and parameters that 'parameters' does not repeat; its fields "
                f"are {_shorten(list(inputs))}, those of 'parameters' are {_shorten(list(given))}."
            )
        inputs, given = inputs["image"], inside | given
    for name, value in given.items():
        if name not in PARAMETERS:
            raise ValueError(f"There is no parameter {_shorten(name)}; there are {', '.join(map(repr, PARAMETERS))}.")
        kind, words = PARAMETERS[name]
        if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
            raise ValueError(f"{name!r} must be {words}, got {_shorten(value)}.")
    parameters = {name: value for name, value in given.items() if value is not None}
    if parameters.get("top_k", 1) < 1:
        raise ValueError(f"'top_k' must be at least 1, got {parameters['top_k']}.")
    return inputs, parameters


def _open_picture(picture: Any) -> Image.Image:
    """Open a picture of any of the forms that a request may have; its size is checked before it is decoded."""
    if isinstance(picture, str):
        picture = _fetch(picture) if re.match(r"\w+://", picture) else _decode_base64(picture)
    if isinstance(picture, bytes):
        if not picture:
            raise ValueError("it is empty.")
        try:
            picture = Image.open(io.BytesIO(picture), formats=FORMATS)
        except UnidentifiedImageError as error:
            raise ValueError(f"it is no file of the kinds {', '.join(FORMATS)}.") from error
    if not isinstance(picture, Image.Image):
        raise ValueError(f"send the base64 of a file, not {_shorten(picture)}.")
    if picture.width * picture.height > MAX_PIXELS or max(picture.size) > MAX_SIDE:
        raise ValueError(
            f"it has {picture.width} x {picture.height} pixels; at most {MAX_PIXELS:,}, {MAX_SIDE:,} a side, are read."
        )
    return picture


def _to_rgb(picture: Image.Image) -> Image.Image:
    """Return the picture upright and in RGB, as training saw it: deep grey is scaled, a transparent colour shows."""
    try:
        orientation = picture.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # damaged EXIF tells no orientation
        orientation = 1
    if orientation in TRANSPOSES:
        picture = picture.transpose(TRANSPOSES[orientation])
    if picture.mode.startswith("I") or picture.mode == "F":
        picture = Image.fromarray(_scale_grey(np.asarray(picture), picture.mode))
    picture = picture.convert("RGB")
    picture.info.pop("transparency", None)  # a colour for which the image processor would put white
    return picture


def _scale_grey(grey: np.ndarray, mode: str) -> np.ndarray:
    """Return grey `(height, width)` as uint8: 16 bits, int32 up to 255, floats in 0..1 or 0..255."""
    if mode == "F":
        is_share = grey.min() >= 0 and grey.max() <= 1
        return np.nan_to_num((grey * 255).round() if is_share else np.clip(grey, 0, 255)).astype(np.uint8)
    if mode == "I" and grey.max() <= 255:
        return np.clip(grey, 0, 255).astype(np.uint8)
    return (np.clip(grey, 0, 65535) / 257).round().astype(np.uint8)  # 65535 / 257 = 255


def _decode_base64(text: str) -> bytes:
    """Decode base64 or a `data:` URL; a path of a file is never opened."""
    encoded = text
    if text.startswith("data:"):
        kind, _, encoded = text.partition(",")
        if not kind.endswith(";base64"):
            raise ValueError(f"a data: URL must be of base64, got {_shorten(text)}.")
    try:
        return base64.b64decode("".join(encoded.split()), validate=True)
    except ValueError as error:
        raise ValueError(f"a text must be the base64 of a file, got {_shorten(text)} ({error}).") from error


def _fetch(url: str) -> bytes:
    """Get a picture from the public internet, within limits of time and size, if the owner of the endpoint allows it.

    Each redirection is checked as the first address is. Proxies of the environment are not used: a proxy resolves
    names itself, so what it reaches could not be checked.
    """
    if os.environ.get(ALLOW_URLS) != "1":
        raise ValueError(
            f"this endpoint fetches nothing from URLs, got {_shorten(url)}: send the base64 of the file. "
            f"(Its owner may allow them with the environment variable {ALLOW_URLS}=1.)"
        )
    for _ in range(MAX_REDIRECTS + 1):
        response, content = _get(url)
        if response.status in (301, 302, 303, 307, 308):
            url = urljoin(url, response.headers.get("Location", ""))
            continue
        if response.status != 200:
            raise ValueError(f"{_shorten(url)} answered with status {response.status}.")
        if len(content) > MAX_URL_BYTES:
            raise ValueError(f"{_shorten(url)} has more than {MAX_URL_BYTES:,} bytes.")
        return content
    raise ValueError(f"there are more than {MAX_REDIRECTS} redirections, the last to {_shorten(url)}.")


def _get(url: str) -> tuple[http.client.HTTPResponse, bytes]:
    """The answer to one request, and of its content one byte more than the limit at most."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"only http and https URLs are fetched, got {_shorten(url)}.")
    secure = parts.scheme == "https"
    connection = http.client.HTTPConnection(parts.hostname, parts.port or (443 if secure else 80))
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.sock = sock = _connect(connection.host, connection.port, secure)
        # The timeout of a socket is for the next bytes; this one is for all. It shuts down what is below TLS.
        deadline = time.monotonic() + MAX_URL_SECONDS
        timer = threading.Timer(MAX_URL_SECONDS, socket.socket.shutdown, (sock, socket.SHUT_RDWR))
        timer.start()
        try:
            connection.request("GET", target, headers={"Accept": "image/*", "Connection": "close"})
            response = connection.getresponse()
            content = response.read(MAX_URL_BYTES + 1)
        finally:
            timer.cancel()
        if time.monotonic() > deadline:  # then the content may be a part of it
            raise TimeoutError("timed out")
    except (OSError, http.client.HTTPException) as error:
        raise ValueError(f"{_shorten(url)} could not be fetched within {MAX_URL_SECONDS} s: {error!r}") from error
    finally:
        connection.close()
    return response, content


def _connect(host: str, port: int, secure: bool) -> socket.socket:
    """Connect to a host of the public internet; what was checked is what is connected to, not a name resolved anew.

    Over IPv4 alone: IPv6 has many forms in which a private IPv4 address may hide.
    """
    address = str(socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_STREAM)[0][4][0])
    if not _is_public(address):
        raise ValueError(f"{host!r} is at no address of the public internet.")  # at which is nobody's business
    sock = socket.create_connection((address, port), timeout=MAX_URL_SECONDS)
    return ssl.create_default_context().wrap_socket(sock, server_hostname=host) if secure else sock


def _is_public(address: str) -> bool:
    return ipaddress.ip_address(address).is_global


def _shorten(value: Any) -> str:
    """A value as an error shows it, which is not a whole picture."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:50]}... ({len(text)} characters)"

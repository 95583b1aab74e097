"""Selection of the files of a run to upload: an explicit list without personal data or local paths."""

import json
import re
import warnings
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import get_token
from transformers.dynamic_module_utils import get_relative_imports

from ..data.sources import hint_at_folder
from ..inference.loading import open_model
from ..runs.directory import CARD, PROVENANCE, RECIPE, RECORDS, RESULTS, read_recipe, read_record
from ..runs.manifest import MANIFEST, OF_MODEL, check_files, dump_manifest, find_damage, read_manifest
from ..runs.provenance import without_places
from ..runs.results_table import RESULTS_TABLE
from .card_additions import METADATA, add_javascript, add_space_link
from .repo_id import check_repo_id, with_repo_id

CONFIG, WEIGHTS, HANDLER, REQUIREMENTS = "config.json", "model.safetensors", "handler.py", "requirements.txt"
CHECKPOINTS = LAST, BEST = "last-checkpoint", "best-checkpoint"  # of a training; the first is the Trainer's
PROCESSOR, OLDER_PROCESSOR = "processor_config.json", "preprocessor_config.json"
TOKENIZER_FILES = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.txt", "vocab.json", "merges.txt", "spiece.model", "sentencepiece.bpe.model"),
)
MODEL_FILES = (CONFIG, WEIGHTS, PROCESSOR, OLDER_PROCESSOR, *TOKENIZER_FILES)
ONNX = "onnx"  # folder of the files that transformers.js opens
CODE_OF_MODEL = re.compile(r"(?:configuration|modeling)_\w+\.py")
TIMM = b"timm>=1.0\n"  # as the extra says
ENDPOINT = Path(__file__).parent  # folder of its files
FIGURE = re.compile(r"(?<![\w/])(?:\./)?((?:figures|samples)/[\w.-]+\.png)")
CODE = re.compile(r"\A---\n.*?\n---\n|```.*?```", re.DOTALL)  # and metadata, neither of which shows images
SHOWN = re.compile(r"(?<!\\)!\[[^\]]*\]\(<?([^)>]+)|(?<!\\)<img\b[^>]*?\bsrc=[\"']?([^\"'\s>]+)")  # images of a card
ADDRESS = re.compile(r"(?:https?:|data:)?//|data:")  # images from elsewhere
TOKEN = re.compile(rb"\bhf_[A-Za-z0-9]{20,}")
PATH = re.compile(  # local paths; after a word or a dot a slash belongs to a URL
    rb"(?<![\w.~:/-])/(?:home|Users|root|mnt|media|data|srv|scratch|tmp|work)/[\w./-]+"
    rb"|\b[A-Za-z]:\\{1,2}[\w .-]+\\[\w.\\-]+"
)


def collect_upload(
    folder: Path, repo_id: str | None, *, onnx: bool = False, space_id: str | None = None
) -> dict[str, bytes | Path]:
    """Collect the files to upload.

    These are the weights and `config.json`; the processor in its current and older format; the model's code; the card
    with its figures and samples; `handler.py` and `requirements.txt` of an endpoint; the numbers of
    `all_results.json`, and `results.csv`; the manifest of the model's files; and the recipe without local paths, if
    `provenance.json` lists these. `split.json` is left out, because image names may identify people. All other files
    (checkpoints, optimizer, reports, exports) are left out.

    Args:
        folder: Folder of a finished run, or of a saved model with a card.
        repo_id: Repository name for the examples in the card; by default the placeholder stays.
        onnx: Whether the card describes the ONNX files, which the caller adds.
        space_id: Space that the card links to.

    Returns:
        Content by file name in the repository; for the weights, their path.

    Raises:
        ValueError: A name is invalid, the folder is not an mg_vtc model, a file is missing or contains a token or a
            local path, the weights are damaged, or the card shows an image that is not uploaded or has invalid YAML
            metadata.
    """
    for name in (repo_id, space_id):
        if name is not None:
            check_repo_id(name)
    config = _read_config(folder)
    _check_present(folder)
    check_files(folder, (*OF_MODEL, *RECORDS))
    card = _read_card(folder)
    _check_metadata(card, folder)
    names = _list_names(folder, config, card)
    files = {name: (folder / name).read_bytes() for name in names if name != WEIGHTS}
    files |= {
        CARD: _fill_in(add_javascript(card, config) if onnx else card, repo_id, space_id).encode(),
        HANDLER: (ENDPOINT / HANDLER).read_bytes(),
        REQUIREMENTS: list_requirements(ENDPOINT / REQUIREMENTS, config["vision_config"].get("model_type")),
    }
    if OLDER_PROCESSOR not in files and PROCESSOR in files:
        files[OLDER_PROCESSOR] = _convert_processor(folder)
    files |= _settings_and_scores(folder)
    open_model(str(folder))
    if (manifest := read_manifest(folder)) is not None:
        files[MANIFEST] = dump_manifest({name: manifest[name] for name in names if name in manifest})
    for name, content in files.items():
        check_private(name, content, folder)
    return {**files, WEIGHTS: folder / WEIGHTS}


def list_requirements(path: Path, vision_type: str | None) -> bytes:
    """Return the content of a `requirements.txt`, with timm if the vision tower is one of timm.

    Args:
        path: Requirements of any model.
        vision_type: `model_type` of the vision tower.
    """
    return path.read_bytes() + (TIMM if vision_type == "timm_wrapper" else b"")


def is_part_of_model(name: str) -> bool:
    """Return whether a file in a repository is of a model or its training, and is deleted if a new model lacks it."""
    if name.startswith(tuple(f"{folder}/" for folder in CHECKPOINTS)):
        return True
    return name in (*MODEL_FILES, MANIFEST) or CODE_OF_MODEL.fullmatch(name) is not None


def _read_config(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise FileNotFoundError(f"No folder {str(folder)!r}.{hint_at_folder(str(folder))}")
    if not (folder / CONFIG).is_file():
        raise ValueError(f"{folder} is not a model folder: it has no {CONFIG}.")
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{CONFIG} in {folder} is not valid JSON ({error}): save the model again.") from error
    if config.get("model_type") != "mg_vtc":
        raise ValueError(
            f"{folder} holds a model of type {config.get('model_type')!r}; only mg_vtc models are supported."
        )
    if not config.get("auto_map"):
        raise ValueError(
            f"{CONFIG} in {folder} has no auto_map, which names the model's code: load and save the model with "
            "this package."
        )
    return config


def _check_present(folder: Path) -> None:
    for name in (WEIGHTS, CARD):
        if not (folder / name).is_file():
            raise ValueError(
                f"{folder} has no {name}: a finished training run writes it; for a model saved in Python, write the "
                "card yourself."
            )


def _read_card(folder: Path) -> str:
    try:
        card = (folder / CARD).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{folder / CARD} is not UTF-8 ({error}): restore it from a copy.") from error
    if not card.strip():
        raise ValueError(f"{folder / CARD} is empty: restore it from a copy, or write the card yourself.")
    if find_damage(folder, [CARD]):
        warnings.warn(
            f"{folder / CARD} is not the card that was written with the model. If you did not edit it, restore it "
            "from a copy and push again.",
            stacklevel=4,
        )
    return card


def _fill_in(card: str, repo_id: str | None, space_id: str | None) -> str:
    card = card if space_id is None else add_space_link(card, space_id)
    return card if repo_id is None else with_repo_id(card, repo_id)


def _list_names(folder: Path, config: dict[str, Any], card: str) -> list[str]:
    """Return the names of the files that are uploaded as they are; refuse one that is missing."""
    names = [name for name in MODEL_FILES if (folder / name).is_file()] + _code(folder, config) + _figures(card)
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise ValueError(f"{folder} has no {', '.join(missing)}, but its {CONFIG} or {CARD} refers to it.")
    return names


def _code(folder: Path, config: dict[str, Any]) -> list[str]:
    """Return the names of the code files in `auto_map` and of their relative imports."""
    waiting, names = {target.split(".")[0] for target in config["auto_map"].values()}, set()
    while waiting:
        name = waiting.pop()
        names.add(name)
        if (folder / f"{name}.py").is_file():
            waiting |= set(get_relative_imports(folder / f"{name}.py")) - names
    return sorted(f"{name}.py" for name in names)


def _convert_processor(folder: Path) -> bytes:
    """Return the image processor in its older format."""
    image_processor = json.loads((folder / PROCESSOR).read_text(encoding="utf-8"))["image_processor"]
    return (json.dumps(image_processor, indent=2) + "\n").encode()


def _settings_and_scores(folder: Path) -> dict[str, bytes]:
    """Return the recipe without local paths, and the numeric results of a run."""
    files = {}
    provenance = folder / PROVENANCE
    places = read_record(provenance).get("places") if provenance.is_file() else None
    if (folder / RECIPE).is_file() and places is not None:
        recipe, _ = read_recipe(folder / RECIPE)
        files[RECIPE] = yaml.safe_dump(without_places(recipe, places), sort_keys=True, allow_unicode=True).encode()
    if (folder / RESULTS).is_file():
        results = read_record(folder / RESULTS)
        numbers = {name: value for name, value in results.items() if isinstance(value, int | float)}
        files[RESULTS] = (json.dumps(numbers, indent=4) + "\n").encode()
    if (folder / RESULTS_TABLE).is_file():
        files[RESULTS_TABLE] = (folder / RESULTS_TABLE).read_bytes()
    return files


def _check_metadata(card: str, folder: Path) -> None:
    """Refuse metadata that the Hub would refuse at the end of the upload."""
    if matter := METADATA.match(card):
        try:
            yaml.safe_load(matter[1])
        except yaml.YAMLError as error:
            problem = " ".join(str(error).split())
            raise ValueError(f"The metadata in {CARD} of {folder} are not valid YAML: {problem}.") from error


def _figures(card: str) -> list[str]:
    """Return the names of the images that the card shows: figures of results and example images."""
    figures = sorted(set(FIGURE.findall(card)))
    for shown in SHOWN.finditer(CODE.sub("", card)):
        name = shown[1] or shown[2]
        if not ADDRESS.match(name) and name.removeprefix("./").split()[0] not in figures:
            raise ValueError(
                f"{CARD} shows {name}, which would not be uploaded: only PNG files in figures/ and samples/ are, with "
                "names of letters, digits, dots, hyphens and underscores."
            )
    return figures


def check_private(name: str, content: bytes, folder: Path) -> None:
    """Check that a file to upload contains no token and no local path.

    Args:
        name: Name of the file.
        content: Content of the file.
        folder: Folder of the file.

    Raises:
        ValueError: The file contains a token or a local path.
    """
    token = get_token()
    if TOKEN.search(content) or (token and token.encode() in content):
        raise ValueError(f"{name} in {folder} contains a Hub token: remove it, and revoke it.")
    for place in {Path.home(), Path.cwd(), folder.resolve()}:
        # a slash after a word belongs to a longer path or a URL
        if place != Path(place.anchor) and re.search(rb"(?<![\w.~:/-])" + re.escape(bytes(place)) + rb"\b", content):
            raise ValueError(f"{name} in {folder} contains the local path {place}: remove it.")
    if name in (CARD, RECIPE) and (found := PATH.search(content)):  # what people write
        raise ValueError(f"{name} in {folder} contains {found[0].decode()}, which looks like a local path: remove it.")

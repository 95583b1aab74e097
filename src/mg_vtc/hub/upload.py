"""What of a run's folder goes to the Hub: an explicit list of files, which name neither a person nor this machine."""

import json
import re
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import get_token
from transformers.dynamic_module_utils import get_relative_imports

from ..data.lookup import hint_at_folder
from ..inference.loading import open_model
from ..runs.directory import CARD, PROVENANCE, RECIPE, RESULTS, read_record
from ..runs.provenance import without_places
from .repo_id import with_repo_id

CONFIG, WEIGHTS, HANDLER, REQUIREMENTS = "config.json", "model.safetensors", "handler.py", "requirements.txt"
PROCESSOR, OLDER_PROCESSOR = "processor_config.json", "preprocessor_config.json"
TOKENIZER_FILES = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.txt", "vocab.json", "merges.txt", "spiece.model", "sentencepiece.bpe.model"),
)
MODEL_FILES = (CONFIG, WEIGHTS, PROCESSOR, OLDER_PROCESSOR, *TOKENIZER_FILES)
ENDPOINT = Path(__file__).parent  # where its files are
FIGURE = re.compile(r"(?<![\w/])(?:\./)?((?:figures|samples)/[\w.-]+\.png)")
METADATA = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)
CODE = re.compile(r"\A---\n.*?\n---\n|```.*?```", re.DOTALL)  # and metadata, which show nothing
SHOWN = re.compile(r"(?<!\\)!\[[^\]]*\]\(<?([^)>]+)|(?<!\\)<img\b[^>]*?\bsrc=[\"']?([^\"'\s>]+)")  # pictures of a card
ADDRESS = re.compile(r"(?:https?:|data:)?//|data:")  # as which a shown picture is none of the folder
TOKEN = re.compile(rb"\bhf_[A-Za-z0-9]{20,}")
PATH = re.compile(  # of some machine; after a word or a point a slash belongs to an address
    rb"(?<![\w.~:/-])/(?:home|Users|root|mnt|media|data|srv|scratch|tmp|work)/[\w./-]+"
    rb"|\b[A-Za-z]:\\{1,2}[\w .-]+\\[\w.\\-]+"
)


def collect_upload(folder: Path, repo_id: str | None) -> dict[str, bytes | Path]:
    """Say which files a repository gets, and what is in them.

    These are the weights and `config.json`; the processor in its current and in its older form; the model's code; the
    card, with the figures and samples that it shows; `handler.py` and `requirements.txt` of an endpoint; the recipe
    without places of the machine that trained, if `provenance.json` tells which these are, and the numbers of
    `all_results.json`. `split.json` stays behind: names of pictures may name people. So does whatever else is in the
    folder: checkpoints, optimizer, reports, exports.

    Args:
        folder: Folder of a finished run, or of a saved model with a card.
        repo_id: Where it goes, which the card's examples then name; without it they keep their placeholder.

    Returns:
        By name in the repository, the content, or for the weights their path.

    Raises:
        ValueError: It is no folder of such a model, a file of it is missing, one names a token or a folder of this
            machine, the weights are damaged, or the card shows a picture that would not be there or has metadata that
            are no YAML.
    """
    config = _read_config(folder)
    for name in (WEIGHTS, CARD):
        if not (folder / name).is_file():
            raise ValueError(
                f"{folder} has no {name}: a run of train.py ends with one; beside a model that was saved by hand, "
                "its card has to be written."
            )
    card = (folder / CARD).read_text(encoding="utf-8")
    _check_metadata(card, folder)
    names = [name for name in MODEL_FILES if (folder / name).is_file()] + _code(folder, config) + _figures(card)
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise ValueError(f"{folder} has no {', '.join(missing)}, which its {CONFIG} or {CARD} refer to.")
    files: dict[str, bytes | Path] = {name: (folder / name).read_bytes() for name in names if name != WEIGHTS}
    files |= {
        CARD: (card if repo_id is None else with_repo_id(card, repo_id)).encode(),
        **{name: (ENDPOINT / name).read_bytes() for name in (HANDLER, REQUIREMENTS)},
    }
    if OLDER_PROCESSOR not in files and PROCESSOR in files:
        image_processor = json.loads((folder / PROCESSOR).read_text(encoding="utf-8"))["image_processor"]
        files[OLDER_PROCESSOR] = (json.dumps(image_processor, indent=2) + "\n").encode()
    files |= _settings_and_scores(folder)
    open_model(str(folder))
    for name, content in files.items():
        assert isinstance(content, bytes)  # all but the weights
        check_private(name, content, folder)
    return files | {WEIGHTS: folder / WEIGHTS}


def is_part_of_model(name: str) -> bool:
    """Whether a file of a repository is one of those that make the model, and so must not outlive its predecessor."""
    return name in MODEL_FILES or re.fullmatch(r"(?:configuration|modeling)_\w+\.py", name) is not None


def _read_config(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {str(folder)!r}.{hint_at_folder(str(folder))}")
    if not (folder / CONFIG).is_file():
        raise ValueError(f"{folder} is no folder of a model: there is no {CONFIG} in it.")
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{CONFIG} in {folder} is no JSON ({error}): save the model anew.") from error
    if config.get("model_type") != "mg_vtc":
        raise ValueError(
            f"{folder} holds a model of type {config.get('model_type')!r}; only mg_vtc is published here."
        )
    if not config.get("auto_map"):
        raise ValueError(
            f"{CONFIG} in {folder} has no auto_map, which names the model's code: open the model with the package and "
            "save it anew."
        )
    return config


def _code(folder: Path, config: dict[str, Any]) -> list[str]:
    """Names of the files that open the model without the package: those of `auto_map` and what they import."""
    waiting, names = {target.split(".")[0] for target in config["auto_map"].values()}, set()
    while waiting:
        name = waiting.pop()
        names.add(name)
        if (folder / f"{name}.py").is_file():
            waiting |= set(get_relative_imports(folder / f"{name}.py")) - names
    return sorted(f"{name}.py" for name in names)


def _settings_and_scores(folder: Path) -> dict[str, bytes]:
    """The recipe and the scores of a run, as far as they hold elsewhere."""
    files = {}
    provenance = folder / PROVENANCE
    places = read_record(provenance).get("places") if provenance.is_file() else None
    if (folder / RECIPE).is_file() and places is not None:
        recipe = yaml.safe_load((folder / RECIPE).read_text(encoding="utf-8"))
        files[RECIPE] = yaml.safe_dump(without_places(recipe, places), sort_keys=True, allow_unicode=True).encode()
    if (folder / RESULTS).is_file():
        results = read_record(folder / RESULTS)
        numbers = {name: value for name, value in results.items() if isinstance(value, int | float)}
        files[RESULTS] = (json.dumps(numbers, indent=4) + "\n").encode()
    return files


def _check_metadata(card: str, folder: Path) -> None:
    """Refuse metadata that the Hub would refuse after all else was checked."""
    if matter := METADATA.match(card):
        try:
            yaml.safe_load(matter[1])
        except yaml.YAMLError as error:
            problem = " ".join(str(error).split())
            raise ValueError(f"The metadata in {CARD} of {folder} are not valid YAML: {problem}.") from error


def _figures(card: str) -> list[str]:
    """Pictures that the card shows: figures of its results, and examples that its metadata name."""
    figures = sorted(set(FIGURE.findall(card)))
    for shown in SHOWN.finditer(CODE.sub("", card)):
        name = shown[1] or shown[2]
        if not ADDRESS.match(name) and name.removeprefix("./").split()[0] not in figures:
            raise ValueError(
                f"{CARD} shows {name}, which would not be uploaded: only PNG files in figures/ and samples/ are, by "
                "names of letters, digits, points and lines."
            )
    return figures


def check_private(name: str, content: bytes, folder: Path) -> None:
    """Make sure that a file which is about to be published gives away no token and no folder of this machine.

    Args:
        name: Of the file.
        content: Of the file.
        folder: Where it is from.

    Raises:
        ValueError: It does.
    """
    token = get_token()
    if TOKEN.search(content) or (token and token.encode() in content):
        raise ValueError(f"{name} in {folder} holds a token of the Hub: take it out, and revoke it.")
    for place in {Path.home(), Path.cwd(), folder.resolve()}:
        # a slash after a word belongs to a longer path or an address
        if place != Path(place.anchor) and re.search(rb"(?<![\w.~:/-])" + re.escape(bytes(place)) + rb"\b", content):
            raise ValueError(f"{name} in {folder} names {place}, a folder of this machine: take it out.")
    if name in (CARD, RECIPE) and (found := PATH.search(content)):  # what people write
        raise ValueError(f"{name} in {folder} names {found[0].decode()}, which looks like a path: take it out.")

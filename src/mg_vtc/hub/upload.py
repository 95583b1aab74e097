"""What of a run's folder goes to the Hub: an explicit list of files, which name neither a person nor this machine."""

import json
import re
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import get_token
from transformers.dynamic_module_utils import get_relative_imports

from ..provenance import without_places
from ..run_folder import CARD, RECIPE, RESULTS
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
TOKEN = re.compile(rb"\bhf_[A-Za-z0-9]{20,}")


def collect_upload(folder: Path, repo_id: str) -> dict[str, bytes | Path]:
    """Say which files a repository gets, and what is in them.

    These are the weights and `config.json`; the processor in its current and in its older form; the model's code; the
    card, with the figures and samples that it shows; `handler.py` and `requirements.txt` of an endpoint; the recipe
    without places of this machine, and the numbers of `all_results.json`. `split.json` stays behind: names of pictures
    may name people. So does whatever else is in the folder: checkpoints, optimizer, reports, exports.

    Args:
        folder: Folder of a finished run, or of a saved model with a card.
        repo_id: Where it goes, which the card's examples then name.

    Returns:
        By name in the repository, the content, or for the weights their path.

    Raises:
        ValueError: It is no folder of such a model, a file of it is missing, or one names a token or a folder of this
            machine.
    """
    config = _read_config(folder)
    for name in (WEIGHTS, CARD):
        if not (folder / name).is_file():
            raise ValueError(
                f"{folder} has no {name}: a run of train.py ends with one; beside a model that was saved by hand, "
                "its card has to be written."
            )
    card = (folder / CARD).read_text(encoding="utf-8")
    names = [name for name in MODEL_FILES if (folder / name).is_file()] + _code(folder, config) + _figures(card)
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise ValueError(f"{folder} has no {', '.join(missing)}, which its {CONFIG} or {CARD} refer to.")
    files: dict[str, bytes | Path] = {name: (folder / name).read_bytes() for name in names if name != WEIGHTS}
    files |= {
        CARD: with_repo_id(card, repo_id).encode(),
        **{name: (ENDPOINT / name).read_bytes() for name in (HANDLER, REQUIREMENTS)},
    }
    if OLDER_PROCESSOR not in files and PROCESSOR in files:
        image_processor = json.loads((folder / PROCESSOR).read_text(encoding="utf-8"))["image_processor"]
        files[OLDER_PROCESSOR] = (json.dumps(image_processor, indent=2) + "\n").encode()
    if (folder / RECIPE).is_file():
        recipe = yaml.safe_load((folder / RECIPE).read_text(encoding="utf-8"))
        files[RECIPE] = yaml.safe_dump(without_places(recipe), sort_keys=True, allow_unicode=True).encode()
    if (folder / RESULTS).is_file():
        results = json.loads((folder / RESULTS).read_text(encoding="utf-8"))
        numbers = {name: value for name, value in results.items() if isinstance(value, int | float)}
        files[RESULTS] = (json.dumps(numbers, indent=4) + "\n").encode()
    for name, content in files.items():
        _check_private(name, content, folder)
    return files | {WEIGHTS: folder / WEIGHTS}


def is_part_of_model(name: str) -> bool:
    """Whether a file of a repository is one of those that make the model, and so must not outlive its predecessor."""
    return name in MODEL_FILES or re.fullmatch(r"(?:configuration|modeling)_\w+\.py", name) is not None


def _read_config(folder: Path) -> dict[str, Any]:
    if not (folder / CONFIG).is_file():
        raise ValueError(f"{folder} is no folder of a model: there is no {CONFIG} in it.")
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    if config.get("model_type") != "mg_vtc":
        raise ValueError(
            f"{folder} holds a model of type {config.get('model_type')!r}; only mg_vtc is published here."
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


def _figures(card: str) -> list[str]:
    """Pictures that the card shows: figures of its results, and examples that its metadata name."""
    return sorted(set(FIGURE.findall(card)))


def _check_private(name: str, content: bytes | Path, folder: Path) -> None:
    """Make sure that a file gives away no token and no folder of this machine."""
    assert isinstance(content, bytes)
    token = get_token()
    if TOKEN.search(content) or (token and token.encode() in content):
        raise ValueError(f"{name} in {folder} holds a token of the Hub: take it out, and revoke it.")
    for place in {Path.home(), Path.cwd(), folder.resolve()}:
        # a slash after a word belongs to a longer path or an address
        if place != Path(place.anchor) and re.search(rb"(?<![\w.~:/-])" + re.escape(bytes(place)) + rb"\b", content):
            raise ValueError(f"{name} in {folder} names {place}, a folder of this machine: take it out.")

"""What of a run's folder goes to the Hub: an explicit list of files, which name neither a person nor this machine."""

import json
import re
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import get_token
from transformers.dynamic_module_utils import get_relative_imports

from ..run_folder import RECIPE, RESULTS

CONFIG, WEIGHTS, CARD, HANDLER, REQUIREMENTS = (
    *("config.json", "model.safetensors", "README.md"),
    *("handler.py", "requirements.txt"),
)
PROCESSOR, OLDER_PROCESSOR = "processor_config.json", "preprocessor_config.json"
TOKENIZER_FILES = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.txt", "vocab.json", "merges.txt", "spiece.model", "sentencepiece.bpe.model"),
)
MODEL_FILES = (CONFIG, WEIGHTS, PROCESSOR, OLDER_PROCESSOR, *TOKENIZER_FILES)
HANDLER_SOURCE = Path(__file__).with_name(HANDLER)
NEEDED_TO_ANSWER = ("torch", "transformers", "pillow", "numpy")
FIGURE = re.compile(r"(?<![\w/])(?:\./)?((?:figures|samples)/[\w.-]+\.png)")
TOKEN = re.compile(rb"\bhf_[A-Za-z0-9]{20,}")
PLACES = ("train_dir", "validation_dir", "output_dir")  # settings that name a folder of this machine
MAY_BE_PLACES = ("dataset_name", "vision_model_name_or_path", "text_model_name_or_path")


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
    files |= {CARD: card.replace('"MODEL"', f'"{repo_id}"').encode(), REQUIREMENTS: _requirements().encode()}
    if OLDER_PROCESSOR not in files and PROCESSOR in files:
        image_processor = json.loads((folder / PROCESSOR).read_text(encoding="utf-8"))["image_processor"]
        files[OLDER_PROCESSOR] = (json.dumps(image_processor, indent=2) + "\n").encode()
    if HANDLER_SOURCE.is_file():
        files[HANDLER] = HANDLER_SOURCE.read_bytes()
    if (folder / RECIPE).is_file():
        files[RECIPE] = _recipe(folder / RECIPE)
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


def _requirements() -> str:
    """What an endpoint needs to answer, as this package requires it."""
    lines = sorted(line for line in requires("mg-vtc") or () if ";" not in line)  # what follows one is an extra's
    return "".join(f"{line}\n" for line in lines if re.split(r"[<>=!~ ]", line)[0].lower() in NEEDED_TO_ANSWER)


def _recipe(path: Path) -> bytes:
    """The recipe without what is true on this machine alone."""
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    kept = {key: value for key, value in settings.items() if not _is_local(key, value)}
    return yaml.safe_dump(kept, sort_keys=True, allow_unicode=True).encode()


def _is_local(key: str, value: Any) -> bool:
    if key in PLACES or key == "push_to_hub" or key.startswith("hub_"):
        return True
    if key == "labels_file":
        return value not in ("imigue", "smg")
    if not isinstance(value, str):
        return False
    return Path(value).is_absolute() or value.startswith(("~", ".")) or (key in MAY_BE_PLACES and Path(value).exists())


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

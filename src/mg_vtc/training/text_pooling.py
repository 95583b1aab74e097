"""Pooling of a text tower that sentence-transformers trained."""

import json
from pathlib import Path

from huggingface_hub import _CACHED_NO_EXIST, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

POOLINGS = {  # in the folder of a sentence-transformers model: text_pooling
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_lasttoken": "last",
}
POOLING_FILE = "1_Pooling/config.json"
OF_EVERY_REPOSITORY = ".gitattributes"  # which only the download of a whole repository takes


def read_text_pooling(name: str) -> str:
    """Return the pooling of a sentence-transformers model, "auto" for other models.

    Args:
        name: Folder or Hub id of a text tower.

    Raises:
        OSError: The Hub cannot be reached, and the cache does not say whether the model states a pooling.
        ValueError: The model is pooled in a way that this package does not know.
    """
    path = _find_pooling(name)
    if path is None:
        return "auto"
    modes = json.loads(path.read_text(encoding="utf-8"))
    chosen = [mode for mode, value in modes.items() if mode.startswith("pooling_mode_") and value is True]
    if isinstance(modes.get("pooling_mode"), str):
        chosen.append(f"pooling_mode_{modes['pooling_mode']}")
    known = POOLINGS | {f"pooling_mode_{pooling}": pooling for pooling in POOLINGS.values()}
    if len(chosen) != 1 or chosen[0] not in known:
        raise ValueError(
            f"{name} pools its tokens by {', '.join(chosen) or 'nothing'}, but only "
            f"{', '.join(POOLINGS.values())} are supported: set `text_pooling`."
        )
    return known[chosen[0]]


def _find_pooling(name: str) -> Path | None:
    """Return the file with the pooling of a model; `None` if the model has none.

    Raises:
        OSError: The Hub cannot be reached, and the cache does not say whether it has.
    """
    if Path(name).is_dir():
        path = Path(name, POOLING_FILE)
        return path if path.is_file() else None
    try:
        return Path(hf_hub_download(name, POOLING_FILE))
    except LocalEntryNotFoundError as error:
        known_to_lack_it = try_to_load_from_cache(name, POOLING_FILE) is _CACHED_NO_EXIST
        if known_to_lack_it or isinstance(try_to_load_from_cache(name, OF_EVERY_REPOSITORY), str):
            return None
        raise OSError(
            f"How {name} pools its tokens is not in the cache, and the Hub cannot be reached: download the model with "
            f"`hf download {name}` where there is a network, or set `text_pooling` to cls or mean."
        ) from error
    except EntryNotFoundError:
        return None

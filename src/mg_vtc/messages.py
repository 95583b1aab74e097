"""Error messages: the library names arguments in backticks, which the command line shows as flags."""

import re

_ARGUMENT = re.compile(r"`([a-z][a-z0-9_]*)(?:=([^`]+))?`")
_FLAG_NAMES = {  # where a flag is not named like its argument
    "config_name": "dataset_config_name",
    "image_column": "image_column_name",
    "label_column": "label_column_name",
    "clip_column": "clip_column_name",
    "subject_column": "subject_column_name",
}


def name_flags(message: str) -> str:
    """Replace arguments by flags: "`overwrite`" becomes "--overwrite", and "`split='all'`" "--split all"."""

    def name_flag(match: re.Match[str]) -> str:
        name, value = match.groups()
        flag = f"--{_FLAG_NAMES.get(name, name)}"
        return flag if value is None else f"{flag} {'true' if value == 'True' else value.strip(chr(39))}"

    return _ARGUMENT.sub(name_flag, message)

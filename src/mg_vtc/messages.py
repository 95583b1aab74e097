"""Messages: arguments in backticks are flags on the command line, and nothing controls the terminal or the page."""

import re

_ARGUMENT = re.compile(r"`([a-z][a-z0-9_]*)(?:=([^`]+))?`")
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_FLAG_NAMES = {  # where a flag is not named like its argument
    "config_name": "dataset_config_name",
    "image_column": "image_column_name",
    "label_column": "label_column_name",
    "clip_column": "clip_column_name",
    "subject_column": "subject_column_name",
}


def name_flags(message: str) -> str:
    """Replace arguments by flags: "`overwrite`" becomes "--overwrite", and "`split='all'`" "--split all".

    Unprintable characters, as in file names of strangers, are escaped.
    """

    def name_flag(match: re.Match[str]) -> str:
        name, value = match.groups()
        flag = f"--{_FLAG_NAMES.get(name, name)}"
        return flag if value is None else f"{flag} {'true' if value == 'True' else value.strip(chr(39))}"

    return escape(_ARGUMENT.sub(name_flag, message), keep="\n")


def abridge(value: object, length: int = 300) -> str:
    """Return the repr of a value for a message; of more than `length` characters, the beginning."""
    text = repr(value)
    return text if len(text) <= length else f"{text[:length]}..."


def escape(text: str, *, keep: str = "") -> str:
    """Escape unprintable characters, which could break lines or control the terminal, except those of `keep`."""
    return "".join(
        char if char.isprintable() or char in keep else char.encode("unicode_escape").decode() for char in text
    )


def escape_controls(text: str) -> str:
    """Escape control characters and those that reverse the text around them (U+202E); line breaks and tabs stay.

    Unlike `escape`, it keeps the invisible characters of scripts and emoji.
    """
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)

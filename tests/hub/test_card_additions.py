"""A card gains a link to a Space and the use in JavaScript, and keeps the rest."""

import json
import re

import pytest
import yaml

from mg_vtc.hub.card_additions import METADATA, add_javascript, add_space_link

LINK = "**[Try the model on your own images](https://huggingface.co/spaces/org/try)** in its Space."
CONFIG = {
    "id2label": {"1": 'Saying "no"', "0": "Über den Kopf", "10": "Tenth", "2": "Third"},
    "prompt_template": "a {}",
}


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        ("---\ntags: [a]\n---\n# Gestures\n\nText.\n", f"---\ntags: [a]\n---\n# Gestures\n\n{LINK}\n\nText.\n"),
        ("---\n# a comment\ntags: [a]\n---\nText.\n", f"---\n# a comment\ntags: [a]\n---\n\n{LINK}\nText.\n"),
        ("Text.\n", f"\n{LINK}\nText.\n"),
    ],
    ids=["title", "no title", "no metadata"],
)
def test_link_stands_below_the_title(card, expected):
    assert add_space_link(card, "org/try") == expected


def test_javascript_stands_before_the_limits_and_else_at_the_end():
    card = "# Gestures\n\n## Use\n\nPython.\n\n## Limits\n\n- Few.\n"
    changed = add_javascript(card, CONFIG)
    assert re.findall(r"^(?:#+ \w+|```js)", changed, re.MULTILINE) == ["# Gestures", "## Use", "```js", "## Limits"]
    start, end = changed.index("\nWith transformers.js"), changed.index("\n## Limits")
    assert changed[:start] + changed[end:] == card
    assert add_javascript("Text.", CONFIG).startswith("Text.\n\nWith transformers.js")


def test_names_and_prompt_are_literals_of_javascript():
    code = add_javascript("", CONFIG)
    assert json.loads(re.search(r"const names = (.*);", code)[1]) == ["Über den Kopf", 'Saying "no"', "Third"]
    assert '{ hypothesis_template: "a {}" }' in code


def test_vision_only_model_is_not_asked_for_names():
    code = add_javascript("", CONFIG | {"vision_only": True})
    assert "image-classification" in code
    assert "zero-shot" not in code
    assert "model_file_name" not in code


@pytest.mark.parametrize(
    "tags", ["tags: [a, b]\n", "tags: []\n", "tags:\n- a\n- b\n", "tags:\n  - a\n  - b\n", "tags: [transformers.js]\n"]
)
def test_tag_is_added_once_and_metadata_stay_valid(tags):
    card = f"---\nlicense: apache-2.0\n{tags}widget:\n- src: a.png\n---\n# Gestures\n"
    changed = add_javascript(add_javascript(card, CONFIG), CONFIG)
    before, after = (yaml.safe_load(METADATA.match(text)[0].strip("-\n")) for text in (card, changed))
    others = [tag for tag in before["tags"] if tag != "transformers.js"]
    assert after == before | {"tags": ["transformers.js", *others]}


def test_card_without_tags_gets_none():
    card = "---\nlicense: mit\n---\n# Gestures\n"
    assert METADATA.match(add_javascript(card, CONFIG))[0] == METADATA.match(card)[0]


def test_comment_in_code_is_no_title():
    card = add_space_link("Text.\n\n```bash\n# a comment\nls\n```\n", "org/try")
    assert card.index("org/try") < card.index("# a comment")

"""Additions to a model card that depend on the push: a link to a Space, and the use in JavaScript."""

import json
import re
from typing import Any

from .repo_id import PLACEHOLDER

METADATA = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)
TAG = "transformers.js"  # by which the Hub lists models for it
NEXT_SECTION = "\n## Limits\n"  # of a generated card
NUM_NAMES = 3  # in the example


def add_space_link(card: str, space_id: str) -> str:
    """Insert a link to a Space below the title of a card.

    Args:
        card: Text of the card.
        space_id: Repository of the Space, such as "org/mg-vtc-space".
    """
    link = f"**[Try the model on your own images](https://huggingface.co/spaces/{space_id})** in its Space."
    metadata = METADATA.match(card)
    body = metadata.end() if metadata else 0
    code = card.find("```", body)  # whose comments look like titles
    title = re.compile(r"^# .*\n", re.MULTILINE).search(card, body, code if code >= 0 else len(card))
    place = title.end() if title else body
    return f"{card[:place]}\n{link}\n{card[place:]}"


def add_javascript(card: str, config: dict[str, Any]) -> str:
    """Insert the use with transformers.js into a card, and its tag into the metadata.

    Args:
        card: Text of the card.
        config: `config.json` of the model.
    """
    vision_only = config.get("vision_only", False)
    names = [config["id2label"][key] for key in sorted(config["id2label"], key=int)[:NUM_NAMES]]
    options = "{ config }" if vision_only else '{ config, model_file_name: "classifier" }'
    code = [
        'import { AutoConfig, pipeline } from "@huggingface/transformers";',
        "",
        f"const model = {PLACEHOLDER};",
        "// transformers.js does not know mg_vtc: run it like another classifier",
        'const config = { ...(await AutoConfig.from_pretrained(model)), model_type: "vit" };',
        f'const classify = await pipeline("image-classification", model, {options});',
        'console.log(await classify("image.jpg"));',
    ]
    if not vision_only:
        template = json.dumps(config["prompt_template"], ensure_ascii=False)
        code += [
            "",
            'const compare = await pipeline("zero-shot-image-classification", model);',
            f"const names = {json.dumps(names, ensure_ascii=False)};",
            f'console.log(await compare("image.jpg", names, {{ hypothesis_template: {template} }}));',
        ]
    section = "\n".join(
        [
            "\nWith transformers.js, in a browser or Node.js:\n",
            "```js",
            *code,
            "```\n",
            'A browser loads the 8-bit files; add `dtype: "fp32"` to the options for full precision. transformers.js',
            "resizes otherwise than Python, so scores differ unless an image has the size of the model.\n",
        ]
    )
    before, heading, after = card.partition(NEXT_SECTION)
    return _add_tag(f"{before.rstrip()}\n{section}{heading}{after}")


def _add_tag(card: str) -> str:
    """Add the tag to the list `tags` of the metadata, if there is one."""
    head, start = METADATA.match(card), r"(?m)^(tags:"
    if head is None or TAG in head[0]:
        return card
    tagged = re.sub(rf"{start} \[)", rf"\g<1>{TAG}, ", head[0])  # a list in one line, or one of lines
    tagged = re.sub(rf"{start}\n( *))(?=- )", rf"\g<1>- {TAG}\n\g<2>", tagged)
    return tagged + card[head.end() :]

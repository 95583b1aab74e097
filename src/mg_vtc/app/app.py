"""Entry point of a Space: the demo page of the model named in its README.md."""

from pathlib import Path

from huggingface_hub import SpaceCard

from mg_vtc.app.page import LAUNCH, build_page

if __name__ == "__main__":
    card = SpaceCard.load(Path(__file__).with_name("README.md"))
    build_page(card.data["models"][0]).launch(**LAUNCH)

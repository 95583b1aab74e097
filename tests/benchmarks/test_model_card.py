"""The card in the repository is that of a real run."""

from pathlib import Path

import model_card

ROOT = Path(__file__).parents[2]


def test_card_is_rendered_from_the_kept_records():
    assert (ROOT / "model_card.md").read_text(encoding="utf-8") == model_card.render_card(model_card.RECORDS)

"""Texts of the classes: padded to the longest that is asked for, and told apart."""

import copy

import pytest
import torch
from conftest import CLASS_NAMES

from mg_vtc import build_tokenizer
from mg_vtc.data import prompts
from mg_vtc.data.prompts import ClassTexts, check_known


@pytest.fixture
def texts(processor):
    return ClassTexts([[name] for name in CLASS_NAMES], processor.tokenizer, torch.device("cpu"))


@pytest.mark.parametrize("labels", [[0], [3, 1], [5, 5, 0], list(range(6))])
def test_selected_texts_are_what_the_tokenizer_makes_of_them(texts, processor, labels):
    expected = processor.tokenizer([CLASS_NAMES[label] for label in labels], padding=True, return_tensors="pt")
    selected = texts.select(torch.tensor(labels))
    assert selected.keys() == expected.keys()
    for name in expected:
        assert torch.equal(selected[name], expected[name])


def test_tokenizer_is_left_as_it_was(processor, texts):
    assert processor.tokenizer.backend_tokenizer.truncation is None


def test_texts_beyond_the_limit_of_the_tokenizer_are_named(processor):
    tokenizer = copy.deepcopy(processor.tokenizer)
    texts = [["head up"], ["folding arms", "folding arms head up"]]
    tokenizer.model_max_length = len(tokenizer(texts[1][1]).input_ids)
    assert ClassTexts(texts, tokenizer, torch.device("cpu")).inputs["input_ids"].shape[1] == tokenizer.model_max_length
    tokenizer.model_max_length -= 1
    words = rf"'folding arms head up' of class 1 is longer .* the words after {tokenizer.model_max_length} tokens"
    with pytest.warns(UserWarning, match=words) as caught:
        ClassTexts(texts, tokenizer, torch.device("cpu"))
    assert len(caught) == 1


def test_embeddings_that_differ_pass(texts):
    texts.check_apart(torch.randn(6, 4, generator=torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("num_classes", [32, 1100])
@pytest.mark.parametrize("seed", range(5))
def test_many_rows_are_reported_apart_to_rounding(num_classes, seed, processor):
    names = [[f"gesture {number}"] for number in range(num_classes)]
    texts = ClassTexts(names, processor.tokenizer, torch.device("cpu"))
    embeds = torch.randn(num_classes, 256, generator=torch.Generator().manual_seed(seed))
    embeds[-1] = embeds[3] * (1 + 1e-4)
    texts.check_apart(embeds)
    embeds[-1] = embeds[3]
    with pytest.raises(ValueError, match=f"'gesture 3' and 'gesture {num_classes - 1}' have the same embedding"):
        texts.check_apart(embeds)


@pytest.mark.parametrize(("first", "second"), [(0, 1), (0, 5), (4, 5)])
@pytest.mark.parametrize("num_compared", [1024, 2])
def test_two_equal_embeddings_are_named_wherever_they_are(texts, monkeypatch, first, second, num_compared):
    monkeypatch.setattr(prompts, "NUM_COMPARED", num_compared)
    embeds = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    embeds[second] = embeds[first]
    with pytest.raises(
        ValueError, match=f"'{CLASS_NAMES[first]}' and '{CLASS_NAMES[second]}' have the same embedding"
    ):
        texts.check_apart(embeds)


def test_names_in_single_letters_are_warned_of():
    tokenizer = build_tokenizer(["folding arms", "rubbing eyes"])
    check_known(["rubbing arms", "touching eyes", "OK"], tokenizer)
    with pytest.warns(UserWarning, match="spells 'glorp zork' letter by letter"):
        check_known(["folding arms", "glorp zork"], tokenizer)

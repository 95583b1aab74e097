"""Classes with several texts: their mean, a text drawn in each step, and settings that make them."""

import json

import pytest
import torch
import torch.nn.functional as F
from conftest import CLASS_NAMES, TINY_RESNET, batch_of, make_rows
from PIL import Image
from saved_models import save_model

from mg_vtc import MgVtcModel, build_tokenizer, contrastive_loss
from mg_vtc.app.gesture_model import GestureModel
from mg_vtc.data import load_demo_dataset, load_image_folder
from mg_vtc.data.prompts import ClassTexts
from mg_vtc.evaluation.evaluate import evaluate
from mg_vtc.hub.handler import EndpointHandler
from mg_vtc.inference.embedding import embed_names
from mg_vtc.inference.loading import open_model
from mg_vtc.inference.predictor import predict
from mg_vtc.training.recipe import parse_recipe
from mg_vtc.training.run import train
from mg_vtc.training.starting_point import describe_classes, take_over
from mg_vtc.training.text_draws import TextDraws

FURTHER = [["hands up", "arms up"], ["eyes shut"], *([f"further {number}"] for number in range(4))]
TEXTS = [[name, *further] for name, further in zip(CLASS_NAMES, FURTHER, strict=True)]


@pytest.fixture
def model_of_texts(config):
    config.label_texts = TEXTS
    torch.manual_seed(0)
    return MgVtcModel(config).eval()


def encode(model, tokenizer, texts):
    """Unit embeddings (num_texts, projection_dim) of texts, one at a time."""
    with torch.no_grad():
        rows = [model.get_text_features(**tokenizer([text], return_tensors="pt")).pooler_output for text in texts]
    return F.normalize(torch.cat(rows), dim=-1)


def test_class_embeddings_are_the_direction_of_the_mean_of_the_texts(make_trainer, model_of_texts, processor):
    make_trainer(model_of_texts)
    for embed, own in zip(model_of_texts.class_embeds, TEXTS, strict=True):
        expected = F.normalize(encode(model_of_texts, processor.tokenizer, own).mean(dim=0), dim=-1)
        torch.testing.assert_close(embed, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("text_batch", ["classes", "unique", "pairs"])
def test_mean_compares_images_with_the_means_of_the_texts(make_trainer, model_of_texts, text_batch):
    trainer = make_trainer(model_of_texts, class_texts="mean", text_batch=text_batch)
    model_of_texts.eval()
    batch = batch_of(make_rows(8))
    loss, outputs = trainer.compute_loss(model_of_texts, batch, return_outputs=True)
    classes = torch.arange(6) if text_batch == "classes" else batch["labels"]
    logits = model_of_texts.compare(outputs.image_embeds, model_of_texts.class_embeds[classes])
    torch.testing.assert_close(loss, contrastive_loss(logits, batch["labels"][:, None] == classes[None, :]))


def test_sample_draws_every_text_of_a_class_and_none_of_another(processor):
    texts = ClassTexts(TEXTS, processor.tokenizer, torch.device("cpu"))
    labels = torch.tensor([0, 1] * 300)
    rows = texts.choose(labels, TextDraws(seed=0).draw(len(labels), step=0))
    seen = [processor.tokenizer.decode(texts.inputs["input_ids"][row], skip_special_tokens=True) for row in rows]
    counts = {text: seen.count(text) for text in set(seen)}
    assert set(counts) == {text.lower() for own in TEXTS[:2] for text in own}
    assert min(counts[text.lower()] for text in TEXTS[0]) > 70  # of 300, in three texts
    assert min(counts[text.lower()] for text in TEXTS[1]) > 110  # in two


def test_a_single_text_is_chosen_whatever_is_drawn(processor):
    texts = ClassTexts([[name] for name in CLASS_NAMES], processor.tokenizer, torch.device("cpu"))
    assert texts.choose(torch.tensor([2, 5]), torch.tensor([0.0, 0.9])).tolist() == [2, 5]


def test_draws_differ_between_seeds_steps_batches_and_processes(monkeypatch):
    draws = TextDraws(seed=0)
    first, second = (draws.draw(5, step=3).tolist() for _ in range(2))  # two batches of one step
    drawn = [first, second, draws.draw(5, step=4).tolist(), TextDraws(seed=1).draw(5, step=3).tolist()]
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)
    drawn.append(TextDraws(seed=0).draw(5, step=3).tolist())
    numbers = [number for batch in drawn for number in batch]
    assert len(set(numbers)) == len(numbers) == 25
    assert all(0 <= number < 1 for number in numbers)


def test_draws_of_two_processes_are_those_of_one(monkeypatch):
    whole = TextDraws(seed=7).draw(6, step=2).tolist()
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    for rank in (0, 1):
        monkeypatch.setattr(torch.distributed, "get_rank", lambda rank=rank: rank)
        assert TextDraws(seed=7).draw(3, step=2).tolist() == whole[3 * rank : 3 * rank + 3]


@pytest.mark.parametrize("class_texts", ["sample", "mean"])
def test_frozen_text_tower_gives_the_loss_of_a_tower_that_is_run(make_trainer, model_of_texts, class_texts):
    losses = []
    for frozen in (False, True):
        trainer = make_trainer(model_of_texts, class_texts=class_texts, freeze_text_model=frozen)
        model_of_texts.eval()
        torch.manual_seed(3)
        losses.append(trainer.compute_loss(model_of_texts, batch_of(make_rows(8))).item())
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


def test_class_texts_needs_several_texts(make_trainer):
    with pytest.raises(ValueError, match="class_texts is 'mean', but each class has one text: give descriptions_file"):
        make_trainer(class_texts="mean")


def test_unknown_class_texts_is_refused():
    with pytest.raises(ValueError, match="class_texts 'all' is not one of sample, mean"):
        parse_recipe(["demo", "--class_texts", "all"])


def test_templates_and_descriptions_are_the_texts_of_a_class():
    fields = describe_classes(["head up", "arms"], ["{}", "a person, {}"], [["chin raised"], ["arms", "held arms"]])
    assert fields["label_texts"] == [
        ["head up", "a person, head up", "chin raised"],
        ["arms", "a person, arms", "held arms"],
    ]
    assert fields["prompt_template"] == "{}"
    assert describe_classes(["head up"], ["{}"])["label_texts"] is None


def test_descriptions_of_an_earlier_model_are_not_those_of_new_classes(tmp_path):
    save_model(
        tmp_path, TINY_RESNET, tokenizer=build_tokenizer(CLASS_NAMES), label_texts=TEXTS, prompt_template="a {}"
    )
    model, _ = take_over(str(tmp_path), ["one", "two"])
    assert model.config.class_texts == [["a one"], ["a two"]]
    model, _ = take_over(str(tmp_path), list(CLASS_NAMES))
    assert model.config.class_texts == TEXTS
    model, _ = take_over(str(tmp_path), ["one", "two"], descriptions=[["first"], ["second"]])
    assert model.config.class_texts == [["a one", "first"], ["a two", "second"]]


def test_names_by_several_templates_are_averaged(tmp_path):
    tokenizer = build_tokenizer(["covering the face", "a person is folding arms"])
    model = save_model(tmp_path, TINY_RESNET, tokenizer=tokenizer).eval()
    names, templates = ["covering", "folding arms"], ["{}", "a person is {}"]
    found = embed_names(model, str(tmp_path), names, templates)
    for embed, name in zip(found, names, strict=True):
        prompts = [template.replace("{}", name) for template in templates]
        expected = F.normalize(encode(model, tokenizer, prompts).mean(dim=0), dim=-1)
        torch.testing.assert_close(embed, expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_every_entry_point_averages_the_prompts_of_the_training(tmp_path, images_dir):
    tokenizer = build_tokenizer(["waving or nodding", "a person is", *CLASS_NAMES])
    templates, names = ["{}", "a person is {}"], ["waving", "nodding"]
    classes = describe_classes(CLASS_NAMES, templates)
    save_model(tmp_path, TINY_RESNET, tokenizer=tokenizer, logit_scale_init_value=4.6, **classes)
    model, image_processor = open_model(str(tmp_path))
    path = images_dir / "Folding arms" / "0001.1.png"
    image = Image.open(path).convert("RGB")
    embeds = [encode(model, tokenizer, [one.replace("{}", name) for one in templates]).mean(dim=0) for name in names]
    pixel_values = image_processor(image, return_tensors="pt").pixel_values
    image_embeds = F.normalize(model.get_image_features(pixel_values).pooler_output, dim=-1)  # (1, 12)
    logits = model.compare(image_embeds, F.normalize(torch.stack(embeds), dim=-1))  # (1, 2)
    expected = pytest.approx(dict(zip(names, logits.softmax(dim=-1)[0].tolist(), strict=True)), abs=1e-4)
    (prediction,) = predict(str(tmp_path), path, candidate_labels=names)
    assert dict(zip(prediction.labels, prediction.scores, strict=True)) == expected
    asked = {"inputs": image, "parameters": {"candidate_labels": names}}
    assert {row["label"]: row["score"] for row in EndpointHandler(str(tmp_path))(asked)} == expected
    with torch.enable_grad():
        assert GestureModel(str(tmp_path)).predict(image, names).scores == expected
    assert take_over(str(tmp_path), names)[0].config.class_texts == [[name, f"a person is {name}"] for name in names]


def test_zero_shot_evaluation_averages_the_prompts_of_the_training(tmp_path, images_dir):
    tokenizer = build_tokenizer(["a person is", *CLASS_NAMES])
    templates = ["{}", "a person is {}"]
    model = save_model(tmp_path, TINY_RESNET, tokenizer=tokenizer, **describe_classes(CLASS_NAMES, templates))
    found = evaluate(str(tmp_path), str(images_dir), zero_shot=True)
    names = load_image_folder(images_dir)["train"].features["label"].names
    expected = embed_names(model, str(tmp_path), names, templates)
    assert found.results["conditions"]["prompt_template"] == templates
    torch.testing.assert_close(torch.tensor(found.predictions.text_embeds), expected, rtol=1e-4, atol=1e-5)


def test_run_with_descriptions_saves_them_and_the_card_says_so(tmp_path):
    names = list(load_demo_dataset().features["label"].names)
    path = tmp_path / "texts.json"
    path.write_text(json.dumps({name: [f"someone {name}", f"a drawing of {name}"] for name in names}))
    settings = {"num_train_epochs": 1, "image_size": 32}
    folder = train("demo", descriptions_file=path, class_texts="mean", output_dir=tmp_path / "run", **settings)
    texts = json.loads((folder / "config.json").read_text())["label_texts"]
    assert texts[0] == [names[0], f"someone {names[0]}", f"a drawing of {names[0]}"]
    card = (folder / "README.md").read_text()
    assert "Texts: 3 a class" in card
    assert "averages their embeddings" in card

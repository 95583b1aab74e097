"""Names of strangers are shown as they are: in the report, the card, the terminal and tables none of them acts."""

import csv
import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import pandas as pd
import pytest
import yaml
from conftest import CLASS_NAMES, TINY_DISTILBERT, TINY_RESNET
from hostile_names import CONTROLS, FORMULAS, LINKS, NAMES, TAGS, YAML
from huggingface_hub import ModelCard
from made_predictions import make_predictions, make_results
from made_runs import write_run
from markdown_it import MarkdownIt
from PIL import Image
from saved_models import save_model

from mg_vtc import MgVtcConfig, MgVtcTrainingArguments
from mg_vtc.evaluation.report.page import write_report
from mg_vtc.exporters.classifier import adapt_card
from mg_vtc.hub.model_card import as_code, escape_markdown, write_model_card
from mg_vtc.inference.console import format_prediction
from mg_vtc.inference.prediction_files import write_predictions_file
from mg_vtc.inference.predictor import Prediction
from mg_vtc.messages import escape, escape_controls
from mg_vtc.runs.provenance import write_provenance
from mg_vtc.training.next_steps import describe_next

REVERSING = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

PLAIN = ("h1", "h2", "p", "ul", "ol", "li", "strong", "em", "code", "pre", "a", "details", "summary", "img")
PLAIN += ("table", "thead", "tbody", "tr", "th", "td")


def flat(text):
    return " ".join(text.split())


class Page(HTMLParser):
    """Tags with their attributes, and the texts of the elements of one name."""

    def __init__(self, source, element):
        super().__init__()
        self.tags, self.texts, self.element, self.open = [], [], element, 0
        self.feed(source)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag == self.element:
            self.texts.append("")
            self.open += 1

    def handle_endtag(self, tag):
        self.open -= tag == self.element

    def handle_data(self, data):
        if self.open:
            self.texts[-1] += data


# Report


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A report in which each name is a class, a file, the model, the data and the prompt."""
    folder = tmp_path_factory.mktemp("report")
    predictions = make_predictions(6 * len(NAMES), NAMES, noise=2.0)
    names = [f"{name}/{row}.jpg" for row, name in enumerate(NAMES * 6)]
    predictions = predictions._replace(file_names=names)
    every = " ".join(NAMES)
    results = make_results(predictions, prompt_template=every, split=every) | {"model": every, "data": every}
    results["baselines"][every] = {"top1_accuracy": 0.5}
    return write_report(folder, predictions, results, read_image=lambda _: Image.new("RGB", (8, 8)), training=None)


def test_names_make_no_element_of_the_report(report):
    page = Page(report.read_text(encoding="utf-8"), "script")
    kinds = {tag for tag, _ in page.tags}
    assert not kinds & {"script", "iframe", "object", "embed", "form", "link", "base"}
    for _, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")]
        assert not any((attributes.get(name) or "#").startswith("java") for name in ("href", "src"))
    assert all(attributes["src"].startswith("data:image/jpeg") for tag, attributes in page.tags if tag == "img")


def test_names_are_whole_in_the_report_but_control_nothing(report):
    source = report.read_text(encoding="utf-8")
    page = Page(source, "th")
    assert set(map(flat, map(escape_controls, NAMES))) <= set(map(flat, page.texts))
    assert not REVERSING.search(source)


@pytest.mark.slow
def test_browser_runs_no_script_of_a_name_in_the_report(report, browser):
    browser.get(report.as_uri())
    assert browser.execute_script("return [typeof window.__owned, document.scripts.length]") == ["undefined", 0]
    assert browser.execute_script("return document.querySelectorAll('svg text').length") > len(NAMES)
    assert browser.execute_script("return document.querySelectorAll('img:not([src^=data])').length") == 0
    shown = [element.get_attribute("textContent") for element in browser.find_elements("css selector", "tbody th")]
    assert set(map(flat, map(escape_controls, NAMES))) <= set(map(flat, shown))


# Card


@pytest.fixture(scope="module")
def card(tmp_path_factory, processor):
    """The card of a run whose classes, prompt, towers, data set and settings are all names of strangers."""
    folder = tmp_path_factory.mktemp("card")
    every = flat(" ".join(name for name in NAMES if not {"{", "}"} & set(name)))
    config = MgVtcConfig(
        vision_config=TINY_RESNET,
        text_config=TINY_DISTILBERT | {"vocab_size": len(processor.tokenizer)},
        projection_dim=12,
        id2label=dict(enumerate(NAMES)),
        prompt_template=f"{every} {{}}",
    )
    config.save_pretrained(folder)
    recipe = {"dataset_name": every, "dataset_config_name": every, "vision_model_name_or_path": every}
    write_run(folder, NAMES, recipe=recipe | {f"prompt{number}": name for number, name in enumerate(NAMES)})
    arguments = MgVtcTrainingArguments(output_dir=str(folder / "run"), use_cpu=True, report_to="none")
    write_provenance(folder, arguments, project=folder, seconds=None)
    write_model_card(folder)
    return ModelCard.load(folder / "README.md"), recipe, every


def render(markdown, element):
    page = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(markdown)
    return Page(page, element)


def test_metadata_of_the_card_are_read_again_as_they_were(card):
    card, _, every = card
    _, _, matter = card.content.split("\n---\n", 1)[0].partition("---\n")
    metadata = yaml.safe_load(matter)
    assert metadata == card.data.to_dict()
    assert metadata["datasets"] == [every]
    assert metadata["base_model"] == [every]
    index = metadata["model-index"][0]["results"]
    assert {(one["dataset"]["name"], one["dataset"]["config"]) for one in index} == {(every, every)}


def test_classes_in_the_card_are_the_names_and_nothing_else(card):
    page = render(card[0].text, "li")
    names = [flat(escape_controls(name)) for name in NAMES]
    assert page.texts[-len(names) :] == names
    assert not {tag for tag, _ in page.tags} - set(PLAIN)
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    assert all(link.startswith(("#", "https://huggingface.co/datasets/", "figures/")) for link in links), links
    assert not REVERSING.search(card[0].text)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("around", "element", "others"),
    [
        ("7. {}\n8. more", "li", {"ol"}),
        ("| a |\n|---|\n| {} |", "td", {"table", "thead", "tbody", "tr", "th"}),
        ("{}", "p", set()),
        ("- {}", "li", {"ul"}),
    ],
)
def test_one_name_is_one_text_in_markdown(name, around, element, others):
    page = render(around.format(escape_markdown(name)), element)
    assert page.texts[0] == flat(escape_controls(name))
    assert {tag for tag, _ in page.tags} == {element} | others


@pytest.mark.parametrize("name", NAMES)
def test_one_name_is_one_span_of_code(name):
    page = render(f"before {as_code(name)} after", "code")
    assert page.texts == [flat(escape_controls(name))]
    assert [tag for tag, _ in page.tags] == ["p", "code"]


def test_recipe_in_the_card_is_read_again_as_it_was(card):
    card, recipe, _ = card
    (block,) = re.findall(r"^```yaml\n(.*?)^```$", card.text, flags=re.DOTALL | re.MULTILINE)
    assert "```" not in block
    shown = yaml.safe_load(block)
    assert {name: shown[name] for name in recipe} == recipe
    assert [shown[f"prompt{number}"] for number in range(len(NAMES))] == list(NAMES)


def test_code_in_the_card_is_python_with_the_names(card):
    card = card[0]
    for code in re.findall(r"^```python\n(.*?)^```$", card.text, flags=re.DOTALL | re.MULTILINE):
        compile(code, "card", "exec")
        for line in re.findall(r"^names = (.*)$", code, flags=re.MULTILINE):
            assert json.loads(line) == list(NAMES[:3])
    assert "\n## Classes\n" in adapt_card(card, "org/name").text


# Terminal


@pytest.mark.parametrize("name", CONTROLS)
def test_terminal_is_not_controlled_by_a_name(name):
    prediction = Prediction(f"{name}.jpg", name, None, None, 1, [name, name], [0.75, 0.25], None)
    line = format_prediction(prediction, 200)
    assert line.isprintable()
    assert line.count(escape(name)) == 3


def test_summary_of_an_evaluation_does_not_control_the_terminal(
    mg_vtc_command, processor, images_dir, tmp_path, capsys
):
    folder = tmp_path / CONTROLS[0]
    save_model(folder, TINY_RESNET, tokenizer=processor.tokenizer, id2label=dict(enumerate(CLASS_NAMES[:4])))
    mg_vtc_command("evaluate", folder, images_dir)
    printed = capsys.readouterr().out
    assert escape(CONTROLS[0]) in printed
    assert all(line.isprintable() for line in printed.splitlines())


@pytest.mark.parametrize("name", [*CONTROLS[:-1], "a'$(touch owned)`touch owned`\"; touch owned #", "ü \U0001f44b"])
def test_next_commands_run_nothing_of_a_file_name(tmp_path, name):
    """The words of a user who pastes the last lines of a run; the command is a script that prints its arguments."""
    data, run = tmp_path / "data", tmp_path / "run"
    for folder in (data, run):
        folder.mkdir()
    image = data / f"{name}.jpg"
    image.touch()
    (run / "recipe.yaml").write_text(f"train_dir: {data}\n")
    (run / "split.json").write_text(json.dumps({"split_by": "none", "train": [image.name]}))
    lines = describe_next(run)
    assert all(line.isprintable() for line in lines)
    command = "\n".join(lines[lines.index("or in Python:") + 1 :])
    asked = "import sys; print(sys.argv[1:])"
    seen = subprocess.run(
        ["bash", "-c", f"python() {{ {sys.executable} -c '{asked}' \"$@\"; }}; python {command.split(maxsplit=1)[1]}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert not (tmp_path / "owned").exists()
    code = eval(seen.stdout)[-1]
    called = re.search(r"print\(pipeline\(.*\)\((\".*\")\)\)$", code)[1]
    assert eval(called) == str(image)


# Tables


def predict_names(names):
    return [Prediction(f"{name}.jpg", name, None, None, 1, [name, "b"], [0.75, 0.25], None) for name in names]


def test_names_in_a_csv_are_read_again_as_they_were(tmp_path):
    """By the module csv and by pandas; on the way out nothing is changed, as a changed name would name no file."""
    predictions = predict_names(NAMES)
    with pytest.warns(UserWarning, match="which a spreadsheet would take for a formula"):
        write_predictions_file(tmp_path / "a.csv", iter(predictions), top_k=2, voted=False)
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["label_1"] for row in rows] == list(NAMES)
    assert [row["file"] for row in rows] == [f"{name}.jpg" for name in NAMES]
    table = pd.read_csv(tmp_path / "a.csv", keep_default_na=False)
    assert list(table["label_1"]) == list(NAMES)
    assert b"\r\n" not in (tmp_path / "a.csv").read_bytes()


@pytest.mark.parametrize("name", FORMULAS)
def test_formulas_in_a_csv_are_named(tmp_path, name):
    with pytest.warns(UserWarning, match=re.escape(f"The CSV holds {name!r}")):
        write_predictions_file(tmp_path / "a.csv", iter(predict_names(["x", name])[::-1]), top_k=1, voted=True)


@pytest.mark.parametrize("suffix", ["jsonl", "parquet", "csv"])
def test_other_names_and_formats_are_written_without_a_warning(tmp_path, suffix):
    names = TAGS + LINKS + (YAML if suffix == "csv" else NAMES)
    names = [name for name in names if suffix != "csv" or name[0] not in "=+-@\t\r"]
    write_predictions_file(tmp_path / f"a.{suffix}", iter(predict_names(names)), top_k=2, voted=False)

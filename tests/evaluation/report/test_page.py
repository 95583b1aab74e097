"""Claims about the report: its numbers are the results', its file holds all that it shows, and a browser shows it."""

import base64
import html
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from made_predictions import make_predictions, make_results
from PIL import Image

from mg_vtc.data.class_lists import IMIGUE_CLASS_NAMES
from mg_vtc.evaluation.class_groups import score_class_groups
from mg_vtc.evaluation.report.page import embed_image, write_report
from mg_vtc.evaluation.subsets import score_subsets
from mg_vtc.runs.first_batch import write_first_batch
from mg_vtc.runs.records import Training

SECTIONS = [
    "scores",
    "conditions",
    "classes",
    "confusion",
    "misclassifications",
    "calibration",
    "map",
    "training",
    "use",
]
TRAINING = Training(
    [
        log
        for epoch in range(1, 6)
        for log in (
            {"epoch": float(epoch), "step": epoch, "loss": 1 / epoch, "saturated_fraction": 0.1, "learning_rate": 0.1},
            {"epoch": float(epoch), "step": epoch, "eval_loss": 2 / epoch, "eval_top1_accuracy": 0.5},
        )
    ],
    best_step=4,
    majority=0.2,
)


class Page(HTMLParser):
    """Ids, attributes that refer to something, rows of tables and the text of an HTML page."""

    def __init__(self, source):
        super().__init__()
        self.ids, self.references, self.rows, self.texts, self.tags = [], [], [], [], []
        self.in_cell = False
        self.feed(source)
        self.text = " ".join(" ".join(self.texts).split())

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.ids += [value for name, value in attributes if name == "id"]
        self.references += [value for name, value in attributes if name in ("src", "href", "srcset", "data")]
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self.in_cell = True

    def handle_endtag(self, tag):
        self.in_cell = self.in_cell and tag not in ("td", "th")

    def handle_data(self, data):
        self.texts.append(data)
        if self.in_cell:
            self.rows[-1][-1] += data.strip()


def read_image(row):
    """Wide images of even rows, high ones of odd rows; the colour is a function of the row."""
    return Image.new("RGB", (640, 320) if row % 2 == 0 else (30, 60), (row % 256, 90, 200))


@pytest.fixture
def write(tmp_path):
    """Writes a report, and gives its source and its page."""

    def write(predictions, **conditions):
        results = make_results(predictions, **conditions)
        path = write_report(tmp_path, predictions, results, read_image=read_image, training=None)
        assert path == tmp_path / "report.html"
        assert list(tmp_path.iterdir()) == [path]
        source = path.read_text(encoding="utf-8")
        return source, Page(source)

    return write


@pytest.fixture(scope="module")
def predictions():
    """Of 32 long names; two classes have no image here."""
    return make_predictions(170, IMIGUE_CLASS_NAMES, num_absent=2)


@pytest.fixture(scope="module")
def report(predictions, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    results = make_results(predictions, split_by="frame", frame_level_split=True)
    results["baselines"]["runs/other"] = {"top1_accuracy": 0.4321, "macro_f1": 0.1234}
    return write_report(folder, predictions, results, read_image=read_image, training=TRAINING)


@pytest.fixture(scope="module")
def source(report):
    return report.read_text(encoding="utf-8")


def test_scores_stand_beside_baselines_as_the_results_have_them(source):
    rows = Page(source).rows
    assert ["runs/mine", "90.0", "78.9", "67.8", "56.7", "45.6"] in rows
    assert ["most frequent class", "6.9", "–", "–", "–", "–"] in rows
    assert ["five most frequent classes", "–", "23.1", "–", "–", "–"] in rows
    assert ["runs/other", "43.2", "–", "–", "12.3", "–"] in rows


def test_intervals_stand_at_the_scores(source):
    text = Page(source).text
    for k, name in enumerate(["top-1", "top-5", "mean class accuracy", "macro-F1", "calibration error"]):
        value, low, high = (f"{100 * (score - 0.111 * k):.1f}" for score in (0.9, 0.8, 0.95))
        assert f"{name} {value} % {low} to {high}" in text
    assert "95 % interval by the bootstrap ( 2,000 resamples of clips)" in text.replace("(2,000", "( 2,000")


def test_no_style_is_defined_twice(source):
    sheet = source[source.index("<style>") : source.index("@media screen and (max-width")]
    selectors = re.findall(r"^([.\w][^{}@]*?) \{", sheet, re.MULTILINE)
    assert len(selectors) > 30
    assert sorted(selectors) == sorted(set(selectors))


def test_groups_of_classes_stand_with_those_of_clips(predictions, tmp_path):
    groups = [("head", "hand")[number % 2] for number in range(32)]
    results = make_results(predictions)
    for holder, clips in ((results, None), (results.setdefault("clips", {}), predictions.clips)):
        scored = score_class_groups(predictions.logits, predictions.labels, groups, clips)
        holder["class_groups"] = scored
    results["clips"] |= {"vote": "mean", "num_clips": 9, "scores": {}}
    page = Page(write_report(tmp_path, predictions, results, read_image=read_image, training=None).read_text())
    shown = [
        f"{100 * score['value']:.1f} ({100 * score['low']:.1f} to {100 * score['high']:.1f})"
        for score in (holder["class_groups"]["scores"]["f1_mean"] for holder in (results, results["clips"]))
    ]
    assert ["F1_mean", *shown] in page.rows
    head = results["class_groups"]["groups"][0]
    assert ["head", "16", *(f"{100 * head[key]:.1f}" for key in ("recall", "f1")), str(head["support"])] in page.rows


def test_subsets_stand_lowest_first(predictions, tmp_path):
    values = [f"<{number % 3}>" for number in range(len(predictions.labels))]
    results = make_results(predictions) | {"subsets": score_subsets(predictions, "subject", values)}
    page = Page(write_report(tmp_path, predictions, results, read_image=read_image, training=None).read_text())
    rows = [row for row in page.rows if row and row[0] in set(values)]
    assert len(rows) == 3
    assert [float(row[1].split()[0]) for row in rows] == sorted(float(row[1].split()[0]) for row in rows)
    assert "Scores by subject" in page.text


def test_classes_stand_in_a_table(predictions, source):
    rows = Page(source).rows
    for number, row in enumerate(make_results(predictions)["classes"], start=1):
        scores = ["–" if row[key] is None else f"{100 * row[key]:.1f}" for key in ("recall", "precision", "f1")]
        assert [str(number), row["name"], *scores, str(row["support"])] in rows


@pytest.mark.parametrize("split_by", ["frame", "clip", "subject", "given", None])
def test_report_warns_of_a_frame_level_split_exactly_where_frames_were_split(write, split_by):
    predictions = make_predictions(12, ["Folding arms", "Head up"])
    _, page = write(predictions, split_by=split_by, frame_level_split=split_by == "frame")
    assert ("frame-level" in page.ids) == (split_by == "frame")
    assert ("frame-level split" in page.text.lower()) == (split_by == "frame")


@pytest.mark.parametrize(
    ("leakage", "told"),
    [
        ({"same_clip": 0, "same_bytes": 0, "near_duplicate": 3}, "3 near duplicates"),
        ({"same_clip": 0, "same_bytes": 0, "near_duplicate": 0}, "0 images of a clip that is also in training"),
        ({"same_bytes": 2, "near_duplicate": 3}, "Clips are unknown, 2 with the same bytes"),
        ({}, "Not checked"),
        (None, "Not checked"),
    ],
)
def test_leakage_is_reported(write, leakage, told):
    _, page = write(make_predictions(12, ["Folding arms", "Head up"]), leakage=leakage)
    assert told in page.text
    assert ("leakage" in page.ids) == bool(leakage and leakage["near_duplicate"])


def test_training_images_are_called_so(write):
    _, page = write(make_predictions(12, ["Folding arms", "Head up"]), split_by=None, num_training_rows=8)
    assert "trained-on" in page.ids
    assert "the model was trained on 8 of these images" in page.text
    assert "were held out; each is on one side only" not in page.text


def test_model_that_loses_to_a_baseline_is_called_so(tmp_path):
    predictions = make_predictions(12, ["Folding arms", "Head up"])
    for majority, expected in ((0.89, False), (0.9, True), (0.95, True)):
        results = make_results(predictions)
        results["baselines"]["majority_class"]["top1_accuracy"] = majority
        path = write_report(tmp_path, predictions, results, read_image=read_image, training=None)
        assert ("No better than the majority-class baseline" in path.read_text()) == expected


def test_conditions_are_reported_in_words(write):
    predictions = make_predictions(12, ["Folding arms", "Head up", "Rubbing eyes"], num_absent=1)
    _, page = write(predictions, chosen_on_these=True)
    for words in (
        "12 images of 6 clips, 3 classes, 2 of them with images here",
        "Whole clips were held out",
        "Seed 0",
        "“a person who is {}”",
        "Chosen by top-1 on these images",
        "so the scores are somewhat too high",
        "mg_vtc 1.2.3, torch 4.5.6",
    ):
        assert words in page.text, words


def test_names_of_users_are_escaped(write):
    names = ["<script>alert(1)</script>", 'arms " & <b>crossed</b> {{ 7 * 7 }}']
    predictions = make_predictions(40, names, noise=2.0)
    predictions = predictions._replace(file_names=[f'<img src="x">{row}' for row in range(40)])
    source, page = write(predictions)
    assert not {"script", "b"} & {tag for tag, _ in page.tags}
    assert all(attributes["src"].startswith("data:") for tag, attributes in page.tags if tag == "img")
    for name in names:
        assert source.count(html.escape(name, quote=False).replace('"', "&#34;")) >= 2
        assert name in page.text


def test_file_refers_to_nothing_outside_of_itself(source):
    page = Page(source)
    assert page.references
    for reference in page.references:
        assert reference.startswith("data:image/jpeg;base64,") or reference.removeprefix("#") in page.ids
    assert len(page.ids) == len(set(page.ids))
    assert not re.search(r"https?:|//|@import|@font-face", re.sub(r'src="data:[^"]*"', "", source))
    assert {target.removeprefix("#") for target in re.findall(r"url\(([^)]*)\)", source)} <= set(page.ids)


def test_misclassifications_shown_are_the_most_confident_ones_in_order(predictions, source):
    probabilities = np.exp(predictions.logits.astype(float))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    answered = probabilities.argmax(axis=1)
    wrong = [row for row in np.argsort(-probabilities.max(axis=1)) if answered[row] != predictions.labels[row]]
    seen, expected = set(), []
    for row in wrong:
        mistake = (predictions.clips[row], predictions.labels[row], answered[row])
        if mistake not in seen:
            expected.append(row)
        seen.add(mistake)
    images = [attributes for tag, attributes in Page(source).tags if tag == "img"]
    assert len(expected) > len(images) == 12
    assert [image["alt"] for image in images] == [
        f"Image {predictions.file_names[row]}: label {predictions.class_names[predictions.labels[row]]}, "
        f"prediction {predictions.class_names[answered[row]]}"
        for row in expected[:12]
    ]
    first = expected[0]
    assert f"{100 * probabilities[first, answered[first]]:.1f}\xa0%" in source.replace("&nbsp;", "\xa0")
    assert f"{100 * probabilities[first, predictions.labels[first]]:.1f}\xa0%" in source.replace("&nbsp;", "\xa0")


def test_first_batch_stands_in_the_report_with_its_classes(tmp_path):
    images = np.zeros((2, 16, 16, 3), dtype=np.uint8)
    write_first_batch(
        tmp_path / "batch.jpg", images, [[("Head <b>", 0.7), ("手を振る", 0.3)], [("Folding arms", 1.0)]]
    )
    predictions = make_predictions(30, ["Folding arms", "Head up"], noise=0.01)
    training = TRAINING._replace(first_batch=tmp_path / "batch.jpg")
    path = write_report(tmp_path, predictions, make_results(predictions), read_image=read_image, training=training)
    page = Page(path.read_text(encoding="utf-8"))
    assert "Head <b> 70 %, 手を振る 30 % Folding arms" in page.text
    assert [attributes["alt"] for tag, attributes in page.tags if tag == "img"] == [
        "Training image 1",
        "Training image 2",
    ]
    assert "This report embeds images from your training" in page.text


def test_damaged_first_batch_costs_no_report(tmp_path):
    (tmp_path / "batch.jpg").write_bytes(b"not a JPEG")
    predictions = make_predictions(30, ["Folding arms", "Head up"], noise=0.01)
    training = TRAINING._replace(first_batch=tmp_path / "batch.jpg")
    with pytest.warns(UserWarning, match=r"batch\.jpg is damaged, so the report has no first batch"):
        path = write_report(tmp_path, predictions, make_results(predictions), read_image=read_image, training=training)
    assert "First batch" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(("size", "expected"), [((640, 320), (240, 120)), ((30, 60), (30, 60)), ((5, 900), (1, 240))])
def test_images_keep_their_aspect_ratio_and_are_not_enlarged(size, expected):
    uri = embed_image(Image.new("RGB", size))
    with Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))) as image:
        assert image.size == expected


def test_report_without_misclassifications_holds_no_image_and_says_so(write):
    source, page = write(make_predictions(30, ["Folding arms", "Head up"], noise=0.01))
    assert "None: all images were classified correctly" in page.text
    assert "This report embeds no images of the data" in page.text
    assert "<img" not in source


def test_collapsed_model_has_no_right_prediction_anywhere_in_its_report(write):
    predictions = make_predictions(30, ["Folding arms", "Head up"])
    source, page = write(predictions._replace(logits=np.ones((30, 2), dtype=np.float32)))
    assert "30 images of 30 were misclassified" in page.text
    assert "30 of them have no prediction, because the highest scores are tied" in page.text
    assert "all images were classified correctly" not in page.text
    assert "<img" not in source


@pytest.mark.parametrize("num_classes", [1, 2, 5])
def test_report_of_one_image(write, num_classes):
    _, page = write(make_predictions(1, IMIGUE_CLASS_NAMES[:num_classes]))
    assert "1 image of images of mine" in page.text
    assert set(SECTIONS) - set(page.ids) == {"training"}


def test_what_is_left_out_of_the_matrix_and_the_map_is_reported(write, monkeypatch):
    monkeypatch.setattr("mg_vtc.evaluation.report.figures.MOST_CLASSES_DRAWN", 5)
    monkeypatch.setattr("mg_vtc.evaluation.report.embedding_map.MAX_MAPPED", 20)
    _, page = write(make_predictions(2000, IMIGUE_CLASS_NAMES[:9]))
    assert "Of 9 classes these are the 5 with the most misclassifications" in page.text
    assert "20 of 2,000 images are shown" in page.text


CHROMIUM = shutil.which("chromium")
PROBE = """<script>
const apart = (a, b) => a.right < b.left + 2 || b.right < a.left + 2 || a.bottom < b.top + 3 || b.bottom < a.top + 3;
const see = () => {
    const hidden = [];
    for (const svg of document.querySelectorAll("svg")) {
        const texts = [...svg.querySelectorAll("text")].map(one => [one.textContent, one.getBoundingClientRect()]);
        texts.forEach(([one, a], k) => texts.slice(k + 1).forEach(
            ([other, b]) => { if (!apart(a, b)) hidden.push([one, other]); }));
    }
    return {
        hidden,
        width: innerWidth,
        needed: document.documentElement.scrollWidth,
        ids: [...document.querySelectorAll("section")].filter(one => one.offsetHeight > 0).map(one => one.id),
        images: [...document.images].map(one => one.naturalWidth * one.clientWidth),
        svgs: [...document.querySelectorAll("svg")].map(one => one.getBoundingClientRect().height),
        background: getComputedStyle(document.body).backgroundColor,
        line: getComputedStyle(document.querySelector("#training svg text")).fill,
    };
};
addEventListener("load", () => parent.document.body.setAttribute("data-seen", JSON.stringify(see())));
</script></body>"""


def look(report, folder, *, width, dark):
    """What Chromium makes of a copy of the report in a frame of this width, told by a script added to the copy."""
    copy = report.read_text(encoding="utf-8").replace("</body>", PROBE)
    around = folder / "around.html"  # a window cannot be as narrow as a telephone
    around.write_text(
        f'<meta charset="utf-8"><body><iframe width={width} height=800 frameborder=0 srcdoc="{html.escape(copy)}">',
        encoding="utf-8",
    )
    switches = ("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-sync", "dump-dom")
    quiet = ("disable-background-networking", "disable-component-update", "hide-scrollbars")
    settings = {"user-data-dir": folder / "profile", "blink-settings": f"preferredColorScheme={0 if dark else 1}"}
    flags = [f"--{name}" for name in switches + quiet] + [f"--{name}={value}" for name, value in settings.items()]
    done = subprocess.run([CHROMIUM, *flags, around.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    return json.loads(dict(Page(done.stdout).tags)["body"]["data-seen"])


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_browser_shows_the_whole_report_on_a_telephone_and_on_a_desk_in_light_and_dark(report, tmp_path):
    seen = {}
    for width, dark in ((380, False), (1280, True)):
        (tmp_path / str(width)).mkdir()
        page = seen[dark] = look(report, tmp_path / str(width), width=width, dark=dark)
        assert page["width"] == width
        assert page["needed"] <= width
        assert page["ids"] == SECTIONS
        assert len(page["images"]) == 12
        assert min(page["images"]) > 0
        assert len(page["svgs"]) == 3 + 4 + 4  # of classes; matrix, reliability, coverage and map; curves
        assert min(page["svgs"]) > 100
        assert page["hidden"] == []
    assert seen[False]["background"] != seen[True]["background"]
    assert seen[False]["line"] != seen[True]["line"]


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_numbers_of_all_classes_are_on_paper(report, source, tmp_path):
    """On the screen they are folded up. The structure that Chromium writes into a PDF names every row of a table."""
    switches = (
        "headless",
        "no-sandbox",
        "disable-gpu",
        "no-first-run",
        "disable-sync",
        "disable-background-networking",
    )
    paper = tmp_path / "report.pdf"
    flags = [*(f"--{name}" for name in switches), f"--user-data-dir={tmp_path / 'profile'}", f"--print-to-pdf={paper}"]
    subprocess.run([CHROMIUM, *flags, report.as_uri()], capture_output=True, timeout=120, check=True)
    assert len(re.findall(rb"/S /TR\b", paper.read_bytes())) == source.count("<tr")

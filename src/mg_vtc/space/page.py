"""The page on Gradio: a picture and names in, the answer out. Nothing is loaded from elsewhere, no picture kept."""

import html
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from ..data.demo import render_frame
from ..data.labels import IMIGUE_CLASS_NAMES
from .answers import GestureModel, open_picture, paint_heat, read_names

EXAMPLES = ("Covering face", "Touching or scratching forehead", "Arms akimbo")
EXAMPLE_CLIP = 9  # of the drawn figures; the demo trains on the first six
KEPT_SECONDS = 600  # how long a picture is kept for further questions about it,
EVERY_SECONDS = 60  # and how often it is looked for older ones
HEIGHT = 300  # of a picture on the page, in pixels
LIMITS = """**A gesture is not an emotion.** The model names visible movements, and always chooses one of its names:
nothing about what a person feels, means or hides follows. Ask people before you use their pictures, which are not
stored: temporary files are deleted within a quarter of an hour. Where the law prohibits or restricts the inference of
emotions, as at work and in education in the EU (AI Act, Article 5), do not use it for that."""
CSS = """
.gradio-container { max-width: 1120px !important; margin: 0 auto !important; }
#limits p { font-size: 0.9rem; line-height: 1.45; }
#answer, #message { scroll-margin: 12px; }
#message { border-left: 4px solid #e11d48; padding: 2px 12px; }
@media (max-width: 700px) {  /* one column: the names of one's own below the answer */
  #columns { flex-direction: column; flex-wrap: nowrap; }
  #given, #found { display: contents; }
  #given > *, #found > * { width: 100%; }
  #own { order: 1; }
  #heat, #about { order: 2; }
}
"""
# On a phone the prediction is below the fold: scroll as far as it takes, once it has its height.
SHOW_PREDICTION = """(scores) => requestAnimationFrame(() => requestAnimationFrame(() => {
  const part = document.getElementById(scores ? "answer" : "message");
  if (part) part.scrollIntoView({ block: "nearest", behavior: "smooth" });
}))"""
LAUNCH: dict[str, Any] = {
    "theme": gr.themes.Soft(primary_hue="indigo", font=["system-ui", "sans-serif"], font_mono=["monospace"]),
    "css": CSS,
    "footer_links": [],
    "max_file_size": "20mb",
    "run_history": False,  # which would keep pictures in the browser
    "enable_monitoring": False,
    "share": False,
    "ssr_mode": False,
    "pwa": False,
    "quiet": True,
}  # of `Blocks.launch`, wherever the page is shown


def build_page(model_id: str) -> gr.Blocks:
    """Make the page of a model.

    Args:
        model_id: Folder or Hub id of a model of this package.

    Raises:
        OSError: There is no such model within reach.
        ValueError: It is a model of another kind.
    """
    model = GestureModel(model_id)
    # a path of this machine is nothing for the readers of a page
    name = Path(model_id).resolve().name if Path(model_id).is_dir() else model_id
    deletion = (EVERY_SECONDS, KEPT_SECONDS)
    with gr.Blocks(title=f"Micro-gestures: {name}", analytics_enabled=False, delete_cache=deletion) as page:
        gr.Markdown(f"# Which gesture does a picture show?\nAsk the model `{name}`.")
        gr.Markdown(LIMITS, elem_id="limits")
        with gr.Row(elem_id="columns"):
            with gr.Column(elem_id="given"):
                picture = _ask_for_picture()
                with gr.Column(elem_id="own"):
                    names = _ask_for_names(model)
                    ask = gr.Button("Name the gesture", variant="primary", elem_id="ask")
                    with gr.Accordion(f"The {len(model.class_names)} gestures it was trained on", open=False):
                        gr.Markdown("\n".join(f"- {html.escape(name)}" for name in model.class_names))
            with gr.Column(elem_id="found"):
                shown = [
                    gr.HTML(visible=False, elem_id="message"),
                    gr.Label(label="Answer", num_top_classes=5, elem_id="answer"),
                    gr.Image(label="Where it looked", buttons=["fullscreen"], height=HEIGHT, elem_id="heat"),
                    gr.HTML(visible=False, padding=False, elem_id="about"),
                ]
        for event, if_none in ((picture.change, ""), (ask.click, "Drop, take or choose a picture first.")):
            answered = event(
                _answer_with(model, if_none),
                [picture, names],
                shown,
                preprocess=False,  # so that a wrong file is refused by us, in words
                show_progress="minimal",
                api_visibility="private",
            )
            answered.then(None, shown[1], js=SHOW_PREDICTION, api_visibility="private")
    return page


def _ask_for_picture() -> gr.Image:
    """The field of the picture, from a file, the camera or the clipboard, and drawn examples."""
    picture = gr.Image(
        label="Picture",
        placeholder="Drop a picture here, choose a file, or take one with the camera",
        sources=["upload", "webcam", "clipboard"],
        buttons=["fullscreen"],
        height=HEIGHT,
        elem_id="picture",
    )
    classes = [IMIGUE_CLASS_NAMES.index(name) for name in EXAMPLES]
    drawn = [render_frame(label, EXAMPLE_CLIP, 0, image_size=320) for label in classes]
    gr.Examples(drawn, picture, label="Drawn examples", elem_id="examples")
    return picture


def _ask_for_names(model: GestureModel) -> gr.Textbox:
    """The field of names, which is absent where the model reads none."""
    return gr.Textbox(
        label="Your own names of gestures",
        info="Two or more, a line each or parted by commas. "
        f"Empty: the {len(model.class_names)} gestures of the training.",
        placeholder="folding arms, covering face, touching the neck",
        lines=2,
        visible=model.tokenizer is not None,
        elem_id="names",
    )


def _answer_with(model: GestureModel, if_none: str) -> Callable[..., list[Any]]:
    """What happens on the page when it is asked: values of the message, the scores, the map and what is said of it.

    Args:
        model: Which is asked.
        if_none: Message where there is no picture.
    """

    def answer(file: Any, names: str | None) -> list[Any]:
        if file is None:
            return _refuse(if_none)
        try:
            picture = open_picture(_find_shown(file))
            scores, heat = model.answer(picture, read_names(names or ""))
        except ValueError as error:
            return _refuse(str(error))
        best = max(scores, key=scores.__getitem__)
        if heat is None:
            about = "This model keeps no positions up to its answer, so there is no map."
        elif not heat.any():
            about = f"No part of the picture spoke for “{best}” more than against it."
        else:
            fields = " × ".join(map(str, reversed(heat.shape)))
            about = f"The redder, the more that part spoke for “{best}”. The map is rough: {fields} fields (Grad-CAM)."
        return [
            gr.HTML(visible=False),
            scores,
            None if heat is None else paint_heat(picture, heat),
            gr.HTML(html.escape(about), visible=True),
        ]

    return answer


def _find_shown(file: Any) -> Path:
    """Path of a picture that was shown to the page.

    Whoever speaks to the server without the page may name any path, so no other file is opened, nor is it told whether
    there is one.

    Raises:
        ValueError: It is none, or there no more.
    """
    named = file.get("path") if isinstance(file, dict) else None
    path = Path(named).resolve() if isinstance(named, str) and "\0" not in named else None
    if path is None or not path.is_relative_to(Path(get_upload_folder()).resolve()) or not path.is_file():
        raise ValueError("The picture has been deleted since it was chosen. Choose it again.")
    return path


def _refuse(message: str) -> list[Any]:
    return [gr.HTML(html.escape(message), visible=bool(message)), None, None, gr.HTML(visible=False)]

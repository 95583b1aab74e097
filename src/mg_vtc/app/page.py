"""Gradio demo page of a model. It loads nothing from other servers and stores no images."""

import html
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from ..data.class_lists import IMIGUE_CLASS_NAMES
from ..data.demo.dataset import render_frame
from ..hub.model_card import as_code
from ..messages import escape_controls
from .gesture_model import GestureModel, crop_to_model, open_image, paint_heat, read_names

EXAMPLES = ("Covering face", "Touching or scratching forehead", "Arms akimbo")
EXAMPLE_CLIP = 9  # not in the demo data, which has the first six
KEPT_SECONDS = 600  # lifetime of an uploaded image
EVERY_SECONDS = 60  # interval of the deletion of older ones
HEIGHT = 300  # pixels, of an image on the page
LIMITS = """**A gesture is not an emotion.** The model names visible movements, and always chooses one of its names:
nothing about what a person feels, means or hides follows. Ask people before you use images of them. Images are not
stored: temporary files are deleted within a quarter of an hour. Where the law prohibits or restricts the inference of
emotions, as at work and in education in the EU (AI Act, Article 5), do not use it for that."""
CSS = """
.gradio-container { max-width: 1120px !important; margin: 0 auto !important; }
#limits p { font-size: 0.9rem; line-height: 1.45; }
#prediction, #message { scroll-margin: 12px; }
#message { border-left: 4px solid #e11d48; padding: 2px 12px; }
@media (max-width: 700px) {  /* one column: the field of names below the prediction */
  #columns { flex-direction: column; flex-wrap: nowrap; }
  #given, #found { display: contents; }
  #given > *, #found > * { width: 100%; }
  #own { order: 1; }
  #heat, #about { order: 2; }
}
"""
# On a phone the prediction is below the fold: scroll to it once its height is known.
SHOW_PREDICTION = """(scores) => requestAnimationFrame(() => requestAnimationFrame(() => {
  const shown = document.getElementById(scores ? "prediction" : "message");
  if (shown) shown.scrollIntoView({ block: "nearest", behavior: "smooth" });
}))"""
LAUNCH: dict[str, Any] = {
    "theme": gr.themes.Soft(primary_hue="indigo", font=["system-ui", "sans-serif"], font_mono=["monospace"]),
    "css": CSS,
    "footer_links": [],
    "max_file_size": "20mb",
    "run_history": False,  # would keep images in the browser
    "enable_monitoring": False,
    "share": False,
    "ssr_mode": False,
    "pwa": False,
    "quiet": True,
}  # arguments of `Blocks.launch`


def build_page(model_id: str) -> gr.Blocks:
    """Build the page of a model.

    Args:
        model_id: Folder or Hub id of a model of this package.

    Raises:
        OSError: The model is not found.
        ValueError: The model type is not mg_vtc.
    """
    model = GestureModel(model_id)
    # no local path on the page
    name = Path(model_id).resolve().name if Path(model_id).is_dir() else model_id
    deletion = (EVERY_SECONDS, KEPT_SECONDS)
    with gr.Blocks(title=f"Micro-gestures: {name}", analytics_enabled=False, delete_cache=deletion) as page:
        gr.Markdown(f"# Which gesture does the image show?\nModel: {as_code(name)}")
        gr.Markdown(LIMITS, elem_id="limits")
        with gr.Row(elem_id="columns"):
            with gr.Column(elem_id="given"):
                image = _ask_for_image()
                with gr.Column(elem_id="own"):
                    names = _ask_for_names(model)
                    ask = gr.Button("Name the gesture", variant="primary", elem_id="ask")
                    with gr.Accordion(f"The {len(model.class_names)} training classes", open=False):
                        listed = "".join(f"<li>{_escape(name)}</li>" for name in model.class_names)
                        gr.HTML(f"<ul>{listed}</ul>", elem_id="classes")  # not Markdown, which names may hold
            with gr.Column(elem_id="found"):
                shown = [
                    gr.HTML(visible=False, elem_id="message"),
                    gr.Label(label="Prediction", num_top_classes=5, elem_id="prediction"),
                    gr.Image(label="Where the model looked", buttons=["fullscreen"], height=HEIGHT, elem_id="heat"),
                    gr.HTML(visible=False, padding=False, elem_id="about"),
                ]
        for event, if_none in ((image.change, ""), (ask.click, "Upload or take an image first.")):
            predicted = event(
                _predict_with(model, if_none),
                [image, names],
                shown,
                preprocess=False,  # our own messages for wrong files
                show_progress="minimal",
                api_visibility="private",
            )
            predicted.then(None, shown[1], js=SHOW_PREDICTION, api_visibility="private")
    return page


def _ask_for_image() -> gr.Image:
    """Add the image field (file, camera or clipboard) and drawn examples."""
    image = gr.Image(
        label="Image",
        placeholder="Drop an image here, choose a file, or use the camera",
        sources=["upload", "webcam", "clipboard"],
        buttons=["fullscreen"],
        height=HEIGHT,
        elem_id="image",
    )
    classes = [IMIGUE_CLASS_NAMES.index(name) for name in EXAMPLES]
    drawn = [render_frame(label, EXAMPLE_CLIP, 0, image_size=320) for label in classes]
    gr.Examples(drawn, image, label="Drawn examples", elem_id="examples")
    return image


def _ask_for_names(model: GestureModel) -> gr.Textbox:
    """Add the field of names, hidden for vision-only models."""
    return gr.Textbox(
        label="Your own gesture names",
        info="Two or more, one per line or separated by commas. "
        f"If empty: the {len(model.class_names)} training classes.",
        placeholder="folding arms, covering face, touching the neck",
        lines=2,
        visible=model.tokenizer is not None,
        elem_id="names",
    )


def _predict_with(model: GestureModel, if_none: str) -> Callable[..., list[Any]]:
    """Return the event handler: values of the message, the scores, the map and its caption."""

    def predict(file: Any, names: str | None) -> list[Any]:
        if file is None:
            return _refuse(if_none)
        try:
            image = open_image(_find_shown(file))
            scores, heat = model.predict(image, read_names(names or ""))
        except ValueError as error:
            return _refuse(str(error))
        best = max(scores, key=scores.__getitem__)
        if heat is None:
            about = "This model has no layer with spatial positions, so there is no map."
        elif not heat.any():
            about = f"No region of the image increases the score of “{best}”."
        else:
            fields = " × ".join(map(str, reversed(heat.shape)))
            about = f"Red regions increase the score of “{best}”. The map is coarse: {fields} fields (Grad-CAM)."
        return [
            gr.HTML(visible=False),
            {escape_controls(name): score for name, score in scores.items()},
            None if heat is None else paint_heat(crop_to_model(image, model.image_processor), heat),
            gr.HTML(_escape(about), visible=True),
        ]

    return predict


def _escape(text: str) -> str:
    """Return a text as HTML that shows it."""
    return html.escape(escape_controls(text))


def _find_shown(file: Any) -> Path:
    """Return the path of an uploaded image; requests may name any path, so refuse all others alike."""
    named = file.get("path") if isinstance(file, dict) else None
    path = Path(named).resolve() if isinstance(named, str) and "\0" not in named else None
    if path is None or not path.is_relative_to(Path(get_upload_folder()).resolve()) or not path.is_file():
        raise ValueError("The image has been deleted since it was chosen. Choose it again.")
    return path


def _refuse(message: str) -> list[Any]:
    return [gr.HTML(_escape(message), visible=bool(message)), None, None, gr.HTML(visible=False)]

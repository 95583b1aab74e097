"""Code that opens a model through every entry_point of transformers, to be run in an interpreter of its own."""

WITH_PACKAGE = "import mg_vtc\noptions = {}"
# What a machine without the package does: the import fails, and the folder's own code is trusted.
WITHOUT_PACKAGE = """
class Absent:
    def find_spec(name, path=None, target=None):
        if name.split(".")[0] == "mg_vtc":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent)
try:
    import mg_vtc
except ModuleNotFoundError:
    options = {"trust_remote_code": True}
"""
OPEN_ENTRY_POINTS = """
import torch
from PIL import Image
from transformers import (
    AutoConfig, AutoModel, AutoModelForImageClassification, AutoModelForZeroShotImageClassification, AutoProcessor,
    pipeline,
)

config = AutoConfig.from_pretrained(folder, **options)
image = Image.open(image)
processor = AutoProcessor.from_pretrained(folder, **options)
inputs = processor(images=image, return_tensors="pt")
entry_points = {"AutoModel": AutoModel, "AutoModelForImageClassification": AutoModelForImageClassification}
if not config.vision_only:
    entry_points["AutoModelForZeroShotImageClassification"] = AutoModelForZeroShotImageClassification
    texts = processor.tokenizer(config.class_prompts, padding=True, return_tensors="pt")
scores = {}
for name, entry_point in entry_points.items():
    model, loading = entry_point.from_pretrained(folder, output_loading_info=True, **options)
    assert not any(loading.values()), loading
    with torch.no_grad():
        if name == "AutoModelForImageClassification":
            logits = model(**inputs).logits
        elif config.vision_only:
            logits = model(**inputs).logits_per_image
        else:
            logits = model(**inputs, **texts).logits_per_image
    scores[name] = logits.softmax(dim=1)[0].tolist()
classify = pipeline("image-classification", folder, top_k=config.num_labels, **options)
predictions = {"image-classification": classify(image)}
if not config.vision_only:
    compare = pipeline("zero-shot-image-classification", folder, **options)
    predictions["zero-shot-image-classification"] = compare(
        image, candidate_labels=config.class_prompts, hypothesis_template="{}"
    )
for name, answer in predictions.items():
    of_label = {row["label"]: row["score"] for row in answer}
    scores[name] = [of_label[config.id2label[i]] for i in range(config.num_labels)]
home = type(model).__module__.split(".")[0]
"""

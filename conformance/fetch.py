"""Fetch the common tests of the installed transformers into `.conformance/`, which git ignores.

A wheel has no tests; the source distribution has the common ones, without the three test modules and the one script
that they import. Those get small stand-ins.
"""

import subprocess
import sys
import tarfile
import tempfile
from importlib.metadata import version
from pathlib import Path

TRANSFORMERS = f"transformers-{version('transformers')}"
FOLDER = Path(__file__).parents[1] / ".conformance" / TRANSFORMERS

# The mixins are bases of the common classes; their tests are of `generate` and of exporters, which have files of their
# own. The settings differ from the defaults, so that a configuration which loses one of them is found out.
STAND_INS = {
    "tests/__init__.py": "",
    "tests/exporters/test_export.py": "class ExportTesterMixin:\n    pass\n",
    "tests/generation/test_utils.py": "class GenerationTesterMixin:\n    pass\n",
    "tests/utils/test_configuration_utils.py": """config_common_kwargs = {
    "return_dict": False,
    "output_hidden_states": True,
    "dtype": "float16",
    "chunk_size_feed_forward": 5,
    "architectures": ["AnyModel"],
    "id2label": {0: "nodding", 1: "shrugging"},
    "label2id": {"nodding": 0, "shrugging": 1},
    "problem_type": "single_label_classification",
}
""",
    "utils/fetch_hub_objects_for_ci.py": "def url_to_local_path(url):\n    return url\n",
}


def fetch() -> None:
    """Download and unpack the common tests, unless they are there already.

    Raises:
        subprocess.CalledProcessError: pip cannot find or download the source distribution; its message is shown.
    """
    if FOLDER.exists():
        return
    FOLDER.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER.parent) as download_dir:
        requirement = TRANSFORMERS.replace("-", "==", 1)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "transformers"]
        subprocess.run([*pip, "--dest", download_dir, requirement], check=True)
        with tarfile.open(Path(download_dir, f"{TRANSFORMERS}.tar.gz")) as sdist:
            tests = [member for member in sdist if member.name.startswith(f"{TRANSFORMERS}/tests/")]
            sdist.extractall(download_dir, members=tests, filter="data")
        unpacked = Path(download_dir, TRANSFORMERS)
        for name, content in STAND_INS.items():
            path = unpacked / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(content)
        unpacked.rename(FOLDER)  # last, so that a folder that exists is complete


if __name__ == "__main__":
    fetch()

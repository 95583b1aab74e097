"""Plain English: words that documents, docstrings and messages do not use, and how docstrings begin."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src" / "mg_vtc").rglob("*.py"))
SCRIPTS = [path for name in ("benchmarks", "compat", "conformance") for path in sorted((ROOT / name).glob("*.py"))]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "EXPERIMENTS.md", "SECURITY.md")),
    *(ROOT / name for name in ("model_card.md", "compat/README.md", "conformance/README.md")),
    *sorted((ROOT / "src" / "mg_vtc" / "recipes").glob("*.yaml")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "src" / "mg_vtc").rglob("*.md")),
    *sorted((ROOT / "src" / "mg_vtc").rglob("*.jinja")),
]
AVOIDED = re.compile(  # CONTRIBUTING.md has the words of the field
    r"\bpictures?\b|\banswer(?:s|ed)?\b(?! \|)|\bmistakes?\b|\bleaky\b|\bpublish-space\b|\bdemo-app\b|\bclass table\b|"
    r"\bcan not\b|\b(?:is|are|was|were) told\b|(?<!there )\b(?:is|are) no \b|\bcommonest\b|\bto be had\b|"
    r"\bgo(?:es)? on where\b|\bstands? in\b|\bleaky by design\b|\bjoint space\b|\bconstant answers?\b|"
    r"\bis none of\b",
    re.IGNORECASE,
)
QUESTIONS = ("What", "Which", "How", "Where", "Whether", "When", "Who")


def prose_of(path):
    """The words of a page outside of code, or the docstrings and texts of more than two words of a source."""
    if path.suffix != ".py":
        return re.sub(r"```.*?```|`[^`\n]+`|<!--.*?-->|^\|.*\|$", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    texts = [node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)]
    return "\n".join(text for text in texts if isinstance(text, str) and len(text.split()) > 2)


def docstrings_of(path):
    """Name and text of each docstring of a file."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and (text := ast.get_docstring(node)):
            yield getattr(node, "name", path.stem), text


@pytest.mark.parametrize("path", [*PAGES, *SOURCES], ids=lambda path: path.relative_to(ROOT).as_posix())
def test_avoided_words_are_in_no_prose(path):
    assert [found.group() for found in AVOIDED.finditer(prose_of(path))] == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_docstrings_begin_with_a_verb_or_a_noun(path):
    assert [(name, text) for name, text in docstrings_of(path) if text.split()[0] in QUESTIONS] == []


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_avoided_words_are_in_no_docstring_of_a_script(path):  # labels of their tables are those of EXPERIMENTS.md
    assert [(name, text) for name, text in docstrings_of(path) if AVOIDED.search(text)] == []

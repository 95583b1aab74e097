"""Names of repositories."""

import pytest

from mg_vtc.hub.repo_id import check_repo_id, with_repo_id


def test_name_of_a_repository_is_one():
    check_repo_id("org/mg-vtc")


@pytest.mark.parametrize("name", ["mg-vtc", "a/b/c", "org/", "org/mg vtc", "org/mg--vtc"])
def test_name_that_is_none_is_refused_with_what_was_seen(name):
    with pytest.raises(ValueError, match=f"{name!r} "):
        check_repo_id(name)


def test_repo_id_comes_into_the_usage_and_edits_of_the_owner_stay():
    text = """# MODEL, as we call it

    pipeline("image-classification", model="MODEL")
    const model = "MODEL";
    AutoModel.from_pretrained("MODEL")
"""
    named = with_repo_id(text, "org/gestures")
    assert named == text.replace('"MODEL"', '"org/gestures"')
    assert with_repo_id(named, "org/other") == named


def test_class_of_the_name_of_the_placeholder_keeps_it():
    text = 'names = ["MODEL", "YAWN"]\ncompare = pipeline("zero-shot-image-classification", model="MODEL")\n'
    assert with_repo_id(text, "org/a") == text.replace('model="MODEL"', 'model="org/a"')

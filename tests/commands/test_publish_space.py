"""`mg-vtc publish-space`: what it refuses."""


def test_model_of_a_space_has_to_be_on_the_hub(refusal, two_class_run):
    words = refusal("publish-space", two_class_run, "org/space")
    assert words.startswith(f"mg-vtc: {two_class_run} is a folder of this machine, which a Space can not read")
    assert f"`mg-vtc publish {two_class_run} org/name`" in words
    assert "There is no model 'org/absent'" in refusal("publish-space", "org/absent", "org/space")

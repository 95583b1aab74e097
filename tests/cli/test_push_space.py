"""`mg-vtc push-space`: what it prints and refuses."""

from mg_vtc import push_to_hub


def test_address_is_printed_and_the_flag_reaches_the_space(mg_vtc_command, hub_client, finished_run, capsys):
    push_to_hub(finished_run, "org/mg-vtc")
    mg_vtc_command("push-space", "org/mg-vtc", "org/space", "--sdk", "gradio", "--private")
    page, link = capsys.readouterr().out.splitlines()
    assert page == f"{hub_client.address}/spaces/org/space"
    assert link.endswith("mg-vtc push RUN org/mg-vtc --space_id org/space")
    assert hub_client.repos["spaces/org/space"].private
    mg_vtc_command(*link.split("mg-vtc ", 1)[1].replace("RUN", str(finished_run)).split())
    assert b"https://huggingface.co/spaces/org/space" in hub_client.files("org/mg-vtc")["README.md"]


def test_missing_token_permission_and_name_are_reported_in_a_line(refusal, hub_client, finished_run, monkeypatch):
    push_to_hub(finished_run, "org/mg-vtc")
    assert "may not write to other/space" in refusal("push-space", "org/mg-vtc", "other/space", "--sdk", "gradio")
    assert "'space' does not name an owner" in refusal("push-space", "org/mg-vtc", "space", "--sdk", "gradio")
    monkeypatch.delenv("HF_TOKEN")
    assert "hf auth login" in refusal("push-space", "org/mg-vtc", "org/space", "--sdk", "gradio")
    assert hub_client.repos.keys() == {"org/mg-vtc"}


def test_model_of_a_space_has_to_be_on_the_hub(refusal, two_class_run):
    words = refusal("push-space", two_class_run, "org/space")
    assert words.startswith(f"mg-vtc: {two_class_run} is a local folder, which a Space cannot read")
    assert f"`mg-vtc push {two_class_run} org/name`" in words
    assert "There is no model 'org/absent'" in refusal("push-space", "org/absent", "org/space")

"""`mg-vtc push`: what it prints and refuses."""

import pytest


def test_page_and_what_comes_next_are_printed(mg_vtc_command, hub_client, finished_run, capsys):
    mg_vtc_command("push", finished_run, "org/mg-vtc")
    page, following = capsys.readouterr().out.splitlines()
    assert page == f"{hub_client.address}/org/mg-vtc"
    assert "Deploy > Inference Endpoints on that page" in following
    assert "config.json" in hub_client.files("org/mg-vtc")


def test_space_that_is_proposed_can_be_made(mg_vtc_command, hub_client, finished_run, capsys, web_runtime_cache):
    mg_vtc_command("push", finished_run, "org/mg-vtc")
    program, *proposed = capsys.readouterr().out.split(" a Space, by ")[1].split()
    assert program == "mg-vtc"
    mg_vtc_command(*proposed)
    assert capsys.readouterr().out.splitlines()[0] == f"{hub_client.address}/spaces/org/mg-vtc-space"
    assert "index.html" in hub_client.files("spaces/org/mg-vtc-space")


def test_flags_reach_the_push(mg_vtc_command, hub_client, finished_run, capsys):
    flags = ("--private", "--revision", "trial", "--commit_message", "A trial")
    mg_vtc_command("push", finished_run, "org/mg-vtc", *flags)
    repo = hub_client.repos["org/mg-vtc"]
    assert repo.private
    assert repo.messages[repo.branches["trial"]] == "A trial"
    assert capsys.readouterr().out == f"{hub_client.address}/org/mg-vtc/tree/trial\n"


@pytest.mark.parametrize("name", ["mg-vtc", "org/mg vtc"])
def test_name_that_is_none_is_refused_in_a_line(refusal, finished_run, name):
    assert refusal("push", finished_run, name).startswith(f"mg-vtc: {name!r} ")


def test_folder_that_is_no_model_is_refused_in_a_line(refusal, tmp_path):
    words = refusal("push", tmp_path, "org/mg-vtc")
    assert words == f"mg-vtc: {tmp_path} is not a model folder: it has no config.json."


def test_missing_token_and_permission_are_reported_in_a_line(refusal, hub_client, finished_run, monkeypatch):
    assert "may not write to other/mg-vtc" in refusal("push", finished_run, "other/mg-vtc")
    monkeypatch.delenv("HF_TOKEN")
    assert "hf auth login" in refusal("push", finished_run, "org/mg-vtc")


def test_dry_run_writes_a_folder_and_says_so(mg_vtc_command, finished_run, tmp_path, capsys):
    mg_vtc_command("push", finished_run, "--dry_run", tmp_path / "served")
    count = sum(path.is_file() for path in (tmp_path / "served").rglob("*"))
    assert capsys.readouterr().out == (
        f"{tmp_path / 'served'}: {count} files, as they would be uploaded. Nothing was sent.\n"
    )


def test_flags_of_a_push_are_refused_beside_a_dry_run(refusal, finished_run, tmp_path):
    words = refusal("push", finished_run, "--dry_run", tmp_path / "served", "--private", "--revision", "trial")
    assert words == "mg-vtc: --private and --revision cannot be combined with --dry_run, which uploads nothing."
    assert not (tmp_path / "served").exists()


def test_missing_repository_is_reported(refusal, finished_run):
    assert "Give a repository, such as org/mg-vtc" in refusal("push", finished_run)


def test_dry_run_with_onnx_writes_a_folder_for_transformers_js(mg_vtc_command, finished_run, tmp_path):
    mg_vtc_command(
        "push", finished_run, "org/mg-vtc", "--dry_run", tmp_path / "served", "--onnx", "--space_id", "me/try"
    )
    names = {path.relative_to(tmp_path / "served").as_posix() for path in (tmp_path / "served").rglob("*")}
    assert {"onnx/model_quantized.onnx", "onnx/classifier.onnx", "preprocessor_config.json", "tokenizer.json"} <= names
    card = (tmp_path / "served" / "README.md").read_text()
    assert 'pipeline("zero-shot-image-classification", model)' in card
    assert "spaces/me/try" in card

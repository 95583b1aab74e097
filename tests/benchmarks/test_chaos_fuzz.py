"""Generated inputs get a result or a clear error at every door; a campaign counts those that do not."""

import json
import sys

import chaos_fuzz
import pytest
import torch
from chaos_runs import read_summary
from hypothesis import HealthCheck, example, given, settings

FEW = settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module")
def check_request(tmp_path_factory):
    return chaos_fuzz.make_check_request(tmp_path_factory.mktemp("model"))


@FEW
@given(chaos_fuzz.comparisons())
def test_losses_and_their_gradients_are_finite_and_within_bounds(arguments):
    chaos_fuzz.check_loss(arguments)


@FEW
@given(chaos_fuzz.embeddings())
def test_loss_of_soft_targets_is_finite(arguments):
    chaos_fuzz.check_soft_target_loss(arguments)


@FEW
@given(chaos_fuzz.CONFIGS)
@example({"projection_dim": 0})  # was an error of another type than ValueError
@example({"dtype": []})  # IndexError
@example({"text_length": [], "vision_config": "resnet"})  # TypeError
@example({"id2label": {"x": "a"}})
def test_configurations_are_built_or_refused(content):
    chaos_fuzz.check_config(content)


@FEW
@given(chaos_fuzz.tables())
@example(b'id,name\n0,"a\n1,b\n')  # read as one class
@example(b"video,x,y,w,h\na,1,2,3," + b"9" * 200_000)  # error of the csv module
@example(b"1,1," + b"9" * 5000)  # error of int() and a message of 5000 characters
@example(b"id,name\n" + b"9" * 5000 + b",a\n")
def test_tables_are_read_or_refused(content):
    chaos_fuzz.check_tables(content)


@FEW
@given(chaos_fuzz.REQUESTS)
@example({"inputs": chaos_fuzz.PIXEL, "parameters": {"candidate_labels": ["a" * 99, "b" * 200_000]}})
def test_requests_get_predictions_or_a_short_complaint(check_request, request):
    check_request(request)


def test_deep_and_large_requests_are_refused_in_short_words(check_request):
    deep: list = []
    for _ in range(500):
        deep = [deep]
    for value in (deep, "x" * 10**7, list(range(10**6)), {"inputs": deep, "parameters": {"top_k": deep}}):
        check_request({"inputs": chaos_fuzz.PIXEL, "parameters": {"candidate_labels": value}})
        check_request({"inputs": value})
        check_request(value)


def test_loss_that_is_not_finite_is_a_fault():
    arguments = {"logits": torch.tensor([[float("nan"), 0.0]]), "positives": torch.tensor([[True, False]])}
    with pytest.raises(AssertionError, match="loss nan"):
        chaos_fuzz.check_loss(arguments | {"loss_type": "js", "js_weight": 0.5})


def test_input_that_takes_much_memory_is_a_fault():
    def take(value):
        assert bytearray(b"x" * chaos_fuzz.MEMORY)

    found = chaos_fuzz.feed(chaos_fuzz.SCALARS, take, 2, 0)
    assert found["silent"] == found["tried"] == 2
    assert [*found["faults"]] == ["AssertionError: memory"]
    assert found["most"] > chaos_fuzz.MEMORY
    assert found["kept"] < chaos_fuzz.MEMORY


@pytest.mark.slow
def test_campaign_counts_faults_and_resumes(tmp_path, monkeypatch, capsys):
    def fail(value):
        raise RuntimeError("as a fault of the package would")

    doors = {"sound": (chaos_fuzz.tables(), bool), "faulty": (chaos_fuzz.tables(), fail)}
    monkeypatch.setattr(chaos_fuzz, "list_doors", lambda folder: doors)
    monkeypatch.setattr(sys, "argv", ["chaos_fuzz.py", "--examples", "5", "--output_dir", str(tmp_path)])
    threads = torch.get_num_threads()
    chaos_fuzz.main()
    first = capsys.readouterr()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in first.out.splitlines()]
    assert [row[:3] for row in rows[2:]] == [["sound", "5", "0"], ["faulty", "5", "1"]]
    assert "RuntimeError: as a fault of the package would" in first.err
    assert read_summary(tmp_path) == {"survived": 5, "lost": 5, "silent": 0}
    assert len(json.loads((tmp_path / "1-0-5.json").read_text())["faults"]) == 1
    monkeypatch.setattr(chaos_fuzz, "feed", fail)  # every door is finished
    chaos_fuzz.main()
    assert capsys.readouterr().out == first.out
    torch.set_num_threads(threads)

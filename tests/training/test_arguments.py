"""Settings: what is derived from what, and what is refused."""

import pytest

from mg_vtc import MgVtcTrainingArguments


def make(tmp_path, **settings):
    return MgVtcTrainingArguments(output_dir=str(tmp_path), use_cpu=True, **settings)


@pytest.mark.parametrize("loss_type", ["js", "kl", "ce"])
def test_batches_are_compared_with_their_unique_labels(tmp_path, loss_type):
    assert make(tmp_path, loss_type=loss_type).text_batch == "unique"


@pytest.mark.parametrize("loss_type", ["ce_identity", "ce_soft"])
def test_paired_objectives_take_a_text_an_image(tmp_path, loss_type):
    assert make(tmp_path, loss_type=loss_type).text_batch == "pairs"
    with pytest.raises(ValueError, match="needs text_batch 'pairs'"):
        make(tmp_path, loss_type=loss_type, text_batch="classes")


def test_unknown_objective_is_refused_with_the_nearest(tmp_path):
    with pytest.raises(ValueError, match=r"'ce_sotf' is not one of .* Did you mean 'ce_soft'\?"):
        make(tmp_path, loss_type="ce_sotf")


def test_unknown_text_batch_is_refused(tmp_path):
    with pytest.raises(ValueError, match="'all' is not one of unique, classes, pairs"):
        make(tmp_path, text_batch="all")


@pytest.mark.parametrize("weight", [0.0, 1.0, -0.1])
def test_js_weight_outside_the_open_interval_is_refused(tmp_path, weight):
    with pytest.raises(ValueError, match="between 0 and 1"):
        make(tmp_path, js_weight=weight)


@pytest.mark.parametrize("tau", [-1.0, float("inf"), float("nan")])
def test_logit_adjustment_is_off_or_positive(tmp_path, tau):
    with pytest.raises(ValueError, match=f"0 \\(off\\) or a positive number such as 1, got {tau}"):
        make(tmp_path, logit_adjustment=tau)


def test_balanced_rows_leave_no_frequencies_to_adjust_to(tmp_path):
    with pytest.raises(ValueError, match=r"logit_adjustment 0\.5 corrects .* leave one of them out"):
        make(tmp_path, logit_adjustment=0.5, balanced_sampling=True)


def test_early_stopping_needs_evaluations(tmp_path):
    with pytest.raises(ValueError, match="eval_strategy is 'no'"):
        make(tmp_path, early_stopping_patience=2, eval_strategy="no", load_best_model_at_end=False)


def test_reporter_that_is_not_installed_is_refused(tmp_path):
    with pytest.raises(ValueError, match="pip install comet_ml"):
        make(tmp_path, report_to="comet_ml")


@pytest.mark.parametrize(("given", "kept"), [("false", None), ("true", "true"), (None, None)])
def test_resuming_can_be_switched_off(tmp_path, given, kept):
    assert make(tmp_path, resume_from_checkpoint=given).resume_from_checkpoint == kept


def test_the_best_checkpoint_by_top_1_is_kept(tmp_path):
    arguments = make(tmp_path)
    assert arguments.load_best_model_at_end
    assert arguments.metric_for_best_model == "top1_accuracy"
    assert arguments.greater_is_better


def test_token_is_refused_and_not_repeated(tmp_path):
    with pytest.raises(ValueError, match=r"hub_token .* HF_TOKEN or run `hf auth login`") as refusal:
        make(tmp_path, hub_token="hf_SECRET")
    assert "SECRET" not in str(refusal.value)


@pytest.mark.parametrize("strategy", ["every_save", "all_checkpoints"])
def test_models_are_not_pushed_while_they_are_trained(tmp_path, strategy):
    with pytest.raises(ValueError, match=f"hub_strategy '{strategy}' would push models without a card"):
        make(tmp_path, hub_strategy=strategy)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"push_to_hub": False}, "goes with push_to_hub"),
        ({"save_only_model": True}, "but save_only_model saves none"),
        ({"save_strategy": "no", "load_best_model_at_end": False}, "but save_strategy 'no' saves none"),
    ],
)
def test_checkpoints_that_cannot_be_resumed_from_are_not_pushed(settings, reason, tmp_path):
    given = {"hub_strategy": "checkpoint", "push_to_hub": True, "hub_model_id": "org/mg-vtc"} | settings
    with pytest.raises(ValueError, match=f"hub_strategy 'checkpoint' .*{reason}"):
        make(tmp_path, **given)


@pytest.mark.parametrize(("given", "private"), [(None, True), (True, True), (False, False)])
def test_checkpoints_are_private_unless_the_user_wants_them_public(given, private, tmp_path):
    settings = {"push_to_hub": True, "hub_model_id": "org/mg-vtc", "hub_private_repo": given}
    assert make(tmp_path, **settings, hub_strategy="checkpoint").makes_private is private
    assert make(tmp_path, **settings).makes_private is given


def test_push_needs_a_place(tmp_path):
    with pytest.raises(ValueError, match="push_to_hub needs hub_model_id"):
        make(tmp_path, push_to_hub=True)
    with pytest.raises(ValueError, match="'mg-vtc' does not name an owner"):
        make(tmp_path, push_to_hub=True, hub_model_id="mg-vtc")
    assert make(tmp_path, push_to_hub=True, hub_model_id="org/mg-vtc").hub_strategy == "end"


@pytest.mark.parametrize(("metric", "mode"), [("top1_accuracy", "max"), ("eval_macro_f1", "max"), ("loss", "min")])
@pytest.mark.parametrize("schedule", ["reduce_lr_on_plateau", "greedy"])
def test_schedule_that_watches_the_metric_knows_whether_more_is_better(schedule, metric, mode, tmp_path):
    watching = {"lr_scheduler_type": schedule, "metric_for_best_model": metric}
    assert make(tmp_path, **watching).lr_scheduler_kwargs["mode"] == mode
    other = {"max": "min", "min": "max"}[mode]
    with pytest.raises(ValueError, match=f"lr_scheduler_kwargs has the mode '{other}'"):
        make(tmp_path, **watching, lr_scheduler_kwargs={"mode": other})


@pytest.mark.parametrize(("metric", "more"), [("top1_accuracy", False), ("loss", True)])
def test_a_worst_model_is_never_the_best(metric, more, tmp_path):
    with pytest.raises(ValueError, match=f"greater_is_better is {more}"):
        make(tmp_path, metric_for_best_model=metric, greater_is_better=more)


def test_several_processes_that_do_not_know_their_rank_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(ValueError, match="has WORLD_SIZE 2, but no RANK"):
        make(tmp_path)

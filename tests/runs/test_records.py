"""Records of the models of an ensemble, joined."""

from mg_vtc.runs.records import RunRecords, join_records


def records(train, validation, *, split_by="clip", best="checkpoint-1", digests=True, **recipe):
    split = {"split_by": split_by, "seed": 3, "train": train, "validation": validation}
    if digests:
        split["digests"] = {name: [f"digest of {row}" for row in split[name]] for name in ("train", "validation")}
    return RunRecords(split, {"best_model_checkpoint": best, "log_history": [{"loss": 1}]}, recipe, {})


def test_records_of_one_model_are_its_own():
    (one,) = [records(["a"], ["b"])]
    assert join_records([one]) is one


def test_rows_of_all_models_are_joined_with_their_digests_and_no_log():
    joined = join_records([records(["a"], ["b"], image_size=8), records(["b"], ["a", "c"])])
    assert joined.split == {
        "split_by": "clip",
        "seed": 3,
        "train": ["a", "b"],
        "validation": ["b", "a", "c"],
        "digests": {
            "train": ["digest of a", "digest of b"],
            "validation": ["digest of b", "digest of a", "digest of c"],
        },
    }
    assert joined.state == {"best_model_checkpoint": "checkpoint-1"}
    assert joined.recipe == {"image_size": 8}


def test_split_by_frame_and_missing_digests_of_one_count_for_all():
    joined = join_records([records(["a"], ["b"]), records(["a"], ["b"], split_by="frame", digests=False)])
    assert joined.split == {"split_by": "frame", "seed": 3, "train": ["a", "a"], "validation": ["b", "b"]}


def test_checkpoint_is_chosen_if_that_of_one_model_was():
    chosen, last = records(["a"], ["b"]), records(["a"], ["b"], best=None)
    unused = records(["a"], ["b"], load_best_model_at_end=False)
    assert join_records([last, chosen]).state == {"best_model_checkpoint": "checkpoint-1"}
    assert join_records([last, unused]).state == {"best_model_checkpoint": None}
    assert join_records([chosen, RunRecords({}, None, {}, {})]).state is None


def test_models_without_records_add_no_rows():
    empty = RunRecords({}, None, {}, {})
    assert join_records([empty, empty]).split == {}
    assert join_records([empty, records(["a"], ["b"])]).split["train"] == ["a"]

"""Keys that hold still, and a parser that lets nothing through."""

import copy
import json
import string
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from alexnet_repro.common.errors import UserError
from alexnet_repro.experiments.cifar_alexnet import TINY_BASELINE
from alexnet_repro.experiments.config import DeviceConfig, RunConfig, parse
from alexnet_repro.experiments.registry import CUDA_CONVNET_19PCT
from alexnet_repro.networks.config import CudaConvnetConfig

PLAIN = json.loads(CUDA_CONVNET_19PCT.model_dump_json(exclude_defaults=True))
# One other valid value of every field; a new field fails test_every_field_is_here until it stands here.
OTHER = {
    "model.net": None,  # one value only
    "model.layers": None,  # the others take crops: see PAIRED
    "model.nonlinearity": "tanh",
    "model.initialization": "he",
    "data.dataset": None,  # "sample" has too few images: see PAIRED
    "data.train_images": 49_999,
    "data.divisor": 2.0,
    "optimizer.learning_rate": 0.0010000000000000002,
    "optimizer.bias_rate_factor": 1.0,
    "optimizer.momentum": 0.8,
    "optimizer.weight_decay": 5e-324,
    "optimizer.batch_size": 127,
    "budget.epochs": 61,
    "budget.measurements": 5,
    "budget.stop_at_train_error": None,
    "seed": 1,
}
# Fields that came later: at these values a run is what it was before.
AS_BEFORE = {
    "data.crop": None,
    "data.random_crops": False,
    "data.reflect": False,
    "data.color_noise": "none",
    "data.shared_crops": 1,
    "data.digest": None,
    "data.whole": 32,
    "data.classes": 10,
    "data.drawn": False,
    "data.held_out": 0,
    "optimizer.drops": [],
    "optimizer.plateau": None,
    "optimizer.layer_decays": [],
    "optimizer.conv1_drops": [],
    "optimizer.conv1_frozen": None,
    "optimizer.velocity": "steps",
    "data.color_noise_epochs": None,
    "model.normalization": "file",
    "budget.test_curve": False,
    "budget.ten_views": False,
    "precision": "float32",
    "compiled": False,
}
LATER = {
    "data.reflect": True,
    "data.color_noise": "paper",
    "optimizer.drops": [50],
    "optimizer.conv1_drops": [50],
    "optimizer.conv1_frozen": 55,
    "optimizer.layer_decays": [0.0, 0.0, 0.0, 1.0],
    "budget.test_curve": True,
    "budget.ten_views": True,
    "precision": "bfloat16",
    "compiled": True,
}
NO_OTHER = {"model.net", "model.layers", "data.dataset"}


def leaves(values, prefix=""):
    for name, value in values.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name


def put(path, *value):
    """The plain config with ``value`` at ``path``, or without ``path`` where no value is given."""
    values = copy.deepcopy(PLAIN)
    *parents, name = path.split(".")
    part = values
    for parent in parents:
        part = part[parent]
    part.pop(name, None)
    if value:
        part[name] = value[0]
    return values


def message(values):
    """The error that parsing gives, which must be one short line."""
    with pytest.raises(UserError) as error:
        parse(values)
    text = str(error.value)
    assert text.isprintable()
    assert len(text) < 400
    return text


def test_keys_are_pinned():
    pinned = {
        "4d91afb6f5a3cf83": {},
        "d97e08ef17c7c6c0": {"data.dataset": "sample", "data.train_images": 300},
        "e2b28cd8eaf60607": {"model.nonlinearity": "tanh", "optimizer.learning_rate": 0.01, "seed": 2**63 - 1},
        "0c8927c073478407": {"budget.stop_at_train_error": None, "optimizer.weight_decay": 0.004, "data.divisor": 64.0},
    }
    assert {key: CUDA_CONVNET_19PCT.changed(**changes).key for key, changes in pinned.items()} == {k: k for k in pinned}


def test_every_field_is_here():
    assert set(leaves(PLAIN)) == set(OTHER)


@pytest.mark.parametrize(("path", "value"), [*OTHER.items(), *LATER.items()])
def test_each_field_changes_the_key(path, value):
    if path not in NO_OTHER:
        assert parse(put(path, value)).key != CUDA_CONVNET_19PCT.key


@pytest.mark.parametrize("path", AS_BEFORE)
def test_a_later_field_leaves_recorded_runs_as_they_were(path):
    assert parse(put(path, AS_BEFORE[path])) == CUDA_CONVNET_19PCT
    assert parse(put(path, AS_BEFORE[path])).key == CUDA_CONVNET_19PCT.key


PAIRED = [  # fields whose other values need another field changed as well
    ({"data.train_images": 300}, {"data.dataset": "sample"}),
    ({"data.crop": 24, "model.layers": "11pct"}, {"model.layers": "13pct"}),
    ({"data.crop": 24, "model.layers": "11pct"}, {"model.normalization": "none"}),
    ({"data.crop": 24, "model.layers": "13pct"}, {"model.normalization": "added"}),
    ({"data.train_images": 40_000}, {"data.drawn": True}),
    ({"data.train_images": 40_000}, {"data.held_out": 10_000}),
]


@pytest.mark.parametrize(("first", "change"), PAIRED)
def test_each_field_of_a_pair_changes_the_key(first, change):
    before = CUDA_CONVNET_19PCT.changed(**first)
    assert before.changed(**change).key != before.key


def test_a_field_without_another_value_has_one_value():
    assert len(get_args(CudaConvnetConfig.model_fields["net"].annotation)) == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model.layers": "13pct"}, "images of side 24, and data.crop gives 32"),
        ({"data.crop": 24}, "images of side 32, and data.crop gives 24"),
        ({"model.normalization": "none"}, "normalization='none' is for 11pct: use 'file' with 19pct"),
        ({"model.normalization": "added"}, "normalization='added' is for 13pct: use 'file' with 19pct"),
        ({"optimizer.layer_decays": (0.0, 1.0)}, r"layer_decays=\(0.0, 1.0\) are 2: the net has 4 layers with weights"),
        (
            {"optimizer.weight_decay": 0.004, "optimizer.layer_decays": (0.0,) * 4},
            "weight_decay=0.004 beside .* make it 0",
        ),
        ({"data.held_out": 1}, "train_images=50000 and held_out=1 are more than the 50000 of cifar10: ask for fewer"),
        ({"data.held_out": -1}, "held_out"),
        ({"data.drawn": True}, "drawn=True with train_images=50000, which are all there are: leave drawn out"),
        (
            {"data.train_images": 40_000, "data.held_out": 10_000, "data.drawn": True},
            "drawn=True with train_images=40000, which are all there are",
        ),
        (
            {"data.dataset": "sample", "data.train_images": 1_500, "data.held_out": 501},
            "held_out=501 are more than the 2000 of the sample",
        ),
        ({"data.whole": 64}, "digest, whole and classes are for imagenet: leave them out for cifar10"),
        ({"data.dataset": "tiny-imagenet"}, "tiny-imagenet has whole=64 and classes=200, and no digest: not whole=32,"),
        (
            {"data.dataset": "tiny-imagenet", "data.whole": 64, "data.classes": 200, "data.crop": 32},
            "model.net='cuda-convnet' is for CIFAR-10: tiny-imagenet takes alexnet",
        ),
    ],
)
def test_what_does_not_fit_together_is_named(changes, said):
    with pytest.raises(UserError, match=said):
        CUDA_CONVNET_19PCT.changed(**changes)


def test_only_later_fields_have_a_default():
    # A default that changes would change what recorded runs mean.
    def optional(model, prefix=""):
        for name, field in model.model_fields.items():
            if not field.is_required():
                yield prefix + name
            for annotation in (field.annotation, *get_args(field.annotation)):
                if isinstance(annotation, type) and issubclass(annotation, BaseModel):
                    yield from optional(annotation, f"{prefix}{name}.")

    assert set(optional(RunConfig)) == set(AS_BEFORE)


def test_the_device_is_no_part_of_a_run():
    def names(model):
        for name, field in model.model_fields.items():
            yield name
            if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
                yield from names(field.annotation)

    assert set(names(DeviceConfig)).isdisjoint(names(RunConfig))
    with pytest.raises(UserError, match="device"):
        parse(PLAIN | {"device": "cpu"})


def test_one_run_has_one_key_however_it_is_written():
    shuffled = {name: PLAIN[name] for name in reversed(PLAIN)}
    shuffled["optimizer"] = {name: PLAIN["optimizer"][name] for name in reversed(PLAIN["optimizer"])}
    for values in (
        shuffled,
        put("data.divisor", 1),
        put("optimizer.weight_decay", -0.0),
        json.loads(json.dumps(PLAIN)),
    ):
        assert parse(values).key == CUDA_CONVNET_19PCT.key
        assert parse(values) == CUDA_CONVNET_19PCT


@given(st.floats(min_value=0, exclude_min=True, allow_infinity=False, allow_nan=False))
def test_a_config_survives_json(rate):
    config = CUDA_CONVNET_19PCT.changed(**{"optimizer.learning_rate": rate})
    again = parse(json.loads(config.model_dump_json()))
    assert again == config
    assert again.key == config.key


WRONG = {  # values of no field, by what the field takes
    "int": st.one_of(
        st.none(),
        st.booleans(),
        st.floats(),
        st.text(),
        st.integers(max_value=-1),
        st.just(10**400),
        st.lists(st.none()),
    ),
    "float": st.one_of(
        st.none(),
        st.booleans(),
        st.text(),
        st.sampled_from([float("nan"), float("inf"), -float("inf"), 10**400, -(10**400), -5e-324]),
        st.floats(max_value=0, exclude_max=True),
        st.dictionaries(st.text(), st.integers()),
    ),
    "str": st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.just("ReLU"), st.lists(st.text())
    ),
}


def kind(path):
    part = PLAIN
    for name in path.split("."):
        part = part[name]
    return type(part).__name__


@pytest.mark.parametrize("path", sorted(OTHER))
@given(data=st.data())
@settings(max_examples=25)
def test_a_wrong_value_is_named(path, data):
    value = data.draw(WRONG[kind(path)])
    if path == "budget.stop_at_train_error" and value is None:
        return  # means "never"
    said = message(put(path, value))
    # A text that is no Unicode (a lone surrogate) is refused before any field is looked at.
    assert path.split(".")[-1] in said or "Invalid JSON" in said


@pytest.mark.parametrize("path", [*sorted(OTHER), *(name for name, part in PLAIN.items() if isinstance(part, dict))])
def test_a_missing_field_is_named(path):
    assert f"at {path}: Field required" in message(put(path))


@given(
    part=st.sampled_from(["", "model.", "data.", "optimizer.", "budget."]),
    name=st.text(string.ascii_letters + "_\n\x00é", min_size=1, max_size=300),
    value=st.one_of(st.none(), st.integers(), st.text()),
)
@settings(max_examples=50)
def test_an_unknown_field_is_named(part, name, value):
    if part + name in set(leaves(PLAIN)) | set(PLAIN):
        return
    said = message(put(part + name, value))
    assert "Extra inputs are not permitted" in said


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("data.train_images", 0),
        ("data.train_images", 50_001),
        ("data.divisor", 0),
        ("data.divisor", 0.0),
        ("optimizer.learning_rate", 0.0),
        ("optimizer.momentum", 1.0),
        ("optimizer.batch_size", 0),
        ("optimizer.batch_size", 50_001),
        ("budget.epochs", 0),
        ("budget.epochs", 10_001),
        ("budget.measurements", 0),
        ("budget.measurements", 1_001),
        ("budget.stop_at_train_error", 1.0000000000000002),
        ("seed", 2**63),
    ],
)
def test_out_of_range_is_named(path, value):
    assert path.split(".")[-1] in message(put(path, value))


@pytest.mark.parametrize("value", [-1, 1.5, "x", 1])
@pytest.mark.parametrize("field", ["drops", "conv1_drops", "layer_decays"])
def test_a_million_entries_are_refused_at_once(field, value, monkeypatch):
    values = copy.deepcopy(PLAIN)
    values["optimizer"][field] = [value] * 1_000_000
    with pytest.raises(UserError, match="a run config has at most 100,000 characters of JSON, and this one"):
        parse(values)
    # Where the text is short enough, the first fault ends the reading.
    values["optimizer"][field] = [value] * 10_000
    with pytest.raises(UserError, match=f"optimizer.{field}"):
        parse(values)
    with pytest.raises(ValidationError) as caught:
        RunConfig.model_validate_json(json.dumps(values))
    assert caught.value.error_count() == 1


def test_the_sample_holds_two_thousand():
    sample = {"data.dataset": "sample", "data.train_images": 2_000}
    assert CUDA_CONVNET_19PCT.changed(**sample).data.train_images == 2_000
    with pytest.raises(UserError, match="train_images=2001: the sample has 2000"):
        CUDA_CONVNET_19PCT.changed(**(sample | {"data.train_images": 2_001}))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data.train_images": 100_001}, "train_images=100001: tiny-imagenet has 100000; ask for fewer"),
        ({"data.held_out": 10_000}, "train_images=100000 and held_out=10000 are more than the 100000 of tiny-imagenet"),
        ({"data.whole": 32}, "tiny-imagenet has whole=64 and classes=200, and no digest: not whole=32, classes=200"),
        ({"data.classes": 100}, "not whole=64, classes=100"),
        ({"data.digest": "0" * 64}, "digest=0000"),
        ({"model.classes": 199}, "model.classes=199 is fewer than the 200 of the data"),
        (
            {"data.dataset": "imagenet", "data.digest": "0" * 64, "data.held_out": 1},
            "drawn and held_out are not for imagenet",
        ),
        (
            {"data.dataset": "imagenet", "data.digest": "0" * 64, "data.drawn": True},
            "drawn and held_out are not for imagenet",
        ),
    ],
)
def test_what_tiny_imagenet_does_not_have_is_named(changes, said):
    with pytest.raises(UserError, match=said):
        TINY_BASELINE.changed(**changes)


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)),
    max_leaves=8,
)


@given(st.one_of(json_values, st.dictionaries(st.sampled_from([*PLAIN, "x"]), json_values)))
def test_nonsense_is_one_line(values):
    message(values)


def test_what_is_no_json_is_one_line():
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    loop: list = []
    loop.append(loop)
    for values in (
        deep,
        loop,
        {1, 2},
        object(),
        b"bytes",
        put("seed", 10**5000),
        put("seed", 1j),
        put("seed", "\ud800"),
    ):
        message(values)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("optimizer.rate", "optimizer has batch_size, bias_rate_factor"),
        ("optimiser.learning_rate", "a run has budget, compiled, data, model"),
        ("seed.x", "seed is a value"),
        ("", "a run has budget"),
        ("optimizer.learning_rate.x", "learning_rate is a value"),
    ],
)
def test_changing_an_unknown_field_lists_the_known(path, said):
    with pytest.raises(UserError, match=said):
        CUDA_CONVNET_19PCT.changed(**{path: 1})


def test_changing_a_run_leaves_the_original():
    before = CUDA_CONVNET_19PCT.model_dump_json()
    CUDA_CONVNET_19PCT.changed(**{"optimizer.learning_rate": 0.5})
    assert CUDA_CONVNET_19PCT.model_dump_json() == before


@pytest.mark.parametrize("values", [{"device": "gpu"}, {"device": "cuda:"}, {"device": "cpu\n"}, {"threads": 0},
                                    {"threads": True}, {"threads": 10**9}, {"thread": 1}])  # fmt: skip
def test_a_bad_placement_is_refused(values):
    with pytest.raises(ValueError, match="validation error"):
        DeviceConfig.model_validate_json(json.dumps(values))

"""Sound evidence passes; whatever is changed in it is named."""

import json
import shutil
from datetime import UTC, datetime

import pytest

from alexnet_repro.analysis.verdicts import scorecard
from alexnet_repro.common import paths
from alexnet_repro.common.errors import UserError
from alexnet_repro.experiments import imagenet, step_timing
from alexnet_repro.experiments.cifar_alexnet import TINY_BASELINE
from alexnet_repro.experiments.config import DIGESTS
from alexnet_repro.experiments.registry import CUDA_CONVNET_19PCT, study
from alexnet_repro.records import outputs
from alexnet_repro.records.record import Measurement
from alexnet_repro.records.store import Store, write_table
from alexnet_repro.records.verify import _tested, check, verify

from . import homes
from .damage import flipped
from .runs import record

ARM = "relu 0.001"
PLAN = study("relu_rates")
CONFIG = PLAN.config(ARM, PLAN.seeds[0])
# By hand: 391 steps an epoch, measured after 98, 196, 294 and 391 of them.
INTERVALS = [12_544, 12_544, 12_544, 12_368]
ERRORS = [0.9] * 4 + [0.5] * 4 + [0.2] * 4
SIZES = INTERVALS * 3
WRONG = [round(error * size) for error, size in zip(ERRORS, SIZES, strict=True)]
# Any four intervals in a row hold each of the 50,000 images' worth once.
TRAILING = [sum(WRONG[i - 4 : i]) / 50_000 for i in range(4, 13)]


def points():
    ends = [sum(SIZES[: i + 1]) for i in range(12)]
    return [
        Measurement(epoch=end / 50_000, images=end, train_loss=2 * error, train_error=wrong / size)
        for end, error, wrong, size in zip(ends, ERRORS, WRONG, SIZES, strict=True)
    ]


def sound():
    """The record of a run that stopped at the end of its third epoch, where its training error was 20 %."""
    before, after = TRAILING[-2:]
    start, end = (150_000 - 12_368) / 50_000 - 0.5, 3 - 0.5  # the middles of the latest 50,000
    metrics = {
        "epochs": 3.0,
        "train_error": after,
        "train_loss": 0.4,
        "test_error": 0.25,
        "epochs_to_threshold": start + (before - 0.25) / (before - after) * (end - start),
    }
    return record(
        CONFIG, status="stopped", curve=points(), metrics=metrics, data=DIGESTS["cifar10"], weights="a" * 64,
        wall_seconds=100.0, images_per_second=1500.0,
    )  # fmt: skip


def faults(store, *records, name="relu_rates", arm=ARM):
    write_table(store.evidence / name, [(arm, each) for each in records])
    return verify(store)


def tiny(metrics=(), data="5" * 64, **changes):
    """The record of a finished run on Tiny ImageNet."""
    config = TINY_BASELINE.changed(**changes)
    size = config.data.train_images
    curve = [
        Measurement(epoch=float(epoch), images=epoch * size, train_loss=3.0, train_error=0.75) for epoch in range(1, 21)
    ]
    found = {
        "epochs": 20.0, "train_error": 0.75, "train_loss": 3.0, "test_error": 0.625, "test_top5_error": 0.375,
        "ten_view_error": 0.5, "ten_view_top5_error": 0.25, "clean_train_error": 0.5, "gap": 0.125,
        "early_train_loss": 3.0,
    }  # fmt: skip
    rate = round(20 * size / 1000.0, 1)
    return record(
        config, curve=curve, metrics=found | dict(metrics), data=data, weights="a" * 64, wall_seconds=1000.0,
        images_per_second=rate,
    )  # fmt: skip


def test_runs_on_tiny_imagenet_are_verified(store):
    assert faults(store, tiny(), name="tiny_imagenet", arm="baseline") == []
    # JPEG decoders round differently: pixels of another are no fault, and no digest at all is one.
    for data, said in (("6" * 64, []), ("6" * 63, ["is no SHA-256"])):
        found = faults(store, tiny(data=data), name="tiny_imagenet", arm="baseline")
        assert len(found) == len(said)
        assert all(part in line for part, line in zip(said, found, strict=True))
    for metrics, said in (
        ({"test_top5_error": 0.75}, "its test_top5_error 0.75 is above its test_error"),
        ({"ten_view_top5_error": 0.75}, "its ten_view_top5_error 0.75 is above its ten_view_error"),
        ({"test_error": 0.62505, "gap": 0.12505}, "its test_error 0.62505 is no share of 10000 images"),
    ):
        (fault,) = faults(store, tiny(metrics), name="tiny_imagenet", arm="baseline")
        assert said in fault


def test_runs_of_another_scale_are_those_of_their_scale(store):
    # At the default scale the arm has the net of CIFAR-10; here it is compared with that of the run's own images.
    assert check("lrn", "baseline", tiny()) == []
    (fault,) = check("relu_speed", "relu", tiny())
    assert fault.said == "study 'relu_speed' has no runs at the scale tiny-imagenet: it has smoke and cifar10"


def test_held_out_images_are_those_that_errors_are_shares_of():
    held = tiny(**{"data.train_images": 90_000, "data.held_out": 8})
    (fault,) = check("tiny_imagenet", "baseline", held)
    assert fault.said == "its config is not that of its arm"
    assert _tested(0.75, held.config)
    assert not _tested(0.7, held.config)


def test_sound_evidence_has_no_faults(store):
    assert TRAILING[-2] > 0.25 >= TRAILING[-1]
    assert verify(store) == []
    assert faults(store, sound()) == []


def with_point(index, **changes):
    curve = list(sound().curve)
    curve[index] = curve[index].model_copy(update=changes)
    return sound().model_copy(update={"curve": tuple(curve)})


def with_metric(**changes):
    return sound().model_copy(update={"metrics": sound().metrics | changes})


def diverged():
    """The record of a run that was lost in its third epoch, as read beside runs that have every metric."""
    curve = [point.model_copy(update={"test_error": 0.9}) for point in with_point(11, train_loss=None).curve]
    lost = dict.fromkeys(("train_loss", "test_error", "gap", "epochs_to_converge", "epochs_to_threshold"))
    changes = {"status": "diverged", "curve": tuple(curve), "metrics": sound().metrics | lost}
    return sound().model_copy(update=changes)


def with_source(**changes):
    return sound().model_copy(update={"provenance": sound().provenance.model_copy(update=changes)})


def without(metric):
    metrics = {name: value for name, value in sound().metrics.items() if name != metric}
    return sound().model_copy(update={"metrics": metrics})


CHANGES = [
    (sound().model_copy(update={"key": "0" * 16}), f"its config has the key {CONFIG.key}"),
    (sound().model_copy(update={"recipe": 2}), "recipe 2 is not this version's 1"),
    (sound().model_copy(update={"curve": sound().curve[:-1]}), "its epochs is 3.0, and its curve gives 2.75264"),
    (sound().model_copy(update={"curve": sound().curve[1:]}), "not measured where its budget says"),
    (sound().model_copy(update={"status": "finished"}), "it is finished after 3 of 16 epochs"),
    (sound().model_copy(update={"status": "finished"}), "it is finished, and the stopping rule says otherwise"),
    (sound().model_copy(update={"status": "diverged"}), "it is diverged, and its losses say otherwise"),
    (with_point(3, images=50_001), "not measured where its budget says"),
    (with_point(3, epoch=1.1), "its epochs are not its images over the training set"),
    (with_point(3, train_error=0.90001), "train_error 0.90001 after 50000 images is no share of 12368 images"),
    (with_point(3, train_error=-WRONG[0] / SIZES[3]), "is no share of 12368 images"),
    (with_point(3, train_loss=None), "it is stopped, and its losses say otherwise"),
    (with_point(3, train_loss=-0.1), "train_loss -0.1 after 50000 images is negative"),
    (with_point(3, test_error=0.12345), "test_error 0.12345 after 50000 images is no share of 10000 images"),
    (with_point(11, train_error=WRONG[4] / SIZES[11]), "it is stopped, and the stopping rule says otherwise"),
    (with_point(7, train_error=0.0), "and its curve gives"),
    (with_metric(epochs=2.0), "its epochs is 2.0, and its curve gives 3.0"),
    (with_metric(train_error=0.2), "its train_error is 0.2, and its curve gives"),
    (with_metric(train_loss=None), "its train_loss is None, and its curve gives 0.4"),
    (with_metric(epochs_to_threshold=2.4), "its epochs_to_threshold is 2.4, and its curve gives"),
    (with_metric(epochs_to_threshold=None), "its epochs_to_threshold is None, and its curve gives"),
    (with_metric(test_error=0.25001), "its test_error 0.25001 is no share of 10000 images"),
    (with_metric(test_error=1.5), "its test_error 1.5 is no share of 10000 images"),
    (with_metric(test_error=None), "it has no test_error"),
    (with_metric(clean_train_error=0.125, gap=0.13), "its gap is 0.13, and its curve gives 0.125"),
    (with_metric(epochs_to_converge=3.0), "its epochs_to_converge is 3.0, and its curve gives None"),
    (with_metric(clean_train_error=0.125, gap=None), "its gap is None, and its curve gives 0.125"),
    (without("epochs_to_threshold"), "its epochs_to_threshold is None"),
    (with_metric(knn_features=1.2), "its knn_features 1.2 is not from 0 to 1"),
    (with_metric(knn_pixels=-0.1), "its knn_pixels -0.1 is not from 0 to 1"),
    (with_metric(color_gap=1.01), "its color_gap 1.01 is not from 0 to 1"),
    (with_metric(color_gap_shuffled=-0.01), "its color_gap_shuffled -0.01 is not from 0 to 1"),
    (with_metric(color_gap_p=2.0), "its color_gap_p 2.0 is not from 0 to 1"),
    (
        with_metric(tset_error=0.5),
        "no run of this version has a metric 'tset_error' (runs.csv, row 2, column",
    ),
    (with_metric(ten_view_error=0.25001), "its ten_view_error 0.25001 is no share of 10000 images (runs.csv, row 2"),
    (with_metric(top5_error=0.12345), "its top5_error 0.12345 is no share of 10000 images"),
    (with_metric(clean_train_error=0.123456), "its clean_train_error 0.123456 is no share of its training images"),
    (with_point(11, test_error=0.2), "its test_error is 0.25, and its curve gives 0.2 (runs.csv, row 2, column metric"),
    (with_point(4, images=50_000), "not measured where its budget says (curves.csv, row 6, column images)"),
    (with_source(threads=1_025), "1025 threads for 100.0 s is no training (runs.csv, row 2, column provenance.threads"),
    (with_source(device="<b>"), "its device '<b>' is no plain name (runs.csv, row 2, column provenance.device)"),
    (with_source(started="2126-01-01T00:00:00+00:00"), "lies in the future"),
    (with_source(clean=False), "its code was not a clean commit"),
    (with_source(commit="unknown"), "its commit 'unknown' is no commit"),
    (with_source(weights="a" * 63), "is no SHA-256"),
    (with_source(weights="A" * 64), "is no SHA-256"),
    (with_source(data=DIGESTS["sample"]), "are not the pinned cifar10"),
    (with_source(started="yesterday"), "its start 'yesterday' is no date with a time zone"),
    (with_source(started="2025-01-01T00:00:00"), "is no date with a time zone"),
    (with_source(threads=0), "0 threads for 100.0 s is no training"),
    (with_source(wall_seconds=0.0), "1 threads for 0.0 s is no training"),
    (with_source(images_per_second=1500.2), "1500.2 images/s is not its images over its seconds, 1500.0"),
]


@pytest.mark.parametrize(("changed", "said"), CHANGES, ids=range(len(CHANGES)))
def test_a_change_is_named(store, changed, said):
    found = faults(store, changed)
    assert any(said in fault for fault in found), found
    assert all(fault.startswith(f"relu_rates, arm '{ARM}', seed {CONFIG.seed}, run {changed.key}: ") for fault in found)


def test_early_learning_follows_from_the_curve(store):
    config = study("relu_speed").config("relu", 0)

    def found(made, loss):
        changes = {"config": config, "key": config.key, "metrics": made.metrics | {"early_train_loss": loss}}
        return faults(store, made.model_copy(update=changes), name="relu_speed", arm="relu")

    mean = (1.8 + 1.0 + 0.4) / 3  # of three epochs, by hand
    assert found(sound(), mean) == []
    (fault,) = found(sound(), 1.06)
    assert "its early_train_loss is 1.06, and its curve gives 1.0666" in fault
    assert f"its early_train_loss is {mean}, and its curve gives None" in " ".join(found(diverged(), mean))


def test_a_diverged_run_has_no_gap_and_never_converged(store):
    assert faults(store, diverged()) == []


def test_a_row_of_another_arm_is_named(store):
    assert "its config is not that of its arm" in faults(store, sound(), arm="tanh 0.001")[0]


def test_an_unknown_arm_is_named(store):
    assert "the study has no such arm (it has relu 0.000316" in faults(store, sound(), arm="relu 0.002")[0]


def test_an_unknown_seed_is_named(store):
    config = PLAN.config(ARM, 7)
    other = sound().model_copy(update={"config": config, "key": config.key})
    found = faults(store, other)
    assert [fault.rpartition(": ")[2] for fault in found] == ["the arm has no seed 7 (runs.csv, row 2, column seed)"]


def test_full_size_runs_on_images_that_the_study_cannot_have_are_named(store):
    images = imagenet.Images(1_000, 10, 64, "d" * 64)
    whole = imagenet.baseline(images._replace(size=256))
    model = whole.model.change(image_size=56, conv1_kernel=5, conv1_stride=2)
    small = record(whole.changed(**{"data.whole": 64, "data.crop": 56}, model=model.model_dump()))
    found = faults(store, small, name="imagenet", arm="paper")
    assert any("images of 64 pixels are too small for the paper's net" in fault for fault in found), found
    few = record(imagenet.baseline(imagenet.Images(200, 10, 256, "d" * 64)))
    found = faults(store, few, name="imagenet_batch_256", arm="batch_256")
    assert any("batches of 256 and there are 200 images" in fault for fault in found), found
    assert any("too small" in fault for fault in found)  # the other table is still listed


def test_a_curve_of_another_seed_is_named(store):
    first, second = (study("relu_speed").config("relu", seed) for seed in (0, 1))
    rows = [sound().model_copy(update={"config": config, "key": config.key}) for config in (first, second)]
    found = faults(store, *rows, name="relu_speed", arm="relu")
    assert [fault.rpartition(": ")[2] for fault in found] == [f"its curve is that of seed 0, run {first.key}"]


def test_an_early_run_may_start_before_its_commit_where_it_is_this_projects(store, monkeypatch):
    made = datetime(2026, 11, 26, tzinfo=UTC)
    monkeypatch.setattr("alexnet_repro.records.verify.commit_dates", lambda: {"0" * 40: made})
    assert faults(store, with_source(started="2026-11-24T23:59:59+00:00")) == []
    (fault,) = faults(store, with_source(started="2026-11-25T00:00:00+00:00"))
    assert "lies before its commit was made, 2026-11-26T00:00:00+00:00" in fault


def test_an_unknown_study_is_named(store):
    assert faults(store, sound(), name="relu_haste")[0] == "relu_haste: no study has this name"


def test_a_run_published_twice_is_named(store):
    write_table(store.evidence / "relu_speed", [("relu", sound())])
    assert any("published twice, first in relu_rates" in fault for fault in faults(store, sound()))
    found = faults(store, sound(), sound())
    assert any(f"damaged (runs.csv, row 3, column key: '{CONFIG.key}' stands in row 2, too" in fault for fault in found)


def test_the_sample_is_never_evidence(store):
    config = CUDA_CONVNET_19PCT.changed(**{"data.dataset": "sample", "data.train_images": 2_000})
    found = faults(store, record(config))
    assert any("trained on the bundled sample" in fault for fault in found)


def test_a_damaged_table_is_named_beside_the_others(store):
    write_table(store.evidence / "relu_speed", [("relu", sound())])
    path = store.evidence / "relu_speed" / "runs.csv"
    path.write_bytes(path.read_bytes()[:-1])
    (store.evidence / "empty").mkdir()
    found = faults(store, with_metric(epochs=2.0))
    assert len(found) == 3
    assert "empty is damaged" in found[0]
    assert "its epochs is 2.0" in found[1]
    assert "relu_speed is damaged (runs.csv does not have its SHA-256)" in found[2]


@pytest.fixture
def copy(tmp_path):
    """The published runs of the ablations with their predictions and weights; and the path of these."""
    shutil.copytree(paths.data() / "evidence" / "ablations", tmp_path / "evidence" / "ablations")
    store, plan = Store(tmp_path / "store", tmp_path / "evidence"), study(outputs.MEMBERS)
    for part in ("predictions", "weights"):
        shutil.copytree(paths.data() / part, tmp_path / part)
        for path in (tmp_path / part).glob("*.*"):
            if path.stem not in store.published():
                path.unlink()
    path = outputs.published_weights(store, plan.config("baseline", plan.seeds[0]).key)
    assert verify(store) == []
    return store, path


def test_a_flipped_bit_or_truncation_of_published_weights_is_named(copy):
    store, path = copy
    whole = path.read_bytes()
    start = 8 + int.from_bytes(whole[:8], "little")
    for place in (3, 30, start, (start + len(whole)) // 2, len(whole) - 1):  # the last is one of the mean
        path.write_bytes(flipped(whole, place))
        (fault,) = verify(store)
        assert fault.startswith(f"{path} is damaged (")
    for length in (0, 7, start, len(whole) - 1):
        path.write_bytes(whole[:length])
        (fault,) = verify(store)
        assert fault.startswith(f"{path} is damaged (")


def test_published_weights_are_those_of_their_record(copy):
    from alexnet_repro.training import checkpoint

    store, path = copy
    tensors, values = checkpoint.load(path)
    path.rename(path.with_stem("0" * 16))
    missing, unknown = verify(store)
    assert missing.startswith(f"{path} is missing, the weights of the page what_it_learned: restore it with 'git ")
    assert unknown == f"{path.with_stem('0' * 16)}: no published run has this key"
    path.with_stem("0" * 16).unlink()
    checkpoint.save(path, tensors | {"conv1.bias": tensors["conv1.bias"] + 1}, values)
    assert verify(store) == [f"{path}: these are other weights than its record says"]


def test_missing_predictions_are_named(copy):
    store, path = copy
    gone = outputs.published(store, path.stem)
    gone.unlink()
    (fault,) = verify(store)
    assert fault.startswith(f"{gone} is missing, the predictions of a published run")


@pytest.mark.parametrize(
    ("text", "said"), [('{"x"', "Invalid JSON"), ("[]", "Input should be an object"), ("{}", "device: Field required")]
)
def test_damaged_times_are_named(tmp_path, monkeypatch, text, said):
    homes.make(tmp_path, monkeypatch)
    path = step_timing.path(["GPU"])
    path.parent.mkdir()
    shutil.copy(homes.ROOT / "data" / "benchmarks" / "parallel-cpu.json", step_timing.path())
    assert verify(Store()) == []
    path.write_text(text)
    (fault,) = verify(Store())
    assert fault.startswith(f"cannot read {path} ({said}")
    assert fault.endswith(f": restore it with 'git checkout -- {path}'")
    with pytest.raises(UserError, match=r"parallel-gpu\.json"):
        scorecard(lambda name, arm: {})


def test_published_times_come_back_whole():
    written = json.loads(step_timing.path().read_text())
    assert step_timing.published("cpu") == {"devices": []} | written

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from alexnet_repro.analysis.statistics import DEALS
from alexnet_repro.common.errors import UserError
from alexnet_repro.experiments.cifar_alexnet import TINY_BASELINE
from alexnet_repro.experiments.registry import study
from alexnet_repro.networks.config import CIFAR_ALEXNET
from alexnet_repro.records import pictures as drawn
from alexnet_repro.training import checkpoint, pictures
from alexnet_repro.training.data.images import Images, pixel_mean
from alexnet_repro.training.features import color_index, color_metrics, nearest, nearest_neighbour_metrics
from alexnet_repro.training.models.alexnet import AlexNet


def test_colour_of_a_grey_a_coloured_and_a_mixed_kernel():
    grey = torch.randn(1, 1, 5, 5).expand(1, 3, 5, 5)
    colour = torch.randn(1, 1, 5, 5) * torch.tensor([1.0, -3.0, 2.0]).view(1, 3, 1, 1)
    mixed = torch.zeros(1, 3, 1, 1)
    mixed[0, 0] = 1.0  # grey part (1/3, 1/3, 1/3): a third of the square
    assert color_index(grey).item() == pytest.approx(0, abs=1e-12)
    assert color_index(colour).item() == pytest.approx(1)
    assert color_index(mixed).item() == pytest.approx(2 / 3)
    assert color_index(torch.randn(4000, 3, 5, 5)).mean().item() == pytest.approx(2 / 3, abs=0.01)


def net(**changes):
    return AlexNet(CIFAR_ALEXNET.change(kernels=(8, 8, 8, 8, 8), hidden=16, **changes), 3)


def test_the_untrained_columns_are_alike_and_painted_ones_differ():
    plain = net()
    assert color_metrics(plain, 1)["color_gap_p"] > 0.01
    with torch.no_grad():
        plain.conv1.weight[:4] = plain.conv1.weight[:4].mean(1, keepdim=True)
    painted = color_metrics(plain, 1)
    first, second = (color_index(kernels).mean().item() for kernels in plain.conv1_kernels())
    assert painted["color_gap"] == pytest.approx(abs(first - second))
    # Of the 70 ways to deal eight kernels, this one and its mirror are as wide.
    assert painted["color_gap_p"] == pytest.approx(2 / 70, abs=4 * np.sqrt(2 / 70 / DEALS))
    assert painted["color_gap"] > 2 * painted["color_gap_shuffled"]
    assert painted == color_metrics(plain, 1)


def test_one_column_has_no_gap():
    assert color_metrics(net(columns="half"), 1) == {}


def test_nearest_by_a_full_sort():
    generator = torch.Generator().manual_seed(1)
    queries, among = torch.randn(7, 5, generator=generator), torch.randn(40, 5, generator=generator)
    distances = (queries[:, None] - among).square().sum(2)
    assert torch.equal(nearest(queries, among, 3), distances.argsort(1)[:, :3])


def images(labels, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (len(labels), 3, 24, 24)).astype(np.uint8)
    return Images.of(pixels, np.array(labels, np.uint8), pixel_mean(pixels), 8.0, "cpu")


def test_neighbours_of_the_training_images_themselves():
    train = images([1] * 30, 1)
    found = nearest_neighbour_metrics(net(), train, images([1] * 5, 2))
    assert found == {"knn_features": 1.0, "knn_pixels": 1.0}
    assert nearest_neighbour_metrics(net(), train, images([2] * 5, 2)) == {"knn_features": 0.0, "knn_pixels": 0.0}


def test_pixels_find_the_same_image():
    train = images(list(range(10)) * 2, 1)
    train.pixels[10:] = train.pixels[:10]  # every image twice: two of its six neighbours are sure
    found = nearest_neighbour_metrics(net(), train, train)
    assert found["knn_pixels"] is not None
    assert found["knn_pixels"] >= 2 / 6
    assert net().training


CLASSES = [f"class {number}" for number in range(40)]


@pytest.fixture(scope="module")
def seen():
    """The pictures of an untrained net on noise: 40 classes, three training and two test images of each."""
    config = TINY_BASELINE.changed(**{"data.crop": 24, "model": CIFAR_ALEXNET.change(classes=200).model_dump()})
    train, test = images(list(range(40)) * 3, 5), images(list(range(40)) * 2, 6)
    test.mean = train.mean
    train.pixels[7] = test.pixels[0]  # so that one neighbour is known
    own = AlexNet(CIFAR_ALEXNET.change(kernels=(8, 8, 8, 8, 8), hidden=16, classes=40), 3)
    return config, own, train, test, pictures.pictures(own, config, CLASSES, train, test)


def test_pictures_show_one_image_of_every_fourth_class_and_what_the_net_says(seen):
    _, own, _, test, found = seen
    assert found.labels.tolist() == list(range(0, 40, 4))
    assert own.training
    with torch.no_grad():
        outputs = own.eval()(test.inputs()).softmax(1)
    own.train()
    for image, label, guesses, probabilities in zip(
        found.images, found.labels, found.guesses, found.probabilities, strict=True
    ):
        (place,) = [n for n in (label, label + 40) if np.array_equal(test.pixels[n], image)]
        order = outputs[place].argsort(descending=True)[:5]
        assert guesses.tolist() == order.tolist()
        assert probabilities == pytest.approx(outputs[place][order].numpy(), rel=1e-5)
    ranks = (outputs > outputs.gather(1, test.labels[:, None])).sum(1)
    assert found.right.tolist() == [80, int((ranks == 0).sum()), int((ranks < 5).sum())]
    columns = own.conv1_kernels()
    assert [part.tolist() for part in found.by_column(found.kernels)] == [part.tolist() for part in columns]
    assert found.by_column(found.colour)[1] == pytest.approx(color_index(columns[1]).numpy())


def test_pictures_have_the_neighbours_by_both_distances(seen):
    _, own, train, test, found = seen
    assert found.shown.tolist() == [0, 2, 4, 6, 8]
    assert found.near.shape == (2, 5, 6, 24, 24, 3)
    inputs = test.inputs()
    own.eval()
    with torch.no_grad():
        for kind, of in enumerate((own.features, lambda x: x.flatten(1))):
            near = torch.cdist(of(inputs).double(), of(train.inputs()).double()).argsort(1)[:, :6]
            assert found.same[kind] == pytest.approx(
                (train.labels[near] == test.labels[:, None]).double().mean().item(),
                abs=1 / 480,  # a tie
            )
            for row, place in enumerate(found.shown):
                (query,) = [n for n in range(80) if np.array_equal(test.pixels[n], found.images[place])]
                assert np.array_equal(found.near[kind, row, 0], train.pixels[near[query, 0]])
                assert found.near_labels[kind, row, 0] == train.labels[near[query, 0]]
    own.train()
    assert found.queries == 80


def test_pictures_are_read_as_they_were_written_and_damage_is_one_line(seen, tmp_path):
    path, found = tmp_path / "some" / "pictures.npz", seen[-1]
    drawn.write(path, found)
    again = drawn.read(path)
    for name, values in vars(found).items():
        assert np.array_equal(getattr(again, name), values)
    for damaged in (path.read_bytes()[:-30], None):
        drawn.write(path, found)
        if damaged is None:  # whole, but of other numbers
            with np.load(path) as file:
                arrays = {name: file[name] for name in file.files}
            np.savez(path, **{**arrays, "labels": arrays["labels"] + 1})
        else:
            path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"pictures\.npz is damaged \(.*\): delete it"):
            drawn.read(path)
    np.savez(path, key=np.array("a run"))
    with pytest.raises(UserError, match="is damaged"):
        drawn.read(path)


def test_pictures_of_tiny_imagenet_are_published_once_and_the_pilots_until_the_runs_are(seen, monkeypatch, store):
    _, own, _, test, found = seen
    run, pilot = (study(name).config(arm, study(name).seeds[0]) for name, arm in pictures.SHOWN_RUNS)
    keys = []
    monkeypatch.setattr(store, "published", lambda: dict.fromkeys(keys))
    monkeypatch.setattr(pictures, "network", lambda path, config: own)
    monkeypatch.setattr(pictures, "load", lambda name: SimpleNamespace(
        test_images=np.zeros((1, 3, 64, 64), np.uint8), test_labels=np.zeros(1, np.uint8)
    ))  # fmt: skip
    monkeypatch.setattr(pictures, "parts", lambda *of: (test, None))
    words = SimpleNamespace(words=[f"{name}, synonym" for name in CLASSES])
    monkeypatch.setattr(pictures.tiny_imagenet, "describe", lambda: words)
    monkeypatch.setattr(
        pictures,
        "pictures",
        lambda net, config, classes, *_: replace(found, key=np.array(config.key), classes=np.array(classes)),
    )
    for config in (pilot, run):
        assert not pictures.publish(store)  # no weights, or no record
        checkpoint.save(store.weights(config.key), own.state_dict(), {"key": config.key})
        assert not pictures.publish(store)  # no record
        keys.append(config.key)
        assert pictures.publish(store)
        assert not pictures.publish(store)
        again = drawn.read(drawn.published(store))
        assert again.key == config.key
        assert again.classes.tolist() == CLASSES
        assert list(drawn.faults(store)) == []
    keys.clear()
    (fault,) = drawn.faults(store)
    assert fault.endswith(f"no published run has the key {run.key}")

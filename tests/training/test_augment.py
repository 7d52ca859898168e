import numpy as np
import pytest
import torch

from alexnet_repro.experiments.config import DataConfig
from alexnet_repro.training.data.augment import Augmentation, ColorNoise, Crops, components, cut, draw_crops
from alexnet_repro.training.data.images import Images, pixel_mean

ALL = DataConfig(dataset="sample", train_images=200, divisor=8.0, crop=24, random_crops=True, reflect=True)


def images(n=200, divisor=8.0):
    rng = np.random.default_rng(0)
    # Correlated channels, as in photographs, so that the components differ in size.
    gray, color = rng.integers(0, 200, (n, 1, 32, 32)), rng.integers(0, 56, (n, 3, 32, 32))
    pixels = (gray + color).astype(np.uint8)
    return Images.of(pixels, rng.integers(0, 10, n).astype(np.uint8), pixel_mean(pixels), divisor, "cpu")


def one_by_one(source, index, crops, side):
    """What ``cut`` does, image by image."""
    result = []
    for i, place in enumerate(index.tolist()):
        top, left = int(crops.tops[i]), int(crops.lefts[i])
        image = source.pixels[place].float() - source.mean
        square = image[top : top + side, left : left + side]
        result.append(square.flip(1) if crops.reflected[i] else square)
    return torch.stack(result)


def test_cut_is_a_loop_over_images():
    source, index = images(), torch.randperm(200, generator=torch.Generator().manual_seed(0))[:50]
    crops = draw_crops(ALL, 32, 0, 0, 50)
    assert torch.equal(cut(source, index, crops, 24), one_by_one(source, index, crops, 24))


def test_cut_by_hand():
    pixels = np.arange(12, dtype=np.uint8).reshape(1, 1, 3, 4)[..., :3].repeat(3, axis=1)
    source = Images.of(pixels, np.zeros(1, np.uint8), torch.ones(3, 3, 3), 1.0, "cpu")
    crops = Crops(torch.tensor([1]), torch.tensor([0]), torch.tensor([True]))
    assert cut(source, torch.tensor([0]), crops, 2)[0, :, :, 1].tolist() == [[4.0, 3.0], [8.0, 7.0]]


def test_every_place_and_both_sides_are_equally_likely():
    count = 81 * 2 * 200
    crops = draw_crops(ALL, 32, 0, 0, count)
    places = (crops.tops * 9 + crops.lefts) * 2 + crops.reflected
    seen = torch.bincount(places, minlength=162).numpy()
    assert len(seen) == 162
    # Chi-squared with 161 degrees of freedom: mean 161, standard deviation 18.
    assert ((seen - 200) ** 2 / 200).sum() < 161 + 4 * 18


def test_the_source_shares_crops_in_groups():
    crops = draw_crops(ALL.model_copy(update={"shared_crops": 32}), 32, 0, 0, 100)
    groups = torch.stack([crops.tops, crops.lefts, crops.reflected.long()])
    for start in range(0, 100, 32):
        part = groups[:, start : start + 32]
        assert torch.equal(part, part[:, :1].expand_as(part))
    assert len({tuple(group.tolist()) for group in groups[:, ::32].T}) == 4


def test_one_seed_shares_what_its_runs_have_in_common():
    with_all = draw_crops(ALL, 32, 3, 5, 200)
    still = draw_crops(ALL.model_copy(update={"random_crops": False}), 32, 3, 5, 200)
    unmirrored = draw_crops(ALL.model_copy(update={"reflect": False}), 32, 3, 5, 200)
    assert torch.equal(with_all.reflected, still.reflected)
    assert torch.equal(with_all.tops, unmirrored.tops)
    assert set(still.tops.tolist()) == set(still.lefts.tolist()) == {4}
    assert not unmirrored.reflected.any()
    for seed, epoch in ((4, 5), (3, 6)):
        assert not torch.equal(with_all.tops, draw_crops(ALL, 32, seed, epoch, 200).tops)


def test_components_are_numpys():
    pixels = images(1500).pixels
    values, rows = components(pixels)
    flat = pixels.reshape(-1, 3).double().numpy()
    covariance = np.cov(flat.T, bias=True)
    np.testing.assert_allclose(rows.numpy().T * values.numpy() @ rows.numpy(), covariance, rtol=1e-9, atol=1e-8)
    np.testing.assert_allclose(values.numpy(), np.linalg.eigvalsh(covariance)[::-1], rtol=1e-9)
    np.testing.assert_allclose(rows @ rows.T, np.eye(3), atol=1e-12)
    assert (rows.gather(1, rows.abs().argmax(1, keepdim=True)) > 0).all()


@pytest.mark.parametrize("reading", ["paper", "source"])
def test_color_noise_has_the_moments_of_its_reading(reading):
    noise = ColorNoise.of(images().pixels, reading)
    drawn = noise.draw(0, 0, 200_000).double().numpy()
    values, rows = (t.numpy() for t in components(images().pixels))
    sizes = 0.1 * (values / 255 if reading == "paper" else np.sqrt(values))
    expected = rows.T * sizes**2 @ rows
    assert np.abs(drawn.mean(0)).max() < 5 * sizes[0] / np.sqrt(200_000)
    np.testing.assert_allclose(np.cov(drawn.T), expected, atol=0.02 * expected.max())
    assert noise.divisor == (1.0 if reading == "paper" else 1.1)


@pytest.mark.parametrize("reading", ["none", "paper", "source"])
def test_a_batch_is_crop_plus_noise(reading):
    source, config = images(), ALL.model_copy(update={"color_noise": reading})
    augmentation = Augmentation(config, source, seed=1)
    augmentation.start(2)
    order, part = torch.randperm(200, generator=torch.Generator().manual_seed(1)), slice(64, 128)
    inputs, labels = augmentation.batch(order[part], part)
    crops = draw_crops(config, 32, 1, 2, 200)[part]
    expected = one_by_one(source, order[part], crops, 24)
    divisor = 8.0
    if reading != "none":
        noise = ColorNoise.of(source.pixels, reading)
        expected, divisor = expected + noise.draw(1, 2, 200)[part, None, None], 8.0 * noise.divisor
    assert torch.equal(inputs, (expected / divisor).permute(0, 3, 1, 2))
    assert inputs.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(labels, source.labels[order[part]])

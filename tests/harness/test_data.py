"""Names and facts of data sets, the packaged and synthetic ones, and batches of them."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import pytest
import torch
from torch import Tensor

from harness import data
from harness.data.base import Dataset, StoredSplit
from harness.errors import DataError

PACKAGED = [name for name in data.names() if data.describe(name).source == "package"]
SYNTHETIC = "synthetic-3x8x12-7"
LOADABLE = [*PACKAGED, SYNTHETIC]

# sha256 of the bytes of the training and the test images.
DIGESTS = {
    "fashion-mini": (
        "3b3073487874bbec23fc2d6c2300d24dedd429d716015275df3fc33e1a27c93e",
        "818adc94ba7f2daaeee1d67ab4aee332b64e61b975f67bc7d763db558ca8f081",
    ),
    "fashion-mini-color": (
        "24a8fcec98a856c3b397ee79a13d6b2b78b50d88aeb2e9ed2ebc9ba2e4b83e33",
        "6ce5963a7cd8c36aeda542395f62c87e268911c358c9cea76d028e4cf4df3b45",
    ),
    "digits": (
        "0389ba63bb9f5eba98c6877bd0d3cc28c64f0116667e448c90c56baa0a5d2f56",
        "504b9434d3e50babf5787ff2ed8516d12d1e0df17c5149f5a1259890d2afa247",
    ),
}


@pytest.fixture(scope="module")
def sets() -> dict[str, Dataset]:
    return {name: data.load(name) for name in LOADABLE}


def everything(split: StoredSplit) -> Tensor:
    return split.images(torch.arange(len(split)))


def test_names_and_facts_need_no_torch() -> None:
    code = (
        "import sys, harness.data as d; d.describe(d.names()[0]); d.describe('synthetic-1x2x3-4');"
        "sys.exit('torch' in sys.modules or 'torchvision' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_embedded_data_never_import_torchvision() -> None:
    code = (
        "import sys, harness.data as d; d.load('digits'); d.load('synthetic-1x2x3-4');"
        "sys.exit('torchvision' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", LOADABLE)
def test_sizes_shapes_and_dtypes_are_those_of_the_facts(
    name: str, sets: dict[str, Dataset]
) -> None:
    facts = data.describe(name)
    loaded = sets[name]
    assert loaded.facts == facts
    assert (len(loaded.train), len(loaded.test)) == (facts.train, facts.test)
    assert len(loaded.classes) == facts.num_classes
    x, y = next(loaded.batches("train", 5))
    assert (x.shape, x.dtype) == ((5, *facts.shape), torch.float32)
    assert (y.shape, y.dtype) == ((5,), torch.int64)


@pytest.mark.parametrize("name", LOADABLE)
def test_classes_are_balanced(name: str, sets: dict[str, Dataset]) -> None:
    for split in (sets[name].train, sets[name].test):
        counts = torch.bincount(split.labels, minlength=sets[name].facts.num_classes)
        assert counts.min() > 0
        # the digits were never balanced: 174 to 183 of each
        assert counts.max() - counts.min() <= (9 if name == "digits" else 1)


def test_every_fashion_class_has_500_and_100_images(sets: dict[str, Dataset]) -> None:
    for name in ("fashion-mini", "fashion-mini-color"):
        assert torch.bincount(sets[name].train.labels).tolist() == [500] * 10
        assert torch.bincount(sets[name].test.labels).tolist() == [100] * 10


@pytest.mark.parametrize("name", PACKAGED)
def test_no_image_occurs_twice_in_training_and_test(name: str, sets: dict[str, Dataset]) -> None:
    splits = sets[name].train, sets[name].test
    images = [image.numpy().tobytes() for split in splits for image in split.pixels]
    assert len(set(images)) == len(images)


@pytest.mark.parametrize("name", PACKAGED)
def test_pixels_are_these_on_every_machine(name: str, sets: dict[str, Dataset]) -> None:
    splits = sets[name].train, sets[name].test
    found = tuple(hashlib.sha256(split.pixels.numpy().tobytes()).hexdigest() for split in splits)
    assert found == DIGESTS[name]


@pytest.mark.parametrize("name", PACKAGED)
def test_normalised_images_have_mean_0_and_deviation_1(name: str, sets: dict[str, Dataset]) -> None:
    images = everything(sets[name].train)
    assert images.mean((0, 2, 3)).abs().max() < 0.01
    assert (images.std((0, 2, 3)) - 1).abs().max() < 0.01
    pixels = sets[name].train.pixels
    assert pixels.max() == data.describe(name).brightest
    black = -torch.tensor(data.describe(name).mean) / torch.tensor(data.describe(name).std)
    torch.testing.assert_close(images.amin((0, 2, 3)), black)


def test_colour_images_are_the_grey_ones_blended(sets: dict[str, Dataset]) -> None:
    grey, colour = sets["fashion-mini"].train, sets["fashion-mini-color"].train
    assert torch.equal(grey.labels, colour.labels)
    channels = colour.pixels[:, :, 2:-2, 2:-2].float()
    inside = grey.pixels > 200  # |patch - white| is dark where the patch is bright
    assert channels.mean(1, keepdim=True)[inside].mean() < channels.mean() + 10
    spread = channels.amax(1) - channels.amin(1)
    assert spread.mean() > 20  # colourful, not grey
    border = colour.pixels[:, :, :2].float()
    step = (border[..., 1:] - border[..., :-1]).abs().mean()
    assert step < 20  # smooth: the patch alone, a few levels from pixel to pixel


@pytest.mark.parametrize("name", LOADABLE)
def test_loading_twice_gives_the_same_batches(name: str, sets: dict[str, Dataset]) -> None:
    again = data.load(name)
    for split in ("train", "test"):
        first, second = (next(loaded.batches(split, 9, seed=3)) for loaded in (sets[name], again))
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("name", ["digits", "fashion-mini"])
@pytest.mark.parametrize("drop_last", [False, True])
def test_one_pass_gives_every_training_image_once(
    name: str, drop_last: bool, sets: dict[str, Dataset]
) -> None:
    split = sets[name].train
    batches = list(sets[name].batches("train", 100, seed=1, drop_last=drop_last))
    whole, rest = divmod(len(split), 100)
    sizes = [len(y) for _, y in batches]
    assert sizes == [100] * whole + ([rest] if rest and not drop_last else [])
    seen = {image.numpy().tobytes() for x, _ in batches for image in x}
    assert len(seen) == sum(sizes)


def test_images_stay_with_their_labels(sets: dict[str, Dataset]) -> None:
    split = sets["digits"].train
    label_of = {
        image.numpy().tobytes(): label
        for image, label in zip(everything(split), split.labels.tolist(), strict=True)
    }
    for x, y in sets["digits"].batches("train", 64, seed=5):
        assert [label_of[image.numpy().tobytes()] for image in x] == y.tolist()


def order(loaded: Dataset, split: str, **options: int) -> list[int]:
    return next(loaded.batches(split, 50, **options))[1].tolist()


def test_the_order_follows_seed_and_epoch_in_training_alone(sets: dict[str, Dataset]) -> None:
    digits = sets["digits"]
    reference = order(digits, "train", seed=1, epoch=2)
    assert order(digits, "train", seed=1, epoch=2) == reference
    assert order(digits, "train", seed=2, epoch=2) != reference
    assert order(digits, "train", seed=1, epoch=3) != reference
    assert order(digits, "train", seed=2, epoch=1) != reference
    assert order(digits, "test", seed=1) == order(digits, "test", seed=2, epoch=9)
    assert order(digits, "test") == digits.test.labels[:50].tolist()


def test_batches_are_the_callers_to_change(sets: dict[str, Dataset]) -> None:
    first = next(sets["digits"].batches("test", 10))[0]
    kept = first.clone()
    first.zero_()
    assert torch.equal(next(sets["digits"].batches("test", 10))[0], kept)


def test_synthetic_images_do_not_depend_on_the_batch(sets: dict[str, Dataset]) -> None:
    split = sets[SYNTHETIC].train
    together = split.images(torch.tensor([4, 59_999, 7]))
    assert torch.equal(split.images(torch.tensor([7])), together[2:])
    assert not torch.equal(together[0], together[1])
    assert not torch.equal(
        split.images(torch.tensor([4])), sets[SYNTHETIC].test.images(torch.tensor([4]))
    )
    assert together.mean().abs() < 0.2
    assert (together.std() - 1).abs() < 0.2


def test_a_linear_classifier_learns_the_digits(sets: dict[str, Dataset]) -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(2):
        for x, y in sets["digits"].batches("train", 32, epoch=epoch):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
    x, y = next(sets["digits"].batches("test", 360))
    assert (model(x).argmax(1) == y).float().mean() > 0.8


def test_an_unknown_name_lists_the_legal_ones_and_the_nearest() -> None:
    with pytest.raises(DataError, match="did you mean 'fashion-mini'") as caught:
        data.load("fashion_mini")
    assert all(name in str(caught.value) for name in [*data.names(), data.SYNTHETIC])


@pytest.mark.parametrize(
    "name",
    [
        "synthetic",
        "synthetic-3x-10",
        "synthetic-3x32x32",
        "synthetic-0x8x8-2",
        "synthetic-1x8x8-0",
        "synthetic--1x8x8-2",
        "synthetic-3x32x32-10 ",
        "synthetic-axbxc-d",
    ],
)
def test_a_malformed_synthetic_name_shows_how_to_form_one(name: str) -> None:
    with pytest.raises(DataError, match=r"synthetic-CxHxW-K.*'synthetic-3x32x32-10'"):
        data.describe(name)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("valid", 8), {}, "unknown split 'valid'.*legal: test, train"),
        (("train", 0), {}, "batch for 'train' of data set 'digits' is 0; legal: .* at least 1"),
        (("train", True), {}, "legal: a whole number"),
        (("train", 2.0), {}, "legal: a whole number"),
        (("train", 1438), {"drop_last": True}, "1438; legal: a whole number from 1 to 1437"),
        (("train", 8), {"seed": -1}, "seed .* is -1"),
        (("train", 8), {"seed": 2**32}, "legal: a whole number from 0 to 4294967295"),
        (("train", 8), {"epoch": -1}, "epoch .* is -1"),
    ],
)
def test_wrong_arguments_are_refused_before_the_first_batch(
    arguments: tuple[str, int],
    options: dict[str, int],
    message: str,
    sets: dict[str, Dataset],
) -> None:
    with pytest.raises(DataError, match=message):
        sets["digits"].batches(*arguments, **options)


@pytest.mark.parametrize(
    ("pixels", "labels"),
    [
        (torch.zeros(4, 1, 8, 8), torch.zeros(4)),
        (torch.zeros(4, 3, 8, 8, dtype=torch.uint8), torch.zeros(4)),
        (torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.zeros(3)),
        (torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.full((4,), 10)),
        (torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.full((4,), -1)),
    ],
)
def test_data_that_contradict_their_facts_are_refused(pixels: Tensor, labels: Tensor) -> None:
    with pytest.raises(DataError, match=r"'digits' does not hold what it should.*\[N, 1, 8, 8\]"):
        StoredSplit(data.describe("digits"), pixels, labels)

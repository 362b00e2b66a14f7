"""The cutting scripts choose evenly, repeat byte for byte, and notice a difference."""

from __future__ import annotations

import gzip
import importlib
import struct
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
DEBIAN = Path("/usr/share/datasets/fashion-mnist")


@pytest.fixture
def fashion(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("cut_fashion_mini")


@pytest.fixture
def digits(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("cut_digits")


def write_fashion(folder: Path, per_class: int) -> None:
    generator = np.random.RandomState(0)
    for prefix in ("train", "t10k"):
        labels = generator.permutation(np.repeat(np.arange(10, dtype=np.uint8), per_class))
        images = generator.randint(0, 256, (len(labels), 28, 28), dtype=np.uint8)
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
            path = folder / f"{prefix}-{kind}-ubyte.gz"
            path.write_bytes(gzip.compress(header + array.tobytes(), 1))


def test_the_subset_is_balanced_and_repeats_byte_for_byte(
    fashion: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_fashion(tmp_path, 600)
    out = tmp_path / "mini.npz"
    assert fashion.main([str(tmp_path), "--out", str(out)]) == 0
    first = out.read_bytes()
    assert fashion.main([str(tmp_path), "--out", str(out)]) == 0
    assert out.read_bytes() == first
    assert fashion.main([str(tmp_path), "--out", str(out), "--check"]) == 0
    assert "byte for byte" in capsys.readouterr().out
    with np.load(out) as kept:
        assert kept["train_x"].shape == (5000, 28, 28)
        assert np.bincount(kept["train_y"]).tolist() == [500] * 10
        assert np.bincount(kept["test_y"]).tolist() == [100] * 10
        assert {array.dtype for array in kept.values()} == {np.dtype(np.uint8)}


def test_the_check_notices_one_other_pixel(
    fashion: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_fashion(tmp_path, 500)
    out = tmp_path / "mini.npz"
    arrays = fashion.cut(tmp_path)
    arrays["test_x"][3, 14, 14] ^= 1
    np.savez(out, **arrays)
    before = out.read_bytes()
    assert fashion.main([str(tmp_path), "--out", str(out), "--check"]) == 1
    assert "DIFFERS" in capsys.readouterr().out
    assert out.read_bytes() == before


def test_too_few_images_of_a_class_are_refused(fashion: ModuleType, tmp_path: Path) -> None:
    write_fashion(tmp_path, 400)
    with pytest.raises(ValueError, match="larger sample"):
        fashion.cut(tmp_path)


def test_digits_are_divided_36_a_class_and_none_is_lost(digits: ModuleType, tmp_path: Path) -> None:
    labels = np.repeat(np.arange(10), 50)
    rows = np.column_stack([np.random.RandomState(0).randint(0, 17, (500, 64)), labels])
    source = tmp_path / "digits.csv.gz"
    np.savetxt(source, rows, fmt="%d", delimiter=",")
    arrays = digits.cut(source)
    assert np.bincount(arrays["test_y"]).tolist() == [36] * 10
    assert np.bincount(arrays["train_y"]).tolist() == [14] * 10
    images = [tuple(x.ravel()) for split in ("train", "test") for x in arrays[f"{split}_x"]]
    assert sorted(images) == sorted(map(tuple, rows[:, :64]))


@pytest.mark.skipif(
    not DEBIAN.is_dir(), reason="the Debian package dataset-fashion-mnist is absent"
)
def test_the_packaged_subset_repeats_from_its_source(fashion: ModuleType) -> None:
    assert fashion.main([str(DEBIAN), "--check"]) == 0

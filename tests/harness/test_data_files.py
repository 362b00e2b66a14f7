"""Data sets of the user's own files: real formats, found, absent, damaged."""

from __future__ import annotations

import gzip
import hashlib
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from harness import data
from harness.data import files
from harness.data.idx import read_idx
from harness.data.torchvision_door import datasets
from harness.errors import DataError

GENERATOR = np.random.RandomState(0)


def idx_bytes(array: np.ndarray) -> bytes:
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return header + array.tobytes()


def write_fashion(root: Path, file_set: str) -> dict[str, np.ndarray]:
    """Seven training and three test images; gives what was written."""
    folder = root / file_set
    folder.mkdir(parents=True)
    written = {}
    for prefix, count in (("train", 7), ("t10k", 3)):
        written[f"{prefix}-images-idx3"] = GENERATOR.randint(0, 256, (count, 28, 28), np.uint8)
        written[f"{prefix}-labels-idx1"] = GENERATOR.randint(0, 10, count, np.uint8)
    for name, array in written.items():
        if file_set == "fashion-mnist":
            (folder / f"{name}-ubyte.gz").write_bytes(gzip.compress(idx_bytes(array)))
        else:
            (folder / f"{name}-ubyte").write_bytes(idx_bytes(array))
    return written


def old_pickle(content: object) -> bytes:
    """A pickle as Python 2 and the numpy of 2009 wrote it, like the published CIFAR files.

    Their dtypes carry the integers 0 and 1 where today's carry False and True.
    """
    today = pickle.dumps(content, protocol=2)
    return today.replace(b"\x89\x88\x87", b"K\x00K\x01\x87")  # False, True, tuple of three


def write_cifar(
    root: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> dict[str, list[tuple[np.ndarray, list[int]]]]:
    """Two images a file in the real structure; torchvision is told the new checksums."""
    reader = getattr(datasets(), "CIFAR10" if name == "cifar10" else "CIFAR100")
    folder = root / reader.base_folder
    folder.mkdir(parents=True)
    key, classes = ("labels", 10) if name == "cifar10" else ("fine_labels", 100)
    written: dict[str, list[tuple[np.ndarray, list[int]]]] = {}
    for attribute in ("train_list", "test_list"):
        listed = []
        for file, _ in getattr(reader, attribute):
            pixels = GENERATOR.randint(0, 256, (2, 3072), np.uint8)
            labels = GENERATOR.randint(0, classes, 2).tolist()
            content = old_pickle({"data": pixels, key: labels, "filenames": ["a", "b"]})
            assert b"K\x00K\x01\x87" in content
            (folder / file).write_bytes(content)
            listed.append([file, hashlib.md5(content).hexdigest()])
            written.setdefault(attribute, []).append((pixels, labels))
        monkeypatch.setattr(reader, attribute, listed)
    meta = old_pickle({reader.meta["key"]: [f"class {n}" for n in range(classes)]})
    (folder / reader.meta["filename"]).write_bytes(meta)
    monkeypatch.setattr(reader, "meta", reader.meta | {"md5": hashlib.md5(meta).hexdigest()})
    return written


@pytest.mark.parametrize("file_set", ["FashionMNIST/raw", "fashion-mnist"])
def test_fashion_mnist_from_either_file_set(file_set: str, tmp_path: Path) -> None:
    written = write_fashion(tmp_path, file_set)
    loaded = data.load("fashion-mnist", root=tmp_path)
    assert loaded.classes[0] == "T-shirt/top"
    assert len(loaded.classes) == 10
    for split, prefix in ((loaded.train, "train"), (loaded.test, "t10k")):
        assert np.array_equal(split.pixels.numpy()[:, 0], written[f"{prefix}-images-idx3"])
        assert np.array_equal(split.labels.numpy(), written[f"{prefix}-labels-idx1"])
    x, _ = next(loaded.batches("test", 3))
    expected = torch.from_numpy(written["t10k-images-idx3"])[:, None] / 255
    torch.testing.assert_close(x, (expected - 0.2860) / 0.3530)


@pytest.mark.parametrize(("name", "classes"), [("cifar10", 10), ("cifar100", 100)])
def test_cifar_from_files_in_the_published_format(
    name: str, classes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = write_cifar(tmp_path, name, monkeypatch)
    monkeypatch.setenv("RATEBP_DATA", str(tmp_path))
    loaded = data.load(name)
    assert loaded.classes == tuple(f"class {n}" for n in range(classes))
    for split, attribute in ((loaded.train, "train_list"), (loaded.test, "test_list")):
        pixels = np.concatenate([part for part, _ in written[attribute]])
        # a row holds all of red, then green, then blue, each line by line
        assert np.array_equal(split.pixels.numpy(), pixels.reshape(-1, 3, 32, 32))
        assert split.pixels.is_contiguous()
        assert split.labels.tolist() == [n for _, labels in written[attribute] for n in labels]


def test_a_damaged_cifar_file_is_named_as_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_cifar(tmp_path, "cifar10", monkeypatch)
    damaged = tmp_path / "cifar-10-batches-py" / "data_batch_3"
    damaged.write_bytes(damaged.read_bytes()[:-5])
    with pytest.raises(DataError, match=r"'cifar10' below .* cannot be read: .*get them afresh"):
        data.load("cifar10", root=tmp_path)


def test_a_cut_fashion_file_is_named_as_damaged(tmp_path: Path) -> None:
    write_fashion(tmp_path, "FashionMNIST/raw")
    path = tmp_path / "FashionMNIST/raw/t10k-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"'fashion-mnist' below .* cannot be read"):
        data.load("fashion-mnist", root=tmp_path)


@pytest.mark.parametrize("name", list(files.WANTED))
def test_without_a_folder_the_error_says_how_to_name_one(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RATEBP_DATA", raising=False)
    with pytest.raises(
        DataError, match=r"no folder was named.*RATEBP_DATA to the folder"
    ) as caught:
        data.load(name)
    assert "Nothing is downloaded" in str(caught.value)


@pytest.mark.parametrize("name", list(files.WANTED))
def test_every_missing_file_and_folder_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"{name!r} needs files that are not there") as caught:
        files.locate(name, tmp_path)
    for file_set in files.WANTED[name].file_sets:
        assert str(tmp_path / file_set.folder) in str(caught.value)
        assert all(file in str(caught.value) for file in file_set.files)


def test_a_single_missing_file_is_named_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_cifar(tmp_path, "cifar10", monkeypatch)
    (tmp_path / "cifar-10-batches-py" / "test_batch").unlink()
    with pytest.raises(DataError, match="not there: test_batch in"):
        data.load("cifar10", root=tmp_path)


def test_the_argument_goes_before_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RATEBP_DATA", str(tmp_path / "elsewhere"))
    write_fashion(tmp_path / "here", "fashion-mnist")
    file_set, folder = files.locate("fashion-mnist", tmp_path / "here")
    assert (file_set.reader, folder) == ("idx", tmp_path / "here")


def test_every_data_set_that_needs_files_says_what_it_looks_for() -> None:
    needing = {name for name in data.names() if data.describe(name).source == "files"}
    assert needing == set(files.WANTED)


def test_the_lists_of_files_are_those_of_torchvision() -> None:
    for name in ("cifar10", "cifar100"):
        reader = getattr(datasets(), name.upper())
        listed = {file for file, _ in reader.train_list + reader.test_list}
        (file_set,) = files.WANTED[name].file_sets
        assert file_set.folder == reader.base_folder
        assert set(file_set.files) == listed | {reader.meta["filename"]}


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("shape", [(5,), (2, 3, 4), (0, 28, 28)])
def test_idx_round_trip(suffix: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    array = GENERATOR.randint(0, 256, shape, np.uint8)
    path = tmp_path / f"file{suffix}"
    path.write_bytes(gzip.compress(idx_bytes(array)) if suffix else idx_bytes(array))
    found = read_idx(path)
    assert np.array_equal(found, array)
    assert found.dtype == np.uint8
    assert found.flags.writeable


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\x00\x08",
        b"\x00\x00\x08\x03\x00\x00\x00\x01",
        idx_bytes(np.zeros(5, np.uint8))[:-1],
        idx_bytes(np.zeros(5, np.uint8)) + b"x",
        b"\x00\x00\x0d" + idx_bytes(np.zeros(4, np.uint8))[3:],
        b"\x01\x00" + idx_bytes(np.zeros(4, np.uint8))[2:],
    ],
)
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_damaged_idx_file_is_refused_by_name(content: bytes, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"bad{suffix}"
    path.write_bytes(content)  # under .gz not even a gzip file
    with pytest.raises(DataError, match=rf"bad{suffix} .*Get it afresh"):
        read_idx(path)


def test_a_gzip_file_with_a_flipped_byte_is_refused_by_name(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(idx_bytes(GENERATOR.randint(0, 256, 5000, np.uint8))))
    path = tmp_path / "bad.gz"
    for place in (20, 2000, len(packed) - 6):
        path.write_bytes(packed[:place] + bytes([packed[place] ^ 255]) + packed[place + 1 :])
        with pytest.raises(DataError, match=r"bad\.gz .*Get it afresh"):
            read_idx(path)

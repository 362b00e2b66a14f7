"""The library of the C++ kernels: how it is built, where it is kept, what is loaded."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from ratebp.ops import cpp
from tests.ratebp.test_backends import QUIET, python

Settings = dict[str, str]
SHOW = "import ratebp.ops; print(ratebp.ops.backend('cpu'))"
NEEDS_KERNELS = pytest.mark.skipif(bool(cpp.missing()), reason=cpp.missing())


def kept(folder: Path) -> Path:
    """Return the one library in a cache folder."""
    (found,) = folder.rglob("*.so")
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a library as the compiler makes it."""
    folder = tmp_path_factory.mktemp("built")
    assert python(SHOW, XDG_CACHE_HOME=str(folder)).stdout.split() == ["cpp"]
    return kept(folder)


@pytest.fixture
def compiler(whole: Path, tmp_path: Path) -> str:
    """Return a compiler that takes no time: it hands out that library."""
    file = tmp_path / "c++"
    file.write_text(f"#!/bin/sh\nwhile [ $1 != -o ]; do shift; done\ncat {whole} > $2\n")
    file.chmod(0o755)
    return str(file)


@pytest.fixture
def settings(compiler: str, tmp_path: Path) -> Settings:
    """Return the settings of a process that finds a library in its cache folder."""
    (tmp_path / "temporary").mkdir()
    found = {
        "CXX": compiler,
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "TMPDIR": str(tmp_path / "temporary"),
    }
    done = python(SHOW, **found)
    assert (done.stdout.split(), done.stderr) == (["cpp"], "")
    return found


@pytest.fixture
def cache(settings: dict[str, str]) -> Path:
    """Return that cache folder."""
    return Path(settings["XDG_CACHE_HOME"])


@pytest.mark.deep
@NEEDS_KERNELS
@pytest.mark.parametrize("words", ["{} -pipe", "env LC_ALL=C '{}'"])
def test_cxx_is_read_as_a_shell_does(words: str, compiler: str, tmp_path: Path) -> None:
    named = words.format(compiler)
    done = python(SHOW, CXX=named, XDG_CACHE_HOME=str(tmp_path))
    assert done.stdout.split() == ["cpp"], done.stderr
    assert done.stderr == ""


@pytest.mark.deep
@pytest.mark.parametrize("named", ["ccache-of-nobody g++", "'g++"])
def test_a_cxx_that_cannot_be_used_is_told_once(named: str) -> None:
    done = python(f"{SHOW}; print(ratebp.ops.backend('cpu'))", CXX=named)
    assert done.stdout.split() == ["torch", "torch"], done.stderr
    assert done.stderr.count("is no command of this machine. Torch's operators run.") == 1
    assert "install g++ or clang, or name one in CXX" in done.stderr


@pytest.mark.deep
@NEEDS_KERNELS
@pytest.mark.parametrize("size", [0, 4096])
def test_a_library_that_was_cut_off_is_built_anew(
    size: int, settings: Settings, cache: Path
) -> None:
    whole = kept(cache).read_bytes()
    kept(cache).write_bytes(whole[:size])
    done = python(SHOW, **settings)
    assert done.stdout.split() == ["cpp"], done.stderr
    assert done.stderr.count("is damaged") == 1
    assert "built anew" in done.stderr
    assert len(kept(cache).read_bytes()) == len(whole)


@NEEDS_KERNELS
def test_a_library_that_was_changed_is_built_anew(settings: Settings, cache: Path) -> None:
    whole = bytearray(kept(cache).read_bytes())
    whole[len(whole) // 2] ^= 1
    kept(cache).write_bytes(whole)
    done = python(SHOW, **settings)
    assert (done.stdout.split(), done.stderr.count("is damaged")) == (["cpp"], 1), done.stderr


@pytest.mark.deep
@NEEDS_KERNELS
@pytest.mark.parametrize("umask", [0o000, 0o777])
def test_what_is_kept_is_for_this_user_alone(umask: int, compiler: str, tmp_path: Path) -> None:
    place = tmp_path / "not" / "yet"
    code = f"import os; os.umask({umask}); {SHOW}"
    done = python(code, CXX=compiler, XDG_CACHE_HOME=str(place))
    assert (done.stdout.split(), done.stderr) == (["cpp"], "")
    for made in (tmp_path / "not", place, *place.rglob("*")):
        assert made.stat().st_mode & 0o777 == (0o700 if made.is_dir() else 0o600), made


@NEEDS_KERNELS
@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_a_library_that_others_may_write_is_not_loaded(
    mode: int, settings: Settings, cache: Path
) -> None:
    kept(cache).chmod(mode)
    done = python(SHOW, **settings)
    assert done.stdout.split() == ["cpp"], done.stderr
    assert "other users may write" in done.stderr
    assert kept(cache).stat().st_mode & 0o777 == 0o600


@pytest.mark.deep
@NEEDS_KERNELS
@pytest.mark.parametrize("which", ["ratebp", "ratebp/*"])
def test_a_folder_that_others_may_write_is_not_used(
    which: str, settings: Settings, cache: Path
) -> None:
    (folder,) = cache.glob(which)
    folder.chmod(0o770)
    done = python(SHOW, **settings)
    assert f"other users may write {folder}" in done.stderr
    assert "chmod go-w" in done.stderr
    assert done.stdout.split() == ["cpp"], done.stderr
    (made,) = Path(settings["TMPDIR"]).glob("ratebp-*")
    assert made.stat().st_mode & 0o777 == 0o700


@pytest.mark.deep
@NEEDS_KERNELS
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another user")
@pytest.mark.parametrize("which", ["ratebp", "ratebp/*", "ratebp/*/*.so"])
def test_what_another_user_owns_is_not_loaded(which: str, settings: Settings, cache: Path) -> None:
    (given,) = cache.glob(which)
    os.chown(given, 12345, 12345)
    done = python(SHOW, **settings)
    assert f"{given} belongs to another user, number 12345" in done.stderr
    assert done.stdout.split() == ["cpp"], done.stderr


@pytest.mark.deep
@NEEDS_KERNELS
def test_no_folder_of_ones_own_runs_torch_and_says_so(compiler: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    place = str(tmp_path / "file")
    code = f"import tempfile; tempfile.tempdir = {place!r}; {SHOW}"
    done = python(code, CXX=compiler, XDG_CACHE_HOME=place)
    assert done.stdout.split() == ["torch"], done.stderr
    assert "no folder to keep them in" in done.stderr


@pytest.mark.deep
@NEEDS_KERNELS
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run as a user that is not listed")
def test_a_user_without_a_name_or_a_home() -> None:
    """As in a container: no entry in the password file and no HOME."""
    code = f"import ratebp.ops, os; os.setgid(54321); os.setuid(54321); {SHOW}"
    environment = {k: v for k, v in QUIET.items() if k not in ("HOME", "XDG_CACHE_HOME")}
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o777)
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment | {"TMPDIR": folder},
            capture_output=True,
            text=True,
        )
        assert done.stdout.split() == ["cpp"], done.stderr
        assert "this user has no home folder (set HOME or XDG_CACHE_HOME)" in done.stderr
        assert (Path(folder) / "ratebp-54321").stat().st_mode & 0o777 == 0o700

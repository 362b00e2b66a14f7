"""Which implementation runs where, and how to force one."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch

from ratebp.errors import OptionError
from ratebp.ops import BACKENDS, backend, lif_scan, native, using
from ratebp.ops.backends import VARIABLE
from tests.ratebp.kernels.common import INSTALLED, MISSING

QUIET = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], env=QUIET | environment, capture_output=True, text=True
    )


@pytest.mark.skipif(bool(native.missing()), reason=native.missing())
def test_a_cpu_runs_cpp() -> None:
    assert backend("cpu") == backend(torch.device("cpu")) == "cpp"


def test_meta_tensors_run_torch() -> None:
    assert backend("meta") == "torch"


def test_a_cpu_without_a_compiler_runs_torch() -> None:
    code = """
import ratebp.ops, torch
from ratebp.dynamics import Dynamics
print(ratebp.ops.backend("cpu"), ratebp.ops.lif_scan(torch.ones(2, 3), Dynamics()).sum().item())
with ratebp.ops.using("cpp"):
    ratebp.ops.lif_scan(torch.ones(2, 3), Dynamics())
"""
    done = python(code, CXX="no-such-compiler")
    assert done.stdout.split() == ["torch", "6.0"], done.stderr
    assert "'cpp' cannot run on cpu: there is no C++ compiler (install g++" in done.stderr


def test_a_compiler_that_fails_is_told_once(tmp_path: Path) -> None:
    broken = tmp_path / "c++"
    broken.write_text("#!/bin/sh\necho 'no room for vectors' >&2\nexit 1\n")
    broken.chmod(0o755)
    code = """
import ratebp.ops
print(ratebp.ops.backend("cpu"), ratebp.ops.backend("cpu"))
"""
    done = python(code, CXX=str(broken), XDG_CACHE_HOME=str(tmp_path))
    assert done.stdout.split() == ["torch", "torch"], done.stderr
    assert done.stderr.count("no room for vectors. Torch's operators run.") == 1
    assert not list(tmp_path.rglob("*.so"))


@pytest.mark.skipif(bool(native.missing()), reason=native.missing())
def test_kernels_are_built_once_for_a_machine(tmp_path: Path) -> None:
    code = "import ratebp.ops; print(ratebp.ops.backend('cpu'))"
    settings = {"XDG_CACHE_HOME": str(tmp_path)}
    assert python(code, **settings).stdout.split() == ["cpp"]
    (library,) = tmp_path.rglob("*.so")
    before = library.stat()
    assert python(code, **settings).stdout.split() == ["cpp"]
    assert list(tmp_path.rglob("*.so")) == [library]
    assert library.stat().st_mtime_ns == before.st_mtime_ns


def test_forced_to_torch_and_back() -> None:
    with using("torch"):
        assert backend("cuda:1") == "torch"
        with pytest.raises(ZeroDivisionError), using("torch"):
            raise ZeroDivisionError
        assert backend("cuda") == "torch"


def test_unknown_backends_are_refused() -> None:
    with pytest.raises(OptionError, match="Legal: cpp, torch, triton"), using("cuda"):
        pass
    done = python("import ratebp", **{VARIABLE: "tritn"})
    assert done.returncode == 1
    assert f"Did you mean 'triton'? Legal: {', '.join(sorted(BACKENDS))}." in done.stderr
    assert VARIABLE in done.stderr


def test_triton_cannot_be_forced_where_it_cannot_run() -> None:
    code = (
        "import torch; from ratebp.dynamics import Dynamics; from ratebp.ops import lif_scan; "
        "lif_scan(torch.ones(2, 3), Dynamics())"
    )
    done = python(code, **{VARIABLE: "triton"})
    assert done.returncode == 1
    assert "operator backend 'triton' cannot run on cpu: " in done.stderr
    assert "Legal there: torch" in done.stderr


def test_nothing_needs_triton() -> None:
    """Where the package is missing, or just not asked for, everything runs on torch."""
    code = """
import importlib.util, sys
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "triton" else find(name, *rest)
sys.modules["triton"] = None
import torch, ratebp.ops
from ratebp.dynamics import Dynamics
torch.cuda.is_available = lambda: True
print(ratebp.ops.backend("cuda"), ratebp.ops.lif_scan(torch.ones(2, 3), Dynamics()).sum().item())
"""
    done = python(code)
    assert done.stdout.split() == ["torch", "6.0"], done.stderr


@pytest.mark.skipif(not INSTALLED, reason=MISSING)
def test_a_cuda_device_runs_triton_and_the_import_waits() -> None:
    code = """
import sys, torch, ratebp, ratebp.ops
assert "triton" not in sys.modules
torch.cuda.is_available = lambda: True
print(ratebp.ops.backend("cuda"), ratebp.ops.backend("cuda:1"), ratebp.ops.backend("cpu"))
"""
    done = python(code)
    own = "torch" if native.missing() else "cpp"
    assert done.stdout.split() == ["triton", "triton", own], done.stderr


def test_what_is_dispatched_keeps_its_name_and_docstring() -> None:
    assert lif_scan.__name__ == "lif_scan"
    assert "[T, B, ...]" in (lif_scan.__doc__ or "")


Settings = dict[str, str]
SHOW = "import ratebp.ops; print(ratebp.ops.backend('cpu'))"
NEEDS_KERNELS = pytest.mark.skipif(bool(native.missing()), reason=native.missing())


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


@NEEDS_KERNELS
@pytest.mark.parametrize("words", ["{} -pipe", "env LC_ALL=C '{}'"])
def test_cxx_is_read_as_a_shell_does(words: str, compiler: str, tmp_path: Path) -> None:
    named = words.format(compiler)
    done = python(SHOW, CXX=named, XDG_CACHE_HOME=str(tmp_path))
    assert done.stdout.split() == ["cpp"], done.stderr
    assert done.stderr == ""


@pytest.mark.parametrize("named", ["ccache-of-nobody g++", "'g++"])
def test_a_cxx_that_cannot_be_used_is_told_once(named: str) -> None:
    done = python(f"{SHOW}; print(ratebp.ops.backend('cpu'))", CXX=named)
    assert done.stdout.split() == ["torch", "torch"], done.stderr
    assert done.stderr.count("is no command of this machine. Torch's operators run.") == 1
    assert "install g++ or clang, or name one in CXX" in done.stderr


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


@NEEDS_KERNELS
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another user")
@pytest.mark.parametrize("which", ["ratebp", "ratebp/*", "ratebp/*/*.so"])
def test_what_another_user_owns_is_not_loaded(which: str, settings: Settings, cache: Path) -> None:
    (given,) = cache.glob(which)
    os.chown(given, 12345, 12345)
    done = python(SHOW, **settings)
    assert f"{given} belongs to another user, number 12345" in done.stderr
    assert done.stdout.split() == ["cpp"], done.stderr


@NEEDS_KERNELS
def test_no_folder_of_ones_own_runs_torch_and_says_so(compiler: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    place = str(tmp_path / "file")
    code = f"import tempfile; tempfile.tempdir = {place!r}; {SHOW}"
    done = python(code, CXX=compiler, XDG_CACHE_HOME=place)
    assert done.stdout.split() == ["torch"], done.stderr
    assert "no folder to keep them in" in done.stderr


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

"""How our kernels for CPUs become code, and what they and the library do with memory."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from absent import NO_NUMBA

from expander.errors import UsageError

pytest.importorskip("numba", reason=NO_NUMBA)
from expander.kernels import allocator, compilation, launch, norm_numba
from expander.kernels.choice import enabled

SIZE = 64 << 20  # bytes: more than glibc keeps by itself
FAULTS = """
import resource
import sys
import threading
import torch
from expander.kernels.allocator import keep_freed

def use(times: int) -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        torch.zeros(int(sys.argv[2]) // 4).add_(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def work() -> None:
    assert keep_freed()
    use(20)  # the heap grows until it has room for neighbours of the array
    print(use(5))

if sys.argv[1] == "main":
    work()
else:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
"""
STEP = """
import hashlib
import torch
from expander.model.network import X3D
from expander.specs.spec import Base, Spec

torch.set_num_threads(1)
torch.manual_seed(0)
net = X3D(Spec(base=Base(frames=3, crop=24, depths=(1, 2), classes=5)))
net(torch.randn(2, 3, 3, 24, 24)).square().sum().backward()
print(hashlib.sha256(b"".join(p.grad.numpy().tobytes() for p in net.parameters())).hexdigest())
"""


@pytest.mark.slow
def test_what_compiles_the_kernels_computes_what_those_after_it_compute(tmp_path: Path) -> None:
    """Compiled in one process, read from disk in the next: the same gradients to the last bit."""
    found, code = [], []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", STEP], env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)},
            capture_output=True, text=True, check=True, timeout=600,
        )  # fmt: skip
        found.append(done.stdout)
        code.append({file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.nbc")})
    assert code[0] == code[1] != {}
    assert found[0] == found[1]


def test_memory_that_kernels_would_read_wrongly_is_refused() -> None:
    x, sums = torch.zeros(2, 3, 4), torch.zeros(2, 2, 4)
    for wrong in (sums.double(), torch.zeros(4, 2, 2).transpose(0, 2)):
        with pytest.raises(AssertionError):
            launch.launch(norm_numba.moments, 2, x, wrong, 3, 4)


@pytest.mark.parametrize(("thread", "environment"), [("main", {}), ("other", dict([allocator.ONE_HEAP]))])
def test_memory_of_large_arrays_is_used_again(thread: str, environment: dict[str, str]) -> None:
    if not allocator.keep_freed():
        pytest.skip("this C library gives every large array back to the system")
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, thread, str(SIZE)], env={**os.environ, **environment},
        capture_output=True, text=True, check=True, timeout=600,
    )  # fmt: skip
    assert int(done.stdout) < SIZE // resource.getpagesize() / 100


def test_the_heap_of_another_thread_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(allocator.ONE_HEAP[0], raising=False)
    with ThreadPoolExecutor(1) as pool:
        assert not pool.submit(allocator.keep_freed).result()


def test_another_choice_of_kernels_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPANDER_KERNELS", "fast")
    with pytest.raises(UsageError, match="EXPANDER_KERNELS=fast"):
        enabled()


def test_without_a_home_kernels_are_kept_in_a_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    found = compilation.cache_folder()
    assert found is not None
    assert "file" not in found.parts
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = compilation.cache_folder()
    assert found is not None
    assert found.is_relative_to(tmp_path)

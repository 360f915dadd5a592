"""Weights files that are not what they should be: malicious, damaged, of another spec; told in one line."""

from __future__ import annotations

import os
import pickle
import random
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from foreign import SMALL, ours
from safetensors.torch import save_file

from expander.config.space import load_spec
from expander.errors import DataError, EnvironmentFault, UsageError
from expander.model.network import X3D
from expander.weights.checkpoint_file import open_checkpoint
from expander.weights.safetensors_file import load_weights, save_weights


class Payload:
    """Unpickled without care, this writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def test_a_malicious_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    target = tmp_path / "owned"
    torch.save({"model_state": Payload(target)}, tmp_path / "zip.pyth")
    (tmp_path / "raw.pyth").write_bytes(pickle.dumps({"model_state": Payload(target)}))
    for name in ("zip.pyth", "raw.pyth"):
        with pytest.raises(DataError, match="nothing of it was run"):
            open_checkpoint(tmp_path / name)
    assert not target.exists()
    torch.load(tmp_path / "zip.pyth", weights_only=False)
    assert target.exists()  # the payload would have worked


def test_a_torchscript_archive_is_told_as_one(tmp_path: Path) -> None:
    program = torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(1, 2),))
    torch.export.save(program, tmp_path / "x.pt2")  # an archive too, of another kind
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        for name in ("constants.pkl", "data.pkl", "version"):
            archive.writestr(f"x/{name}", b"3")
    with pytest.raises(DataError, match="TorchScript archive, which is a program; save the network's"):
        open_checkpoint(tmp_path / "x.pt")
    with pytest.raises(DataError, match="no checkpoint that can be trusted"):
        open_checkpoint(tmp_path / "x.pt2")


@pytest.mark.parametrize("content", [b"", b"a text file\n", b"PK\x03\x04cut", b"\x80\x02]q\x00."])
@pytest.mark.parametrize("name", ["x.pyth", "x.safetensors"])
def test_files_that_are_no_checkpoints_are_refused(tmp_path: Path, content: bytes, name: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=name):
        open_checkpoint(tmp_path / name)
    with pytest.raises(DataError, match=name):
        load_weights(tmp_path / name)


LITTLE = """
import resource, sys
from pathlib import Path
from expander.weights.checkpoint_file import open_checkpoint
from expander.errors import EnvironmentFault
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (64 << 20), limit[1]))
try:
    open_checkpoint(Path(sys.argv[1]))
except EnvironmentFault as fault:
    print(fault)
resource.setrlimit(resource.RLIMIT_AS, limit)
print(open_checkpoint(Path(sys.argv[1]))["a.weight"].numel())
"""
"""A process that may take 64 MB more reads a file, and then without a limit."""


@pytest.mark.parametrize("name", ["x.pyth", "x.safetensors"])
def test_memory_that_does_not_suffice_is_no_damage(tmp_path: Path, name: str) -> None:
    path, state = tmp_path / name, {"a.weight": torch.zeros(32 << 20)}
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    # In a process of its own: one that has run for long may have as much to give out again.
    done = subprocess.run(
        [sys.executable, "-c", LITTLE, os.fspath(path)], check=True, capture_output=True, text=True
    )
    told, size = done.stdout.splitlines()
    assert "not enough memory to read it (134 MB" in told
    assert int(size) == 32 << 20


@pytest.mark.parametrize("zipped", [True, False])
def test_300_damaged_checkpoints_are_told_in_one_line(tmp_path: Path, zipped: bool) -> None:
    path, rng = tmp_path / "x.pyth", random.Random(0)
    state = {f"a.{n}.weight": torch.randn(4, 3) for n in range(4)}
    torch.save({"model_state": state}, path, _use_new_zipfile_serialization=zipped)
    content, refused = path.read_bytes(), 0
    for _ in range(300):
        damaged = bytearray(content)
        if rng.random() < 0.3:
            del damaged[rng.randrange(len(damaged)) :]
        else:  # the pickled part comes first
            damaged[rng.randrange(min(len(damaged), 700))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        try:
            open_checkpoint(path)
        except (DataError, EnvironmentFault) as error:
            refused += "\n" not in str(error)
    assert refused > 150


def test_sparse_and_quantised_tensors_are_refused(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="deprecated"):
        quantised = torch.quantize_per_tensor(torch.eye(3), 0.1, 0, torch.qint8)
    for name, value in (("sparse", torch.eye(3).to_sparse()), ("quantised", quantised)):
        torch.save({"model_state": {"a": value}}, tmp_path / f"{name}.pyth")
        with pytest.raises(DataError, match=r"refused|sparse or quantised|trusted"):
            open_checkpoint(tmp_path / f"{name}.pyth")


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "x.safetensors"
    save_weights(path, ours(SMALL), SMALL, tuple("abcdefg"), {"library": "slowfast"})
    return path


def test_saved_weights_load_as_they_were(saved: Path) -> None:
    loaded, network = load_weights(saved), ours(SMALL)
    assert (loaded.spec, loaded.classes, loaded.source) == (SMALL, tuple("abcdefg"), {"library": "slowfast"})
    for name, value in network.state_dict().items():
        assert torch.equal(loaded.network.state_dict()[name], value)


def test_every_flipped_bit_and_every_cut_is_found(saved: Path) -> None:
    content = saved.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    spoken = [content.index(word) + 2 for word in (b'stem_width', b'classes', b'stride', b'sha256')]
    for place in (0, 9, *spoken, start, (start + len(content)) // 2, len(content) - 1):
        damaged = bytearray(content)
        damaged[place] ^= 1
        saved.write_bytes(damaged)
        with pytest.raises(DataError, match=str(saved)):
            load_weights(saved)
    for size in (4, start - 1, start + 5, len(content) - 1):
        saved.write_bytes(content[:size])
        with pytest.raises(DataError, match=str(saved)):
            load_weights(saved)


def test_weights_of_another_spec_are_refused_with_keys_and_the_one_that_fits(tmp_path: Path) -> None:
    spec = load_spec("x3d_xs").with_classes(3)
    path = tmp_path / "x.safetensors"
    save_weights(path, X3D(spec), spec, ("a", "b", "c"))
    with pytest.raises(UsageError, match=r"missing: stages\.0\.3\.bn_a\.bias, .*x3d_xs or x3d_s or x3d_m"):
        load_weights(path, load_spec("x3d_l"))
    # The same tensors for another clip are welcome, and its classes are those of the file.
    assert load_weights(path, load_spec("x3d_m")).spec == load_spec("x3d_m").with_classes(3)

"""Search spaces and specs as files, and the settings that --set changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expander.config.load import Settings, load_settings
from expander.config.settings import Selection
from expander.config.space import AxisRule, SearchSpace, dump_spec, load_space, load_spec, space_file
from expander.errors import UsageError
from expander.specs.spec import AXES, Base, Spec

FOLDER = space_file("x3d").parent
SPACES = sorted(FOLDER.glob("*.yaml"))
ZOO = sorted((FOLDER / "zoo").glob("*.yaml"))


def by_name(path: Path) -> str:
    return path.stem


def with_overrides(*overrides: str, **given: dict[str, Any]) -> Settings:
    return load_settings("x3d", overrides, given)


def refused(*overrides: str) -> str:
    """The one line that these overrides are refused with."""
    with pytest.raises(UsageError) as caught:
        with_overrides(*overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_the_spaces_and_the_zoo_are_there() -> None:
    assert {"x3d", "x3d_balanced", "tiny"} <= {path.stem for path in SPACES}
    assert {"x2d", "x3d_xs", "x3d_s", "x3d_m", "x3d_l", "x3d_xl"} == {path.stem for path in ZOO}


@pytest.mark.parametrize("file", SPACES, ids=by_name)
def test_every_space_loads_by_name_and_by_file(file: Path) -> None:
    space = load_space(file.stem)
    assert space == load_space(str(file))
    assert space.start == Spec(space.base)
    assert set(space.axes) <= set(AXES)


@pytest.mark.parametrize("file", ZOO, ids=by_name)
def test_every_published_spec_loads_by_name_and_by_file(file: Path) -> None:
    assert load_spec(file.stem) == load_spec(str(file))


@pytest.mark.parametrize("file", SPACES, ids=by_name)
def test_every_space_opens_with_the_command_that_uses_it(file: Path) -> None:
    first = file.read_text().splitlines()[0]
    assert first.startswith("# expander search ")
    assert "--target-gflops" in first
    assert f"--space {file.stem} " in first or file.stem == "x3d"


@pytest.mark.parametrize("file", ZOO, ids=by_name)
def test_every_published_spec_opens_with_the_command_that_uses_it(file: Path) -> None:
    assert file.read_text().startswith(f"# expander cost {file.stem}: ")


def test_the_published_space_starts_at_x2d_with_the_published_steps() -> None:
    space = load_space("x3d")
    assert space.start == load_spec("x2d") == Spec()
    steps = {axis: rule.step for axis, rule in space.axes.items()}
    assert steps.pop("spatial") == pytest.approx(2**0.5)
    assert steps == {"temporal": 2, "frame_rate": 2, "width": 1.45, "bottleneck": 2.25, "depth": 2.2}


def test_every_axis_of_the_balanced_space_is_solved() -> None:
    space = load_space("x3d_balanced")
    assert space.base == load_space("x3d").base
    assert {axis: rule.step for axis, rule in space.axes.items()} == dict.fromkeys(AXES, "solve")


def test_an_unknown_space_is_told_with_what_was_meant() -> None:
    with pytest.raises(UsageError, match=r"unknown search space 'x3b'; did you mean 'x3d'\? \(or give"):
        load_space("x3b")


def test_an_unknown_spec_is_told_with_what_was_meant() -> None:
    with pytest.raises(UsageError, match=r"unknown spec 'x3d_xll'; did you mean 'x3d_xl'\? \(or give"):
        load_spec("x3d_xll")


@pytest.mark.parametrize("name", ["", "zzz", "../x3d", "/etc/passwd", "x3d.yml/"])
def test_a_name_like_no_other_lists_the_known_ones(name: str) -> None:
    with pytest.raises(UsageError, match="unknown search space"):
        load_space(name)


@pytest.mark.parametrize("step", [1.0, 0.5, 0.0, -2.0, float("inf"), float("nan")])
def test_a_step_that_does_not_expand_is_refused(step: float) -> None:
    with pytest.raises(ValueError, match="step must be a number above 1, or solve"):
        AxisRule(step, 4)


@pytest.mark.parametrize("limit", [0.99, 0.0, -1.0, float("inf"), float("nan")])
def test_a_limit_below_the_base_is_refused(limit: float) -> None:
    with pytest.raises(ValueError, match="limit must be a number of at least 1"):
        AxisRule(2.0, limit)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("axes: {dpeth: {step: 2, limit: 4}}\n",
         "f.yaml:1:8: SearchSpace: axes.dpeth is unknown; did you mean 'depth'?"),
        ("axes: {depth: {step: 1, limit: 4}}\n",
         "f.yaml:1:16: axes.depth: step must be a number above 1, or solve"),
        ("axes: {depth: {step: 2, limit: 0.5}}\n",
         "f.yaml:1:25: axes.depth: limit must be a number of at least 1"),
        ("axes: {depth: {step: solved, limit: 4}}\n", "f.yaml:1:16: axes.depth.step: "),
        ("axes: {depth: {limit: 4}}\n", "f.yaml:1:8: 'axes.depth.step' is missing"),
        ("axes: {}\n", "f.yaml:1:1: SearchSpace: axes must name at least one axis"),
        ("axes: {depth: {step: 2, limit: 4}}\nstep_factor: 1\n",
         "f.yaml:2:1: SearchSpace: step_factor must be a number above 1"),
        ("axes: {depth: {step: 2, limit: 4}}\nbase: {frames: 0}\n",
         "f.yaml:2:8: base: base.frames must be a whole number of at least 1, not 0"),
        ("axes: {depth: {step: 2, limit: 4}}\nproxy: {lr: 0}\n",
         "f.yaml:2:9: proxy: lr must be a positive number"),
        ("base: {frames: 1}\n", "f.yaml:1:1: 'axes' is missing"),
    ],
)  # fmt: skip
def test_a_faulty_space_is_refused_with_the_place_and_the_rule(
    tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "f.yaml").write_text(text)
    with pytest.raises(UsageError) as caught:
        load_space(str(tmp_path / "f.yaml"))
    found = str(caught.value).removeprefix(f"{tmp_path}/")
    assert found.startswith(message)


def test_a_faulty_spec_is_refused_with_the_place_and_the_rule(tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_text("# a spec\nwidth: -1\n")
    with pytest.raises(UsageError, match=r"f\.yaml:2:1: Spec: factor width must be a finite positive number"):
        load_spec(str(tmp_path / "f.yaml"))


@settings(deadline=None, derandomize=True, max_examples=40)
@given(
    values=st.tuples(*(st.floats(1e-3, 8) for _ in AXES)),
    frames=st.integers(1, 100),
    depths=st.lists(st.integers(1, 20), min_size=1, max_size=5),
)
def test_a_spec_written_is_the_spec_read(
    tmp_path_factory: pytest.TempPathFactory, values: tuple[float, ...], frames: int, depths: list[int]
) -> None:
    spec = Spec(Base(frames=frames, depths=tuple(depths)), *values)
    file = tmp_path_factory.mktemp("spec") / "s.yaml"
    text = dump_spec(spec, "step 3: depth")
    file.write_text(text)
    assert text.startswith("# step 3: depth\n")
    assert load_spec(str(file)) == spec
    assert load_spec(str(file)).id == spec.id


def test_without_overrides_the_settings_are_the_spaces_and_the_defaults() -> None:
    found = with_overrides()
    assert found.space == load_space("x3d")
    assert found.backend.kind == "ray"
    assert found.selection.score == "gain"
    assert found.data.train_ann is None


def test_an_override_reaches_its_place_and_no_other() -> None:
    plain = with_overrides()
    found = with_overrides(
        "proxy.steps=7",
        "proxy.lr=1e-3",
        "axes.depth.limit=3",
        "axes.width.step=solve",
        "base.depths=[1, 2]",
        "step_factor=1.5",
        "selection.seeds=2",
        "data.workers=4",
        "backend.kind=inline",
        "backend.gpus_per_trial=0.5",
    )
    axes = plain.space.axes | {"depth": AxisRule(2.2, 3), "width": AxisRule("solve", 5)}
    space = SearchSpace(
        axes=axes,
        base=replace(plain.space.base, depths=(1, 2)),
        step_factor=1.5,
        proxy=replace(plain.space.proxy, steps=7, lr=0.001),
    )
    assert found.space == space
    assert found.selection == replace(plain.selection, seeds=2)
    assert found.data == replace(plain.data, workers=4)
    assert found.backend == replace(plain.backend, kind="inline", gpus_per_trial=0.5)


def test_an_axis_can_be_added_by_an_override(tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_text("axes: {depth: {step: 2, limit: 4}}\n")
    file = str(tmp_path / "f.yaml")
    found = load_settings(file, ["axes.width.step=solve", "axes.width.limit=3"], {})
    assert found.space.axes == {"depth": AxisRule(2.0, 4), "width": AxisRule("solve", 3)}
    assert load_settings(file, ["proxy.steps=3"], {}).space.proxy.steps == 3


def test_the_last_of_two_overrides_wins_and_an_override_wins_over_an_option() -> None:
    assert with_overrides("proxy.steps=7", "proxy.steps=8").space.proxy.steps == 8
    given = {"workers": 1, "train_ann": "t", "val_ann": "v", "root": None}
    found = with_overrides("data.workers=2", data=given)
    assert found.data.workers == 2
    assert (found.data.train_ann, found.data.root) == ("t", None)


def test_overrides_leave_the_next_settings_alone() -> None:
    with_overrides("proxy.steps=7")
    assert with_overrides().space.proxy.steps == load_space("x3d").proxy.steps


@pytest.mark.parametrize(
    ("override", "end"),
    [
        ("prxy.steps=7", "unknown section 'prxy'; did you mean 'proxy'?"),
        ("zzz.steps=7", "unknown section 'zzz'; known: selection, data, backend, budget, proxy, axes"),
        ("proxy.steps", "write it as section.key=value"),
        ("=7", "write it as section.key=value"),
        ("", "write it as section.key=value"),
        ("proxy..steps=7", "write it as section.key=value"),
        ("selection=7", "name a key of the section, selection.key=value"),
        ("axes.depth.limit.most=3", "axes.depth.limit has no keys"),
        ("proxy.setps=7", "unknown key 'proxy.setps'; did you mean 'steps'?"),
        ("selection.sede=2", "unknown key 'sede'; did you mean 'seeds'?"),
        ("proxy.steps=many", "proxy.steps: input should be a valid integer"),
        ("proxy.steps=", "proxy.steps: input should be a valid integer"),
        ("proxy.steps=0", "proxy: steps must be at least 1"),
        ("selection.confidence=2", "Selection: confidence must lie between 0 and 1"),
        ("backend.kind=cluster", "kind: input should be 'ray', 'processes' or 'inline'"),
        ("axes.dpeth.limit=2", "'axes.dpeth.step' is missing"),
        ("proxy=7", "proxy: "),
        ("proxy.steps=[1", ""),
        ("proxy.steps={a: 1, a: 2}", ""),
        ("proxy.steps=!!python/name:os.system x", ""),
        ("proxy.steps=\x00", ""),
    ],
)  # fmt: skip
def test_a_wrong_override_is_one_usage_error_that_names_it(override: str, end: str) -> None:
    message = refused("selection.seeds=2", override)
    assert message.startswith(f"--set {override}:")
    assert end in message


def test_a_fault_of_the_file_is_told_with_its_place_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_text("axes: {depth: {step: 2, limit: 4}}\nproxy: {setps: 2}\n")
    with pytest.raises(UsageError, match=r"f\.yaml:2:9: unknown key 'proxy.setps'"):
        load_settings(str(tmp_path / "f.yaml"), ["selection.seeds=2"], {})


def test_an_option_that_is_wrong_is_a_usage_error_of_its_section() -> None:
    with pytest.raises(UsageError, match="train_ann and val_ann go together"):
        with_overrides(data={"train_ann": "train.txt"})


def test_a_space_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"absent\.yaml: cannot be read: No such file"):
        load_settings(str(tmp_path / "absent.yaml"), [], {})
    (tmp_path / "f.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match=r"f\.yaml: cannot be read: not UTF-8"):
        load_settings(str(tmp_path / "f.yaml"), [], {})


def test_a_space_may_say_how_its_steps_are_decided_and_an_override_wins(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text("axes:\n  depth: {step: 2, limit: 4}\nselection: {rungs: [0.25, 0.5], seeds: 2}\n")
    assert load_settings(str(file), [], {}).selection == Selection(seeds=2, rungs=(0.25, 0.5))
    changed = load_settings(str(file), ["selection.seeds=3", "selection.rungs=[]"], {})
    assert changed.selection == Selection(seeds=3)
    assert load_space(str(file)) == changed.space


def test_a_fault_in_the_selection_of_a_space_is_told_with_its_place(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    for text, place, word in (
        ("selection: {rung: [0.5]}", "2:13", "did you mean 'rungs'"),
        ("selection:\n  rungs: [0.5, 0.2]", "3:3", "rungs must rise"),
        ("selection: 3", "2:1", "input should be an object"),
    ):
        file.write_text(f"axes: {{depth: {{step: 2, limit: 4}}}}\n{text}\n")
        with pytest.raises(UsageError, match=rf"s\.yaml:{place}: .*{word}"):
            load_settings(str(file), [], {})

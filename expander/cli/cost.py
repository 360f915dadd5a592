"""cost, trace: specs and what they cost. No torch, no Ray."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from expander.cli.help import Command
from expander.cli.output.terminal import say
from expander.errors import TargetError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from expander.runs.events import Candidate
    from expander.specs.cost import Layer
    from expander.specs.cost_kinds import CostKind
    from expander.specs.spec import Spec


@click.command(cls=Command)
@click.argument("spec")
@click.option("--task", type=click.Choice(["classification", "detection"]),
              help="Detection: a clip with one person, at the training crop.  "
                   "[default: the run's, or classification]")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def cost(spec: str, task: str | None, as_json: bool) -> None:
    """What SPEC costs, by stage and operator, at the training and the test crop.

    SPEC is a YAML file, a published name (x2d, x3d_xs, x3d_s, x3d_m, x3d_l, x3d_xl), a run (RUN,
    RUN:step3, RUN:final), or a training.
    """
    from expander.engine.references import find_spec, task_of

    found, task = find_spec(spec), task or task_of(spec)
    head, text = _with_a_person(found) if task == "detection" else _views(spec, found)
    if as_json:
        say(json.dumps(head, indent=1))
        return
    _print_layers(found, task)
    say(
        f"\n{spec}: {found}, {found.base.classes} classes\n{text}"
        "Multiply-adds of convolutions and linears; batch norm, activations and pooling not counted."
    )


def _views(name: str, spec: Spec) -> tuple[dict[str, Any], str]:
    """Of classification: the JSON, and what is said."""
    from expander.specs.cost import cost as cost_of
    from expander.specs.cost import layers, params_without_norm

    total, test, own = cost_of(spec), cost_of(spec, spec.test_size), params_without_norm(spec)
    head = {**asdict(total), "params_without_norm": own, **_clip(spec), "test_size": spec.test_size}
    head |= {"test_macs": test.macs, "published": _published(name), "layers": _rows(layers(spec))}
    return head, (
        f"  one view at the training crop {spec.crop}: {total.macs:,} multiply-adds "
        f"({total.macs / 1e9:.4g} G), {total.activations:,} activations\n"
        f"  one view at the test crop {spec.test_size}: {test.macs:,} multiply-adds "
        f"({test.macs / 1e9:.4g} G)\n"
        f"  {total.params:,} parameters, {own:,} without batch norm\n"
        f"{_published_text(name)}"
    )


def _with_a_person(spec: Spec) -> tuple[dict[str, Any], str]:
    """Of detection: the JSON, and what is said. Training and test look at one crop."""
    from expander.specs.cost import cost as cost_of
    from expander.specs.cost import layers, params_without_norm

    total, own = cost_of(spec, boxes=1), params_without_norm(spec)
    more = cost_of(spec, boxes=2).macs - total.macs
    head = {"task": "detection", **asdict(total), "macs_per_person": more, "params_without_norm": own}
    return {**head, **_clip(spec), "layers": _rows(layers(spec, boxes=1))}, (
        f"  one clip with one person at the crop {spec.crop}: {total.macs:,} multiply-adds "
        f"({total.macs / 1e9:.4g} G), {total.activations:,} activations\n"
        f"  each further person: {more:,} multiply-adds\n"
        f"  {total.params:,} parameters, {own:,} without batch norm\n"
    )


def _rows(layers: Iterable[Layer]) -> list[dict[str, Any]]:
    return [asdict(layer) for layer in layers]


def _published(spec: str) -> dict[str, Any] | None:
    from expander.specs.zoo import PUBLISHED

    row = PUBLISHED.get(spec)
    return {"gmacs": row.gmacs, "test_gmacs": row.test_gmacs, "params_million": row.params} if row else None


def _published_text(spec: str) -> str:
    row = _published(spec)
    if row is None:
        return ""
    test = f", {row['test_gmacs']} G at the test crop" if row["test_gmacs"] else ""
    return f"  published: {row['gmacs']} G{test}, {row['params_million']} M parameters without batch norm\n"


def _print_layers(spec: Spec, task: str) -> None:
    import pandas as pd

    from expander.specs.cost import layers

    if task == "detection":
        table = pd.DataFrame(_rows(layers(spec, boxes=1)))
    else:
        table = pd.DataFrame(_rows(layers(spec)))
        table.insert(3, "macs_at_test_crop", [layer.macs for layer in layers(spec, spec.test_size)])
    say(table.to_string(index=False, formatters=dict.fromkeys(table.columns[2:], "{:,}".format)))


def _clip(spec: Spec) -> dict[str, Any]:
    clip = {"frames": spec.frames, "stride": spec.stride, "crop": spec.crop}
    return {**clip, "classes": spec.base.classes, "id": spec.id}


@click.command(cls=Command)
@click.option("--space", default="x3d", show_default=True, help="Search space: a name or a YAML file.")
@click.option("--axes", required=True, help="Axes to expand one after another, comma-separated.")
@click.option("--contract", "target", type=float, help="Then contract to this many GFLOPs.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def trace(space: str, axes: str, target: float | None, as_json: bool) -> None:
    """Specs and costs along a given path, without training anything."""
    from expander.cli.options import target_macs
    from expander.config.space import load_space
    from expander.search.contraction import contract as contract_path
    from expander.search.trace import follow
    from expander.specs.cost import cost as cost_of

    path = follow(load_space(space), [axis.strip() for axis in axes.split(",")])
    rows = [row_of(number, step.axis, step) for number, step in enumerate(path)]
    if target is not None:
        macs = target_macs(target)
        check_reach(path, macs, "the path")
        option = contract_path(path, macs, cost_of)
        rows.append({**row_of(len(path), f"contract {option.axis}", option.candidate),
                     "miss": option.miss})  # fmt: skip
    show(rows, as_json)


def check_reach(path: Sequence[Candidate], target: float, what: str, kind: CostKind = "flops") -> None:
    """Raises TargetError for a target that no contraction of `path` can meet."""
    from expander.specs.cost_kinds import amount_text

    low, high = path[0].cost.of(kind), max(step.cost.of(kind) for step in path)
    if not low <= target <= high:
        low_text, high_text, asked = (amount_text(kind, amount) for amount in (low, high, target))
        raise TargetError(f"{what} reaches targets from {low_text} to {high_text}, not {asked}")


def row_of(number: int | None, axis: str, step: Candidate) -> dict[str, Any]:
    """A row of the table that `show` prints."""
    spec, price = step.spec, step.cost
    row: dict[str, Any] = {} if number is None else {"step": number}
    clip = {"frames": spec.frames, "stride": spec.stride, "crop": spec.crop}
    sizes = {"widths": list(spec.widths), "depths": list(spec.depths)}
    return row | {"axis": axis, **clip, **sizes, "cost": price.macs, "ratio": step.ratio,
                  "params": price.params}  # fmt: skip


def show(rows: list[dict[str, Any]], as_json: bool) -> None:
    """Specs and their costs, as a table or JSON."""
    if as_json:
        say(json.dumps(rows, indent=1))
        return
    import pandas as pd

    from expander.report.tables import macs_text

    table = pd.DataFrame(rows)
    table["cost"] = table["cost"].map(macs_text)
    table["ratio"] = table["ratio"].map("{:.3f}".format)
    for name in ("widths", "depths"):
        table[name] = ["/".join(map(str, sizes)) for sizes in table[name]]
    if "miss" in table:
        table["miss"] = ["" if pd.isna(miss) else f"{miss:.2%}" for miss in table["miss"]]
    say(table.to_string(index=False))

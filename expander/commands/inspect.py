"""cost, trace, contract: specs and what they cost. No torch, no Ray."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from expander.errors import TargetError, UsageError

if TYPE_CHECKING:
    from expander.records import Candidate
    from expander.spec import Spec


@click.command()
@click.argument("spec")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def cost(spec: str, as_json: bool) -> None:
    """What SPEC costs, by stage and operator, at the training and the test crop.

    SPEC is a YAML file, a published name (x2d, x3d_xs, x3d_s, x3d_m, x3d_l, x3d_xl), or a run:
    RUN, RUN:step3, RUN:final.
    """
    from expander.commands.references import find_spec
    from expander.cost import cost as cost_of
    from expander.cost import layers

    found = find_spec(spec)
    total, test = cost_of(found), cost_of(found, found.test_size)
    if as_json:
        rows = [asdict(layer) for layer in layers(found)]
        head = {**asdict(total), **_clip(found), "test_macs": test.macs, "published": _published(spec)}
        click.echo(json.dumps({**head, "layers": rows}, indent=1))
        return
    _print_layers(found)
    click.echo(
        f"\n{spec}: {found}, {found.base.classes} classes\n"
        f"  one view at the training crop {found.crop}: {total.macs:,} multiply-adds "
        f"({total.macs / 1e9:.4g} G), {total.activations:,} activations\n"
        f"  one view at the test crop {found.test_size}: {test.macs:,} multiply-adds "
        f"({test.macs / 1e9:.4g} G)\n"
        f"  {total.params:,} parameters\n"
        f"{_published_text(spec)}"
        "Multiply-adds of convolutions and linears; batch norm, activations and pooling not counted."
    )


def _published(spec: str) -> dict[str, Any] | None:
    from expander.published import PUBLISHED

    row = PUBLISHED.get(spec)
    return {"gmacs": row.gmacs, "test_gmacs": row.test_gmacs, "params_million": row.params} if row else None


def _published_text(spec: str) -> str:
    row = _published(spec)
    if row is None:
        return ""
    test = f", {row['test_gmacs']} G at the test crop" if row["test_gmacs"] else ""
    return f"  published: {row['gmacs']} G{test}, {row['params_million']} M parameters without batch norm\n"


def _print_layers(spec: Spec) -> None:
    import pandas as pd

    from expander.cost import layers

    crops = (spec.crop, spec.test_size)
    train, test = ([asdict(layer) for layer in layers(spec, crop)] for crop in crops)
    table = pd.DataFrame(train)
    table.insert(3, "macs_at_test_crop", [row["macs"] for row in test])
    click.echo(table.to_string(index=False, formatters=dict.fromkeys(table.columns[2:], "{:,}".format)))


def _clip(spec: Spec) -> dict[str, Any]:
    clip = {"frames": spec.frames, "stride": spec.stride, "crop": spec.crop}
    return {**clip, "test_size": spec.test_size, "classes": spec.base.classes, "id": spec.id}


@click.command()
@click.option("--space", default="x3d", show_default=True, help="Search space: a name or a YAML file.")
@click.option("--axes", required=True, help="Axes to expand one after another, comma-separated.")
@click.option("--contract", "target", type=float, help="Then contract to this many GFLOPs.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def trace(space: str, axes: str, target: float | None, as_json: bool) -> None:
    """Specs and costs along a given path, without training anything."""
    from expander.commands.costing import target_macs
    from expander.commands.paths import follow
    from expander.cost import cost as cost_of
    from expander.search.contraction import contract as contract_path
    from expander.space import load_space

    path = follow(load_space(space), [axis.strip() for axis in axes.split(",")])
    rows = [_row(number, step.axis, step) for number, step in enumerate(path)]
    if target is not None:
        macs = target_macs(target)
        _check_reach(path, macs, "the path")
        option = contract_path(path, macs, cost_of)
        rows.append({**_row(len(path), f"contract {option.axis}", option.candidate),
                     "miss": option.miss})  # fmt: skip
    _show(rows, as_json)


@click.command()
@click.argument("run")
@click.option("--target-gflops", "target", type=float, required=True, help="Multiply-adds per view, 1e9.")
@click.option("--axis", default="auto", show_default="last; best if last misses by over 5 %",
              help="last, best, or the name of an axis.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def contract(run: str, target: float, axis: str, as_json: bool) -> None:
    """What a finished or stopped RUN gives at another target: every axis, the chosen one marked.

    Writes the chosen spec to RUN/specs/contracted-<target>.yaml.
    """
    from expander.commands.costing import target_macs
    from expander.commands.references import find_run
    from expander.cost import cost as cost_of
    from expander.engine import state_of
    from expander.search.contraction import contract as contract_path
    from expander.search.contraction import options
    from expander.space import dump_spec
    from expander.spec import AXES
    from expander.store import write_atomic
    from expander.strict_yaml import did_you_mean

    macs, found = target_macs(target), find_run(run)
    names = ("auto", "last", "best", *AXES)
    if axis not in names:
        raise UsageError(f"--axis: unknown axis {axis!r}{did_you_mean(axis, names[1:])}")
    path = state_of(found).path
    if not path:
        raise UsageError(f"run {run} has no decided step yet")
    _check_reach(path, macs, f"run {run}")
    try:
        chosen = contract_path(path, macs, cost_of, axis)
    except ValueError as error:
        raise TargetError(str(error)) from None
    rows = [
        {**_row(None, o.axis, o.candidate), "miss": o.miss, "chosen": o.axis == chosen.axis}
        for o in options(path, macs, cost_of)
    ]
    _show(rows, as_json)
    file = found.folder / "specs" / f"contracted-{target:g}.yaml"
    text = dump_spec(chosen.candidate.spec, f"contracted along {chosen.axis} to {target:g} GFLOPs")
    write_atomic(file, text.encode())
    if not as_json:
        click.echo(f"spec: {file}")


def _check_reach(path: Any, macs: int, what: str) -> None:
    low, high = path[0].cost.macs, max(step.cost.macs for step in path)
    if not low <= macs <= high:
        reach = f"{low / 1e9:.4g} to {high / 1e9:.4g} G"
        raise TargetError(f"{what} reaches targets from {reach}, not {macs / 1e9:.4g} G")


def _row(number: int | None, axis: str, step: Candidate) -> dict[str, Any]:
    spec, price = step.spec, step.cost
    row: dict[str, Any] = {} if number is None else {"step": number}
    clip = {"frames": spec.frames, "stride": spec.stride, "crop": spec.crop}
    sizes = {"widths": list(spec.widths), "depths": list(spec.depths)}
    return row | {"axis": axis, **clip, **sizes, "cost": price.macs, "ratio": step.ratio,
                  "params": price.params}  # fmt: skip


def _show(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(rows, indent=1))
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
    click.echo(table.to_string(index=False))

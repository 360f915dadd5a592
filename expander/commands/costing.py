"""Options that say what a network may cost: the kind that a search doubles, its target, limits on others."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from expander.errors import UsageError

if TYPE_CHECKING:
    from expander.preparation import Goal

F = TypeVar("F", bound=Callable[..., Any])
KINDS = ("flops", "params", "activations", "latency", "memory")
LIMITS = {"flops": "max_gflops", "params": "max_params", "activations": "max_activations",
          "latency": "max_latency_ms", "memory": "max_memory_mb"}  # fmt: skip
OPTIONS = ("target", "cost", "amount", *LIMITS.values())


def goal_options(command: F) -> F:
    """Adds the options below to a command."""
    options = [
        click.option("--target-gflops", "target", type=float,
                     help="Budget in GFLOPs: 1e9 multiply-adds of conv and linear a view, training crop."),
        click.option("--cost", type=click.Choice(KINDS),
                     help="The cost that every step doubles.  [default: flops]"),
        click.option("--target", "amount", type=float,
                     help="Budget for another --cost, in its unit: parameters, activations, ms, MB."),
        click.option("--max-gflops", type=float, help="Reject candidates of more GFLOPs."),
        click.option("--max-params", type=float, help="Of more parameters, e.g. 4e6."),
        click.option("--max-activations", type=float, help="Of more activations."),
        click.option("--max-latency-ms", type=float,
                     help="Of a longer inference of one view, measured here (median)."),
        click.option("--max-memory-mb", type=float, help="That hold more MB in the inference of one view."),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def goal_of(options: dict[str, Any]) -> Goal:
    """What was asked for. Raises UsageError naming the option at fault."""
    from expander.amounts import Ceilings
    from expander.preparation import Goal

    most = {kind: options[name] for kind, name in LIMITS.items()}
    for kind, name in LIMITS.items():
        if most[kind] is not None:
            _positive(f"--{name.replace('_', '-')}", most[kind])
    if most["flops"] is not None:
        most["flops"] *= 1e9
    return Goal(options["cost"] or "flops", target_of(options), Ceilings(**most))


def target_of(options: dict[str, Any]) -> float:
    """The target in the unit of the cost. Raises UsageError."""
    kind, gflops, amount = options["cost"] or "flops", options["target"], options["amount"]
    if kind == "flops" and amount is not None:
        raise UsageError("--target goes with another --cost; for multiply-adds give --target-gflops")
    if kind != "flops" and gflops is not None:
        raise UsageError(f"--target-gflops is for --cost flops; for --cost {kind} give --target")
    if gflops is None and amount is None:
        example = "--target-gflops 2" if kind == "flops" else f"--cost {kind} --target 20"
        name = "--target-gflops" if kind == "flops" else "--target"
        raise UsageError(f"{name} is missing: the budget, e.g. {example}")
    return target_macs(gflops) if kind == "flops" else _positive("--target", amount)


def target_macs(gflops: float) -> int:
    """GFLOPs as given on the command line to multiply-adds. Raises UsageError."""
    return round(_positive("--target-gflops", gflops) * 1e9)


def _positive(option: str, value: float) -> float:
    if not (math.isfinite(value * 1e9) and value > 0):
        raise UsageError(f"{option} must be a positive number, not {value}")
    return value

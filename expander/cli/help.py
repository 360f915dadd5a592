"""What --help shows: options in groups, an example of each command, a summary that is not cut off."""

from __future__ import annotations

from itertools import pairwise

import click

from expander.config.reading import absolute
from expander.errors import DataError, UsageError
from expander.video.filenames import is_utf8, printable

GROUPS = {
    "Budget": ("target", "cost", "amount", "max_gflops", "max_params", "max_activations",
               "max_latency_ms", "max_memory_mb", "axis", "train"),
    "Data": ("folder", "train_ann", "val_ann", "data_root", "train_root", "val_root", "ann_format",
             "allow_outside", "timeout", "allow_missing"),
    "Cluster": ("backend", "ray_address", "cpus_per_trial", "gpus_per_trial", "storage_path", "max_gpu_hours",
                "gpus", "workers_ddp", "device", "workers"),
    "Run": ("name", "resume", "dry_run", "cluster", "clips_per_second", "losses_per_day", "max_steps",
            "max_hours", "max_trials", "seed", "reuse", "log", "overrides"),
}  # fmt: skip
"""Of options, by the names of their parameters; those of no group come first."""

SUMMARIES = {
    "search": "Grow a network on your videos to a budget.",
    "status": "How far a run is, and what is ahead.",
    "report": "Why every step of runs was taken: tables, figures, a page.",
    "contract": "What a run gives at another target.",
    "baseline": "What a run gained over other networks of its cost.",
    "train": "Train a network to the end.",
    "test": "Test a network with many views of each video.",
    "predict": "The most probable classes of a video.",
    "trace": "Specs and costs along a path; nothing is trained.",
    "cost": "What a network costs, by stage and operator.",
    "weights": "Checkpoints of other libraries in and out.",
    "data": "Data sets: make, index, check, prepare.",
    "make": "Make the embedded data set.",
    "index": "Write annotations as one CSV.",
    "check": "Which videos can be read, and how.",
    "prepare": "Copy every video once into small files for quick reading.",
    "proposals": "MMAction2's boxes of people as a CSV of detections.",
    "import": "Turn a checkpoint of another library into ours.",
    "export": "Write weights for others, and prove them equal.",
}
EXAMPLES = {
    "search": "expander search --data videos/ --target-gflops 2 --run mine",
    "status": "expander status mine",
    "report": "expander report mine --format html --out report.html",
    "contract": "expander contract mine --target-gflops 1",
    "baseline": "expander baseline mine --kind random",
    "train": "expander train mine:final --recipe finetune --run trained",
    "test": "expander test trained --views 30",
    "predict": "expander predict clip.mp4 --weights trained",
    "trace": "expander trace --axes bottleneck,temporal",
    "cost": "expander cost x3d_s",
    "make": "expander data make",
    "index": "expander data index videos/ --out videos.csv",
    "check": "expander data check videos/",
    "prepare": "expander data prepare videos/ --out prepared",
    "proposals": "expander data proposals ava_dense_proposals_val.pkl --out ava_val_detected.csv",
    "import": "expander weights import x3d_s.pyth --out x3d_s.safetensors",
    "export": "expander weights export trained --to slowfast --out trained.pyth",
}


def check_arguments(arguments: list[str]) -> None:
    """Raises UsageError for an empty argument, which no option takes, DataError for one that is not UTF-8."""
    for before, argument in pairwise(["", *arguments]):
        name, equals, value = argument.partition("=")
        if not argument or (name.startswith("--") and equals and not value):
            option = name or (before if before.startswith("-") else "an argument")
            raise UsageError(f"{option} is empty; leave it out, or say what it is")
        if not is_utf8(argument):
            raise DataError(f"{printable(argument)}: the name is not UTF-8; rename it")


class Command(click.Command):
    """A command whose page has its options in groups, and an example; no argument of it is empty."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See click.Command. Raises UsageError for an empty argument, DataError for one that is not UTF-8."""
        check_arguments(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """See click.Command. Raises EnvironmentFault where the current folder was deleted."""
        absolute(".")  # libraries would end the process over it
        return super().invoke(ctx)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """See click.Command."""
        left = {param.name: param for param in self.get_params(ctx) if isinstance(param, click.Option)}
        grouped = {title: [left.pop(name) for name in names if name in left]
                   for title, names in GROUPS.items()}  # fmt: skip
        for title, params in {"Options": list(left.values()), **grouped}.items():
            records = [record for param in params if (record := param.get_help_record(ctx)) is not None]
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """See click.Command."""
        if example := EXAMPLES.get(self.name or ""):
            with formatter.section("Example"):
                formatter.write_text(example)

    def get_short_help_str(self, limit: int = 45) -> str:  # noqa: ARG002 (click's name)
        """See click.Command."""
        return SUMMARIES[self.name or ""]


class Group(click.Group):
    """Commands whose pages are those of Command."""

    command_class = Command

    def get_short_help_str(self, limit: int = 45) -> str:  # noqa: ARG002 (click's name)
        """See click.Command."""
        return SUMMARIES[self.name or ""]

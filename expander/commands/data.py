"""data make: the embedded data set."""

from __future__ import annotations

import click


@click.group()
def data() -> None:
    """Data sets."""


@data.command()
def make() -> None:
    """Make the embedded data set (once; it is cached) and print its folder."""
    from expander.commands.progress import Counter
    from expander.data.sources import embedded

    with Counter("making the embedded videos", "video") as counter:
        folder = embedded(counter)
    click.echo(folder)

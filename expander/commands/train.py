"""x"""
import click


@click.command()
def train() -> None:
    """x"""

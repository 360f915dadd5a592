"""`expander`: the command line. Errors for people are one line; exit codes are documented here."""

from __future__ import annotations

import logging
import signal
import sys
from typing import Any, NoReturn

import click

from expander import __version__
from expander.cli.baseline import baseline
from expander.cli.contract import contract
from expander.cli.cost import cost, trace
from expander.cli.data import data
from expander.cli.report import report, status
from expander.cli.search import search
from expander.cli.test import test
from expander.cli.train import train
from expander.cli.weights import predict, weights
from expander.errors import ExpanderError
from expander.video.filenames import printable

EXIT_CODES = """\b
Exit codes:
  0  done
  1  a bug in expander (with a traceback)
  2  usage or configuration
  3  data: missing, unreadable or inconsistent
  4  finished, but some trials or videos failed; or the loss of a training is no number
  5  the target or budget cannot be met
  6  environment: disk, permissions, a lock, Ray
  130 / 143  interrupted / terminated
"""


@click.group(epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="expander")
def cli() -> None:
    """Grow a video network, one axis at a time, to a budget of multiply-adds."""


for command in (
    search, train, test, report, status, contract, baseline, trace, cost, predict, weights, data
):  # fmt: skip
    cli.add_command(command)


def _terminated(*_: Any) -> NoReturn:
    raise SystemExit(143)


def main() -> NoReturn:
    """The console script."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    signal.signal(signal.SIGTERM, _terminated)
    try:
        code = cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        code = 130
    except click.ClickException as error:
        click.echo(f"error: {error.format_message()}", err=True)
        code = error.exit_code
    except ExpanderError as error:
        click.echo(f"error: {printable(str(error))}", err=True)
        code = error.exit_code
    except KeyboardInterrupt:
        code = 130
    sys.exit(code if isinstance(code, int) else 0)


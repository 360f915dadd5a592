"""`expander`: the command line. Errors for people are one line; exit codes are documented here."""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import signal
import sys
import tempfile
import traceback
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import click

from expander import __version__
from expander.cli.baseline import baseline
from expander.cli.contract import contract
from expander.cli.cost import cost, trace
from expander.cli.data import data
from expander.cli.output.terminal import CLOSED_PIPE, log_to_terminal, open_streams, say, unheard
from expander.cli.report import report, status
from expander.cli.search import search
from expander.cli.test import test
from expander.cli.train import train
from expander.cli.weights import predict, weights
from expander.data.store.patience import WISH
from expander.errors import EnvironmentFault, ExpanderError, out_of_memory
from expander.video.filenames import one_line

EXIT_CODES = """\b
Exit codes:
  0  done
  1  a bug in expander (told in a line; a file has the traceback)
  2  usage or configuration
  3  data: missing, unreadable or inconsistent
  4  finished, but some trials or videos failed; or the loss of a training is no number
  5  the target or budget cannot be met
  6  environment: disk, permissions, a lock, memory, Ray
  130 / 143  interrupted / terminated
  141  nobody reads its output any more
"""
DEBUG = "EXPANDER_DEBUG"
"""Set to anything, it shows the traceback of every error."""
MACHINE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO,
           errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENAMETOOLONG,
           errno.ELOOP)  # fmt: skip
"""What the machine does to any file, whoever opens it."""


@click.group(epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="expander")
def cli() -> None:
    """Grow a video network, one axis at a time, to a budget of multiply-adds."""


for command in (
    search, train, test, report, status, contract, baseline, trace, cost, predict, weights, data
):  # fmt: skip
    cli.add_command(command)


def _interrupted(*_: Any) -> NoReturn:
    WISH.asked = True
    raise KeyboardInterrupt


def _terminated(*_: Any) -> NoReturn:
    WISH.asked = True
    raise SystemExit(143)


def main() -> NoReturn:
    """The console script."""
    open_streams()
    log_to_terminal()
    signal.signal(signal.SIGTERM, _terminated)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a shell's background ignores it
        signal.signal(signal.SIGINT, _interrupted)
    out = sys.stdout
    try:
        code = cli.main(standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt):
        code = 130
    except SystemExit as end:
        # click calls it a failure that nobody reads a page of help any more, and puts another stream there.
        code = end.code if sys.stdout is out else CLOSED_PIPE
    except click.ClickException as error:
        code = _told(error.format_message(), error.exit_code)
    except Exception as error:
        code = _ended(error)
    code = code if isinstance(code, int) else 0
    if WISH.abandoned:  # the libraries would wait for a store that is silent
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
        os._exit(code)
    sys.exit(code)


def _ended(error: Exception) -> int:
    """Tells of an error in a line; the exit code."""
    if os.environ.get(DEBUG):
        traceback.print_exception(error)
    if isinstance(error, OSError) and _echoed(error):
        return _told(str(unheard(error)), EnvironmentFault.exit_code)
    if isinstance(error, ExpanderError):
        return _told(str(error), error.exit_code)
    if isinstance(error, OSError) and error.errno in MACHINE:
        return _told(f"{error.filename or 'the system'}: {error.strerror}", EnvironmentFault.exit_code)
    if out_of_memory(error):
        what = str(error).strip().partition("\n")[0] or "no more of it is to be had"
        return _told(f"not enough memory: {what}", EnvironmentFault.exit_code)
    said = f"a bug in expander: {type(error).__name__}: {str(error)[:200]}"
    return _told(f"{said}; {_reported(error)}", 1)


def _echoed(error: OSError) -> bool:
    """Whether it came of writing to standard output, as click does with its pages of help."""
    return any(frame.name == click.echo.__name__ for frame in traceback.extract_tb(error.__traceback__))


def _told(line: str, code: int) -> int:
    with contextlib.suppress(SystemExit, ExpanderError):  # where nobody can hear it, the code says it
        say(f"error: {one_line(line)}", err=True)
    return code


def _reported(error: Exception) -> str:
    """Writes what helps to find a bug into a file, and says where; nothing of the environment is in it."""
    # platform.platform() may start a process, which fails where the current folder is gone.
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    versions = f"expander {__version__}, Python {platform.python_version()}, {system}"
    called = " ".join(["expander", *map(ascii, sys.argv[1:])])
    text = "\n".join([versions, called, "", *traceback.format_exception(error)])
    name = f"expander-crash-{datetime.now():%Y%m%d-%H%M%S}-{os.getpid()}.txt"
    for folder in (Path.cwd, lambda: Path(tempfile.gettempdir())):
        with contextlib.suppress(OSError):
            file = folder() / name
            own = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(own, "w", errors="replace") as out:
                out.write(text)
            return f"a report for its makers is in {file}"
    return f"{DEBUG}=1 shows where"

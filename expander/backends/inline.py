"""InlineBackend: one trial after another in this process. For tests and tiny runs."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from dataclasses import replace

from expander.backends.base import Report, last_lines
from expander.errors import ExpanderError
from expander.runs.events import TrialFailure, TrialOrder
from expander.training.trial import Stopped, gpus_here, run_trial


class InlineBackend:
    """Runs trials here and now, in the order given."""

    def __enter__(self) -> InlineBackend:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to release."""

    def run(self, orders: Sequence[TrialOrder], report: Report) -> None:
        """See backends.base.Backend."""
        for order in orders:
            try:
                outcome = run_trial(replace(order, gpus=gpus_here()))
            except Stopped:
                return
            except ExpanderError:
                raise
            except Exception:
                outcome = TrialFailure(order.trial.id, last_lines(traceback.format_exc()))
            report(outcome)

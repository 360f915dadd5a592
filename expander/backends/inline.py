"""InlineBackend: one trial after another in this process. For tests and tiny runs."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from dataclasses import replace

from expander.backends.base import Report, last_lines
from expander.backends.stored_trial import at_hand
from expander.errors import ExpanderError
from expander.runs.orders import TrialOrder
from expander.runs.trials import TrialFailure, TrialResult
from expander.training.proxy.trial import Stopped, gpus_here, run_trial


class InlineBackend:
    """Runs trials here and now, in the order given."""

    def __enter__(self) -> InlineBackend:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to release."""

    def run(self, orders: Sequence[TrialOrder], report: Report) -> None:
        """See backends.base.Backend."""
        for order in orders:
            outcome = outcome_of(replace(order, gpus=gpus_here()))
            if outcome is None:
                return
            report(outcome)


def outcome_of(order: TrialOrder) -> TrialResult | TrialFailure | None:
    """Of a trial in this process; none if the run was asked to stop. Raises ExpanderError."""
    try:
        with at_hand(order) as (here, keep):
            return run_trial(here, keep)
    except Stopped:
        return None
    except ExpanderError:
        raise
    except Exception:
        return TrialFailure(order.trial.id, last_lines(traceback.format_exc()), gpus=order.gpus)

"""expander: grow a video network, one axis at a time, to a budget of multiply-adds."""

# The packages first: one that is imported after the function of its name would take that name.
import expander.report
import expander.search  # noqa: F401
from expander.api.jobs import detect, prepare, report, resume, search, test, train
from expander.api.networks import build, cost, load, people, predict, trace
from expander.specs.spec import Spec

__all__ = ["Spec", "build", "cost", "detect", "load", "people", "predict", "prepare", "report", "resume",
           "search", "test", "trace", "train"]  # fmt: skip
__version__ = "0.1.0"

"""The metrics of a training in further forms: CSV, or TensorBoard's event files."""

from __future__ import annotations

import csv

from expander.errors import EnvironmentFault, disk_faults
from expander.training.training_folder import MEASURES, Row, TrainingFolder, goodness_of

COLUMNS = ("epoch", "step", "loss", "lr", "clips_per_second", "data_wait", "val_loss")


class Log:
    """Takes the rows of metrics.jsonl as they come; this one leaves it at that file."""

    def __init__(self, folder: TrainingFolder) -> None:
        self.folder = folder

    def add(self, row: Row) -> None:
        """One more row."""

    def close(self) -> None:
        """The training has ended."""


class CsvLog(Log):
    """metrics.csv, made from metrics.jsonl at the end and at every validation."""

    def add(self, row: Row) -> None:
        """Writes the file when a validation is done."""
        if goodness_of(row) is not None:
            self.close()

    def close(self) -> None:
        """Writes the file. Raises EnvironmentFault."""
        path = self.folder.folder / "metrics.csv"
        with disk_faults(path), path.open("w", newline="") as file:
            rows = self.folder.rows()
            measures = [name for name in MEASURES if any(name in row for row in rows)] or MEASURES[:1]
            table = csv.DictWriter(file, (*COLUMNS, *measures))
            table.writeheader()
            table.writerows(rows)


class TensorBoardLog(Log):
    """Event files in tensorboard/ (tensorboardX, which comes with ray[tune])."""

    def __init__(self, folder: TrainingFolder) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            raise EnvironmentFault("--log tensorboard needs tensorboardX: pip install tensorboardX") from None
        self.writer = SummaryWriter(str(folder.folder / "tensorboard"))

    def add(self, row: Row) -> None:
        """Every number of the row, by its name, at its step."""
        for name, value in row.items():
            if name not in ("epoch", "step"):
                self.writer.add_scalar(name, value, row["step"])

    def close(self) -> None:
        """Writes what is not written yet."""
        self.writer.close()


LOGS = {"": Log, "csv": CsvLog, "tensorboard": TensorBoardLog}


def open_log(form: str, folder: TrainingFolder) -> Log:
    """The log of a form (`csv`, `tensorboard`, or empty for none), with the rows there are already."""
    return LOGS[form](folder)

"""Makes runs/reference/ of a finished run: what a report needs, without weights, under 1 MB.

    python analysis/reference_run.py runs/demo

Copies the journal, the settings, the specs, baselines, tests and the trials' metrics; keeps the few
frames that the page shows, so that it shows them where the videos are not; draws the figures of
README.md and docs/decisions.md into docs/. `expander report runs/reference` then works in any checkout.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from expander.report.figures import gains, growth, save_trajectory
from expander.report.filmstrip import KEPT, films, keep
from expander.report.reader import History, history
from expander.report.style import save
from expander.report.videos import videos_of
from expander.runs.events import SCHEMA
from expander.runs.journal import Run
from expander.runs.sealed_lines import Chain, SealedLines, opened_document, sealed_document

FILES = ("config.yaml", "provenance.json", "journal.jsonl", "baselines.jsonl", "specs/*.yaml", "tests/*.json",
         "trials/*/metrics.jsonl")  # fmt: skip
MOST = 1_000_000
"""Bytes of all of it."""


def export(source: Path, target: Path) -> int:
    """Copies a run; its size in bytes. Names of this machine's folders are left out."""
    shutil.rmtree(target, ignore_errors=True)
    places = {str(source.resolve()): target.as_posix(), str(Path.cwd()): ".", str(Path.home()): "~"}
    size = 0
    for pattern in FILES:
        for file in sorted(source.glob(pattern)):
            size += _write(target / file.relative_to(source), _moved(file, places))
    return size + _write(target / KEPT, _frames(history(Run(source))))


def _moved(file: Path, places: Mapping[str, str]) -> str:
    """The text of a file with other places in it, sealed anew where it was sealed."""

    def moved(text: str) -> str:
        for place, instead in places.items():
            text = text.replace(f"{place}/", f"{instead}/")
        return text

    if file.suffix == ".jsonl":
        lines, chain = SealedLines(file, "a line", SCHEMA), Chain()
        texts = [moved(line.decode()) for _, line in lines.read()]
        sealed = lines.protected()
        return "".join(chain.seal(text).decode() if sealed else f"{text}\n" for text in texts)
    text = moved(file.read_text(encoding="utf-8"))
    if file.suffix == ".json" and '\n "seal": "' in text:
        opened_document(file.read_bytes())
        return sealed_document({k: v for k, v in json.loads(text).items() if k != "seal"}).decode()
    return text


def _frames(past: History) -> str:
    """The frames of the first and the last spec."""
    path = [step.chosen.winner.spec for step in past.path if step.chosen]
    return keep(films(videos_of(past), list(dict.fromkeys([path[0], path[-1]])), past.run.folder)) + "\n"


def _write(file: Path, text: str) -> int:
    file.parent.mkdir(parents=True, exist_ok=True)
    return file.write_text(text, encoding="utf-8")


def draw(run: Run, folder: Path) -> None:
    """The figures that the README shows."""
    past = history(run)
    save_trajectory(past, folder / "trajectory.png")
    for name, figure in (("gains", gains(past)), ("growth", growth(past))):
        if figure is not None:
            save(figure, folder / f"{name}.png")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/reference"))
    parser.add_argument("--figures", type=Path, default=Path("docs"))
    given = parser.parse_args()
    if not history(Run(given.run)).path:
        parser.error(f"{given.run} has no decided step")
    size = export(given.run, given.out)
    draw(Run(given.out), given.figures)
    print(f"{given.out}: {size / 1e3:.0f} kB; figures in {given.figures}/")
    if size > MOST:
        raise SystemExit(f"{given.out} is larger than {MOST / 1e6:.0f} MB: take a shorter run")


if __name__ == "__main__":
    main()

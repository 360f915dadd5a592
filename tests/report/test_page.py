"""The page of a run: what it says, harmless names, and a real browser that shows it."""

from __future__ import annotations

import base64
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from browser import Browser, installed
from conftest import ASSETS
from test_report_results import RESULT, SPEC, TEST, write_lines

from expander.report.page import page
from expander.runs.evidence import pack_bits

BAD = "<script>window.harmed = 1</script>"
WORSE = '"><img src=x onerror="window.harmed = 1"> Ünï çødé =1+1 $x$ 日本'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with everything in it, and names that would do harm wherever a name may stand."""
    folder = tmp_path_factory.mktemp("runs") / "a run & <b>"
    (folder / "tests").mkdir(parents=True)
    shutil.copy(ASSETS / "journal-v1.jsonl", folder / "journal.jsonl")
    text = (folder / "journal.jsonl").read_text()
    events = [json.loads(line) for line in text.splitlines()]
    for event in events:
        if event["event"] == "trial_failed":
            event["failure"]["reason"] = f"{BAD} {WORSE}"
        if event["event"] == "step_chosen":
            for standing in event["standings"]:
                standing["failed"] = WORSE if standing["failed"] else ""
    events[0]["data"]["train_ann"] = events[0]["data"]["val_ann"] = f"/{BAD}/{WORSE}.txt"
    (folder / "journal.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    about = {"command": ["cli.py", "search", "--run", f"{BAD} {WORSE}"], "versions": {"python": WORSE},
             "platform": BAD,
             "pace": {"fixed": 1.0, "per_clip": 0, "per_mac": 0, "videos": 9, "parallel": 2}}  # fmt: skip
    (folder / "provenance.json").write_text(json.dumps(about))
    price = {"macs": 433_000, "params": 6, "activations": 7}
    write_lines(folder / "baselines.jsonl", [
        {"kind": kind, "name": f"{BAD}{WORSE}", "spec": asdict(SPEC), "cost": price,
         "result": {**RESULT, "accuracy": right / 100, "videos": 100,
                    "correct": pack_bits(video < right for video in range(100))}}
        for kind, right in (("random", 30), ("random", 35), ("compound", 38), ("single-axis", 40))
    ])  # fmt: skip
    names = [f"{BAD}{number} {WORSE}" for number in range(3)]
    test = {**TEST, "classes": names, "failed": [{"path": f"{BAD}.mp4", "reason": WORSE}],
            "per_class": [{**row, "class": name} for row, name in zip(TEST["per_class"], names, strict=True)]}
    (folder / "tests" / f"x {'<i>'}.json").write_text(json.dumps(test))
    (folder / "training.json").write_text(json.dumps({"spec": asdict(SPEC), "state": WORSE, "best": {}}))
    write_lines(folder / "metrics.jsonl", [{"epoch": n, "loss": 1 / (n + 1)} for n in range(4)])
    trial = folder / "trials" / "s00-base-seed000-244341f7"
    write_lines(trial / "metrics.jsonl", [{"step": n, "loss": 2.0 - n / 10} for n in range(1, 9)])
    return folder


@pytest.fixture(scope="module")
def text(folder: Path) -> str:
    """Its page."""
    return page([folder])


def test_a_page_says_what_was_found_and_that_baselines_of_odd_names_are_not_weighed(text: str) -> None:
    assert "The target is met" in text
    assert "not weighed: " in text
    assert "baselines.jsonl:1: not a trial" in text
    assert "frame_rate: 1.5" in text  # the spec, to copy


def test_a_page_is_one_file_that_asks_for_nothing(text: str) -> None:
    shown = re.sub(r'xmlns(:\w+)?="[^"]*"', "", text)
    assert re.findall(r'(?:src|href|action)\s*=\s*"(?!data:|#)[^"]*"', shown) == []
    assert "url(http" not in shown
    assert "@import" not in shown
    assert len(re.findall("<script", text)) == 1


def test_a_page_names_what_is_absent(tmp_path: Path) -> None:
    shutil.copy(ASSETS / "journal-v1.jsonl", tmp_path / "journal.jsonl")
    text = page([tmp_path])
    assert "No baselines were trained" in text
    assert "no provenance.json" in text
    assert "not recorded" in text
    assert "Multi-view tests" not in text


def test_a_step_with_one_candidate_has_no_score_to_show(text: str) -> None:
    head, _, rest = text.partition("Every candidate of every step")[2].partition("</thead>")
    columns = re.findall(r"<th [^>]*>([^<]*)</th>", head)
    body = rest.partition("</tbody>")[0].split("<tr>")[1:]
    rows = [re.findall(r"<td[^>]*>([^<]*)</td>", row) for row in body]
    shown = [dict(zip(columns, row, strict=True)) for row in rows]
    alone = [row for row in shown if [r["step"] for r in shown].count(row["step"]) == 1]
    assert alone
    assert [row["score"] for row in alone] == [""] * len(alone)
    assert any(row["score"] for row in shown)


needs_browser = pytest.mark.skipif(installed() is None, reason="no Chromium on PATH")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One Chromium for all tests of this file."""
    program = installed()
    assert program is not None
    with Browser(program, tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory, text: str) -> str:
    """Its address on disk."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(text)
    return path.as_uri()


FIGURES = """[...document.querySelectorAll('figure svg')].map(svg => {
  const box = svg.getBoundingClientRect();
  const cut = [...svg.querySelectorAll('text')].filter(text => {
    const b = text.getBoundingClientRect();
    return b.left < box.left - 3 || b.right > box.right + 3
      || b.top < box.top - 3 || b.bottom > box.bottom + 3;
  }).map(text => text.textContent);
  return {name: svg.getAttribute('class'), width: box.width, height: box.height, right: box.right, cut};
})"""


CUT = """[...document.querySelectorAll('caption span, pre, p, li, h1, h2, dd, figcaption')]
  .filter(e => e.getBoundingClientRect().right > innerWidth
    || (innerWidth < 640 && e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display == 'block'))
  .map(e => e.textContent)"""


@pytest.mark.slow
@needs_browser
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_shows_every_figure_and_complains_of_nothing(
    browser: Browser, file: str, width: int, scheme: str
) -> None:
    browser.show(width, 900, scheme)
    browser.open(file)
    seen: list[dict[str, Any]] = [f for f in browser.evaluate(FIGURES) if f["width"] > 0]
    which = "w" if width > 640 else "n"
    kinds = ("trajectory", "gains", "growth", "layers", "curves")
    assert {f["name"] for f in seen} >= {f"r0{kind}{which}" for kind in kinds}
    assert len(seen) == len(kinds) + 3
    for figure in seen:
        assert figure["width"] > 250, figure
        assert figure["height"] > 80, figure
        assert figure["right"] <= width, figure
        assert figure["cut"] == [], figure
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.evaluate(CUT) == []
    complaints = ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled")
    assert [event for event in browser.events if event[0] in complaints] == []
    asked = [p["request"]["url"] for m, p in browser.events if m == "Network.requestWillBeSent"]
    assert [url for url in asked if not url.startswith("data:")] == [file]
    assert browser.evaluate("typeof window.harmed") == "undefined"
    luminance = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]"
    assert (browser.evaluate(luminance) < 60) == (scheme == "dark")
    ink = "getComputedStyle(document.querySelector('figure svg text')).fill"
    assert browser.evaluate(ink) == browser.evaluate("getComputedStyle(document.body).color")


@pytest.mark.slow
@needs_browser
def test_tables_sort_by_a_press_and_read_without_scripts(browser: Browser, file: str) -> None:
    table = "document.querySelector('table.sortable')"
    column = f"[...{table}.tBodies[0].rows].map(r => Number(r.cells[%d].dataset.key))"
    heads = f"[...{table}.tHead.rows[0].cells].map(c => c.textContent)"
    browser.show(1280, 900)
    browser.open(file)
    cost = browser.evaluate(heads).index("cost")
    press = f"document.querySelectorAll('table.sortable th')[{cost}].querySelector('button').click()"
    before = browser.evaluate(column % cost)
    browser.evaluate(press)
    assert browser.evaluate(column % cost) == sorted(before)
    browser.evaluate(press)
    assert browser.evaluate(column % cost) == sorted(before, reverse=True)
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    browser.open(file)
    browser.call("Emulation.setScriptExecutionDisabled", value=False)
    assert browser.evaluate(heads)[cost] == "cost"
    assert browser.evaluate("document.querySelectorAll('th button').length") == 0


@pytest.mark.slow
@needs_browser
def test_a_page_prints_on_several_sheets(browser: Browser, file: str) -> None:
    browser.show(718, 1000, "dark", media="print")  # A4 between its margins
    browser.open(file)
    assert browser.evaluate("document.documentElement.scrollWidth") <= 718
    assert browser.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    pdf = base64.b64decode(browser.call("Page.printToPDF", printBackground=True)["data"])
    assert pdf.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) >= 3

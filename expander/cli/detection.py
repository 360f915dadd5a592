"""What `test --task detection` and `predict --boxes` say."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expander.cli.options import data_settings
from expander.cli.output.terminal import Counter, going_on, say
from expander.errors import UsageError

if TYPE_CHECKING:
    from expander.evaluation.people import Person
    from expander.specs.spec import Spec

USUAL = {"key": None, "metrics": (), "topk": (1, 5), "views": "10", "protocol": "expander", "average": None}
"""Options of a test of classification, as they are if nobody gives them: detection has none of them."""
SHOWN = 10


def test(spec: str, checkpoint: str | None, least: float | None, options: dict[str, Any]) -> None:
    """Carries it out. Raises UsageError for options of a test of classification."""
    from expander.engine.detect import DetectionTest, carry_out, prepare
    from expander.report.detection.detections import write

    if strange := [name for name, usual in USUAL.items() if options[name] != usual]:
        option = {"metrics": "eval", "average": "average-clips"}.get(*strange[:1] * 2)
        raise UsageError(f"--{option}: not of --task detection")
    if options["dump"] is not None:
        raise UsageError("--dump-scores: not of --task detection: all scores are in the NAME.detections.csv "
                         "that a test leaves beside its result, --out NAME.json")  # fmt: skip
    own = {name: options[name] for name in ("device", "batch", "workers", "timeout", "out", "resume")}
    order = DetectionTest(spec, checkpoint, data_settings(options), least, **own)
    with Counter("making the embedded scenes (once)", "video") as counter:
        prepared = prepare(order, counter)
    with prepared.scores:
        with going_on(prepared.scores.file is not None), Counter("testing", "key frame") as counter:
            found = carry_out(prepared, counter)
        _show(found.result)
        if prepared.out is not None:
            table = write(prepared.out, found)
            say(f"result: {prepared.out}")
            say(f"detections: {table}")
        prepared.scores.forget(found.result["n_failed"])
    if found.result["n_failed"] and not options["allow_missing"]:
        say(f"{found.result['n_failed']} videos failed; --allow-missing accepts that", err=True)
        raise SystemExit(4)


def _show(found: dict[str, Any]) -> None:
    from expander.report.tables import macs_text

    row, price = found["metrics"]["frame_map"], found["cost"]
    say(f"frame mAP            {row['value']:7.2%}  [{row['low']:.2%}, {row['high']:.2%}] at IoU "
        f"{found['iou']:g}, 95 % over videos")  # fmt: skip
    ranked = sorted(found["per_class"], key=lambda one: -one["average_precision"])
    for one in ranked[:SHOWN]:
        say(f"  {one['class']:18} {one['average_precision']:7.2%}  {one['n']} boxes")
    if len(ranked) > SHOWN:
        say(f"  and {len(ranked) - SHOWN} more classes below these")
    if found["people"] == "true":
        say("people               those of the ground truth, for want of a list of detected ones: no number "
            "to compare with others")  # fmt: skip
    say(f"key frames           {found['n']} of {found['videos']} videos, {found['boxes']} people scored, "
        f"{found['n_failed']} videos failed")  # fmt: skip
    say(f"multiply-adds        {macs_text(price['macs_per_clip'])} a clip with one person, "
        f"{macs_text(price['macs_per_person'])} each further one")  # fmt: skip
    say(f"time                 {found['seconds']:.1f} s, {found['key_frames_per_second']:.2f} key frames/s")
    for one in found["failed"][:5]:
        say(f"failed: {one['reason']}", err=True)


def ask(
    weights: Path, video: Path, boxes: Path, draw: Path | None, topk: int, spec: Spec | None, timeout: float,
    as_json: bool,
) -> None:  # fmt: skip
    """The actions of each person in the boxes of a video; draw: the film to write."""
    from expander.evaluation.people import people_of
    from expander.report.detection.drawn_video import Labelled, draw_video

    target = _target(draw, video) if draw else None
    found = people_of(weights, video, boxes, topk, spec, timeout)
    if as_json:
        say(json.dumps([asdict(person) for person in found], indent=1))
    else:
        for person in found:
            said = ", ".join(f"{one.label} {one.probability:.1%}" for one in person.actions)
            say(f"{person.second:9.2f} s  person {person.number}  {said}")
    if target is not None:
        shown = [Labelled(person.second, person.box, _written(person)) for person in found]
        draw_video(video, shown, target, timeout)
        say(f"drawn: {target}", err=as_json)


def _target(draw: Path, video: Path) -> Path:
    """The film to write, links followed. Raises UsageError for a name that cannot be one."""
    from expander.config.reading import is_folder
    from expander.runs.targets import regular

    if draw.suffix.lower() != ".mp4":
        raise UsageError(f"--draw {draw}: films are written as MP4; name a file that ends in .mp4")
    target = regular(draw, "--draw")
    if target.resolve() == video.resolve():
        raise UsageError(f"--draw: {target} is the video itself; name another file")
    if not is_folder(target.parent):
        raise UsageError(f"--draw {draw}: there is no folder {target.parent}")
    return target


def _written(person: Person) -> str:
    """At a box of a film: the likeliest action, and others that are more likely than not."""
    rows = [one for place, one in enumerate(person.actions) if place == 0 or one.probability >= 0.5]
    return "\n".join(f"{one.label} {one.probability:.0%}" for one in rows)

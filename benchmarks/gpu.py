"""The GPU path in one command: is it correct, how fast is it, does the whole product run on it?

Each part runs in a process of its own with a limit of time; one that fails or takes too long is said so
and ends no other. Prints a table last and writes everything to gpu.json and a log a part. Needs no Ray
and no network. On a CPU the parts run in small, the Triton kernels in their interpreter.

    python benchmarks/gpu.py --out runs/gpu
    python benchmarks/gpu.py --out runs/gpu --parts correctness kernels
    python benchmarks/gpu.py --small                     # what a CPU can try

Exit codes: 0, or 4 when a part failed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PARTS = {  # seconds allowed
    "correctness": 90,
    "kernels": 90,
    "blocks": 90,
    "training": 120,
    "compiled": 240,
    "inference": 90,
    "forecast": 60,
    "product": 240,
    "profile": 60,
}


def run_part(name: str, out: Path, small: bool, seconds: float) -> dict[str, Any]:
    """Runs one part in a process; its rows, and what became of it."""
    rows, log = out / f"{name}.jsonl", out / f"{name}.log"
    rows.unlink(missing_ok=True)
    command = [sys.executable, str(HERE / "gpu_parts.py"), name, str(rows), *(["--small"] if small else [])]
    environment = dict(os.environ, PYTHONUNBUFFERED="1")
    if small:
        environment["TRITON_INTERPRET"] = "1"
    start, state = time.monotonic(), "ok"
    with log.open("wb") as told:
        try:
            code = subprocess.run(
                command, stdout=told, stderr=subprocess.STDOUT, env=environment, timeout=seconds, check=False
            ).returncode
            state = "ok" if code == 0 else f"failed (exit {code}): {_last_line(log)}"
        except subprocess.TimeoutExpired:
            state = f"stopped after {seconds:g} s"
    found = [json.loads(line) for line in rows.read_text().splitlines()] if rows.exists() else []
    return {"part": name, "state": state, "seconds": round(time.monotonic() - start, 1), "rows": found}


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1][:200] if lines else "it printed nothing"


def table(results: list[dict[str, Any]]) -> str:
    """What the parts found, a line a row."""
    lines = []
    for result in results:
        lines.append(f"{result['part']}: {result['state']}, {result['seconds']} s")
        for row in result["rows"]:
            numbers = "  ".join(f"{key} {_short(value)}" for key, value in row.items() if key != "what")
            lines.append(f"  {row['what']:44} {numbers}")
    return "\n".join(lines)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def main() -> None:
    """Parse the options, run the parts, print the table."""
    parser = argparse.ArgumentParser(description="The GPU path: correctness, speed, the product.")
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"), help="folder of gpu.json and the logs")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--small", action="store_true", help="in small; the default without a GPU")
    parser.add_argument("--limit", type=float, help="seconds of each part  [default: its own]")
    options = parser.parse_args()
    import torch

    small = options.small or not torch.cuda.is_available()
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU, kernels interpreted"
    options.out.mkdir(parents=True, exist_ok=True)
    results = []
    for name in options.parts:
        results.append(run_part(name, options.out, small, options.limit or PARTS[name]))
        print(f"{name}: {results[-1]['state']}, {results[-1]['seconds']} s", flush=True)
        text = json.dumps({"device": device, "torch": torch.__version__, "parts": results}, indent=1)
        (options.out / "gpu.json").write_text(text + "\n")
    print(f"\n{device}, torch {torch.__version__}\n{table(results)}")
    raise SystemExit(0 if all(result["state"] == "ok" for result in results) else 4)


if __name__ == "__main__":
    main()

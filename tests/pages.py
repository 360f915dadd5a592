"""The pages of the documentation, and what they tell people to type."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(text: str, language: str | None = None) -> list[str]:
    """Fenced blocks: all, or those of a language."""
    return [block for kind, block in FENCE.findall(text) if language in (None, kind.strip())]


def fenced_commands(text: str) -> list[str]:
    """Every `expander …` line of fenced blocks; lines that end in a backslash are joined."""
    whole = "\n".join(blocks(text)).replace("\\\n", " ")
    lines = [line.strip().removeprefix("$ ").removeprefix(".venv/bin/") for line in whole.split("\n")]
    return [line for line in lines if line.startswith("expander ")]

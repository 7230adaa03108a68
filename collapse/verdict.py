"""What a stage is called where people read it."""

from __future__ import annotations

# "late" alone is read as "arrived late"; data (JSON, Parquet, tags) keeps the keys
SHOWN: dict[str, str] = {
    "healthy": "healthy",
    "early": "early collapse",
    "late": "late collapse",
    "distorted": "distorted",
    "drifted": "drifted",
    "halted": "halted",
}


def within(stage: str) -> str:
    """Return what follows 'is': in late collapse, distorted, healthy."""
    return f"in {SHOWN[stage]}" if stage in ("early", "late") else SHOWN.get(stage, stage)

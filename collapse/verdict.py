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

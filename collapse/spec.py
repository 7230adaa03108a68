"""The strict, frozen base of everything that a study file configures."""

from __future__ import annotations

import hashlib
import json
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict


class Spec(BaseModel):
    """A frozen set of parameters. Unknown keys and wrong types are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True)

    kind: ClassVar[str]

    def spec(self) -> dict[str, Any]:
        """Return kind and parameters as plain data, defaults included."""
        return {"kind": self.kind, **self.model_dump(mode="json")}

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the canonical JSON of :meth:`spec`."""
        return digest(self.spec())


def canonical(value: Any) -> str:
    """Return JSON with sorted keys and no white space: equal data, equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: Any) -> str:
    """Return the SHA-256 of the canonical JSON of ``value``."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()

"""`collapse seal`: verify a study, and write one root hash for all of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from collapse_lab.commands._options import Debug


def seal(
    study: Annotated[str, typer.Argument(help="The study.")],
    key: Annotated[Path | None, typer.Option("--key", help="An Ed25519 key in PEM form that signs the root; made if it "
                                                           "is not there. Keep it out of the project.",
                                             metavar="FILE")] = None,
    debug: Debug = False,
) -> None:
    """Verify a study and write one root hash for all of it, signed if there is a key, to seals/STUDY.json."""
    from collapse_lab.audit import report as auditing

    found, public = auditing.seal(study, key)
    print(f"root {found}")
    print(f"signed; check with: collapse audit {study} --signed-by {public}" if public else
          f"unsigned; keep the root elsewhere and check with: collapse audit {study} --root {found}")

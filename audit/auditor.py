"""Walk a dataset back to real data and verify every step: hashes, the chain, the regime's arithmetic, DVC's record.

Nothing is believed that can be computed again. A regime is a function of the parent's pool, the sample and addressed
random numbers, so the pool that it allows is made again and compared part by part; generation 0 is drawn again from
its source. Only training and sampling are taken at their word, unless they are replayed (:meth:`Auditor.replay`).
"""

from __future__ import annotations

from contextlib import suppress

from collapse.lineage.layout import Files
from collapse.lineage.makeup import makeup
from collapse.lineage.nodes import Node, all_nodes, ancestors
from collapse.manifest import MANIFEST
from collapse.study.parse import Study
from collapse_lab.audit import again, records, stored
from collapse_lab.audit.lock import Lock
from collapse_lab.audit.reader import Reader
from collapse_lab.audit.visit import Broken, Checked, Fault, Visit


class Auditor:
    """Verifies nodes of the project in the working directory; each file is read once, whatever links to it."""

    def __init__(self, studies: dict[str, Study]):
        self.studies = studies
        self.nodes = all_nodes(studies)
        self.found: dict[str, Checked] = {}
        self.reader = Reader()
        self.lock = Lock(self.reader)

    def way(self, name: str) -> list[Checked]:
        """Verify a node and all it stems from, generation 0 first."""
        way = [self.node(node) for node in reversed(ancestors(self.nodes, name))]
        # A manifest that was edited may say anything, and then nothing is said of what it is made of.
        if all(checked.manifest.get("parts") is not None and not checked.edited for checked in way):
            made = makeup([checked.manifest for checked in way], [checked.trained for checked in way])
            for checked, found in zip(way, made, strict=True):
                checked.makeup = found
        return way

    def node(self, node: Node) -> Checked:
        """Verify one node against its parent, its study and DVC's record."""
        if node.name not in self.found:
            checked = self.found[node.name] = Checked(node.name, node.generation, node.parent)
            with suppress(Broken):
                self._verify(self._visit(node, checked))
        return self.found[node.name]

    def _visit(self, node: Node, checked: Checked) -> Visit:
        return Visit(self.studies[node.study], node, Files.of(node), checked, self.reader, self.nodes)

    def _verify(self, visit: Visit) -> None:
        files, checked = visit.files, visit.checked
        checked.manifest = stored.read(visit, self.lock)
        checked.leaves[str(files.pool / MANIFEST)] = self.reader.digests(files.pool / MANIFEST)[0]
        stored.alone(visit)
        self.lock.compare(visit)
        if checked.parent is not None:
            stored.model(visit)
        again.described(visit)
        parts = stored.parts(visit)
        records.agree(visit)
        if checked.parent is None:
            again.generation_0(visit, parts)
        elif "halted" not in checked.manifest:
            again.pool(visit)

    def replay(self, name: str) -> list[Fault]:
        """Train and sample a node again from its parent, and compare what comes out; nothing is put in place."""
        node = self.nodes[name]
        return again.replay(self._visit(node, Checked(node.name, node.generation, node.parent)))

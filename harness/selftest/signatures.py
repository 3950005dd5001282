"""From the matrix of the self-test to the signatures of its faults. Pure."""

from __future__ import annotations

from collections import Counter

from harness.records.diagnosis import Signature, Signatures
from harness.selftest.matrix import Matrix, Row
from harness.selftest.stages import known


def signatures(matrix: Matrix) -> Signatures:
    """The signatures of all visible faults of a matrix, from what its runs measured."""
    having, judged = Counter[str](), Counter[str]()
    for row in matrix.rows:
        if row.fault.allowed:
            judged.update(list(row.measured))
            having.update(name for name, counts in row.measured.items() if counts[0])
    return Signatures(
        faults=tuple(_signature(row) for row in matrix.rows if row.fault.visible),
        healthy={name: (count, judged[name]) for name, count in sorted(having.items())},
    )


def _signature(row: Row) -> Signature:
    fault, measured = row.fault, row.measured
    return Signature(
        name=fault.name,
        layer=fault.layer,
        description=fault.description,
        source=fault.source,
        expected=known(fault),
        found={name: counts for name, counts in sorted(measured.items()) if counts[0]},
        clean=tuple(sorted(name for name, counts in measured.items() if not counts[0])),
        partial=dict(sorted(row.partial.items())),
    )

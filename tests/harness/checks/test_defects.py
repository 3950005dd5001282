"""Defects of real servers are reported, and allowed variations are not errors."""

import pytest
from defects import ALLOWED, DEFECTS
from examined import details


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.what)
def test_a_defect_is_reported(defect):
    assert defect.found <= {finding.id for finding in details(defect.recording())}


@pytest.mark.parametrize("recording", [row[1] for row in ALLOWED], ids=[row[0] for row in ALLOWED])
def test_an_allowed_variation_is_not_an_error(recording):
    assert [finding for finding in details(recording()) if finding.severity == "error"] == []

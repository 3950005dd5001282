"""Defects of real servers are reported, and allowed variations are not errors."""

import pytest
from defects import ALLOWED, DEFECTS

from harness.api.parsed_rollout import parse_rollout
from harness.rules import catalogue


def examined(recording):
    return catalogue.examine(parse_rollout(recording()))


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.what)
def test_a_defect_is_reported(defect):
    applicable, findings = examined(defect.recording)
    assert defect.found <= {finding.id for finding in findings}
    assert defect.found <= applicable


@pytest.mark.parametrize("recording", [row[1] for row in ALLOWED], ids=[row[0] for row in ALLOWED])
def test_an_allowed_variation_is_not_an_error(recording):
    _, findings = examined(recording)
    errors = [finding for finding in findings if finding.severity == "error"]
    assert errors == []

"""The search for the switches that a case needs."""

import pytest

from tools.ablation import Case, Rig, Switch


class Known(Rig):
    """A rig that knows without which switches an outcome differs."""

    def __init__(self, needed: set[str]) -> None:
        self._needed = needed

    def outcome(self, case: Case, off: object = ()) -> tuple[str, tuple[str, ...]]:
        names = {switch.name for switch in off}  # type: ignore[attr-defined]
        return ("pass" if names & self._needed else "fail"), ()


@pytest.mark.parametrize("needed", [set(), {"a"}, {"d"}, {"b", "c", "e"}])
def test_every_needed_switch_is_found_by_halving(needed: set[str]) -> None:
    switches = [Switch(name, "m", 1, lambda: lambda: None) for name in "abcde"]
    case = Case("fault", [], ("fail", ()))
    assert {switch.name for switch in Known(needed).needed(case, switches)} == needed

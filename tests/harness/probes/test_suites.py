"""Selection by `--suite`, `--only` and `--skip`."""

from typing import get_args

import pytest

from harness.errors import ConfigurationError
from harness.records.settings import SuiteName
from harness.rules.catalogue import PROBES
from harness.rules.suites import choose


def ids(*asked, **more):
    return {probe.id for probe in choose(*asked, **more).probes}


def test_each_suite_includes_the_smaller_one():
    tools, standard, full, long = (ids(suite) for suite in get_args(SuiteName))
    assert tools == set() < standard < full
    assert full | long == set(PROBES)
    assert not full & long
    assert not choose("long").cases
    assert all(choose(suite).cases for suite in ("tools", "standard", "full"))


def test_only_selects_nothing_else_in_any_suite():
    chosen = choose("full", only=["prompt.bare", "load"])
    assert not chosen.cases
    family = {probe.id for probe in PROBES.values() if probe.about.family == "load"}
    assert {probe.id for probe in chosen.probes} == family | {"prompt.bare"}
    assert choose("tools", only=["cases"]).cases


def test_skip_excludes_probes_families_and_cases():
    chosen = choose("standard", skip=["cases", "prompt", "errors.status"])
    assert not chosen.cases
    left = {probe.id for probe in chosen.probes}
    assert left == {
        name
        for name in ids("standard")
        if PROBES[name].about.family != "prompt" and name != "errors.status"
    }


def test_a_prefix_selects_all_matching_ids():
    found = ids("tools", only=["tools.arguments"])
    assert found == {name for name in PROBES if name.startswith("tools.arguments.")}


@pytest.mark.parametrize("name", ["usage", "usage.missing", "chat.stream"])
def test_checks_select_the_cases_that_they_judge(name):
    chosen = choose("full", only=[name])
    assert (chosen.cases, chosen.probes) == (True, ())
    with pytest.raises(ConfigurationError, match=f"{name} cannot be skipped: a check judges"):
        choose("full", skip=[name])


def test_a_feature_skips_the_probes_that_need_it():
    skipped = ids("standard") - {probe.id for probe in choose("standard", (), ["logprobs"]).probes}
    assert (
        skipped == {name for name in ids("standard") if PROBES[name].needs == "logprobs"} != set()
    )


@pytest.mark.parametrize("option", ["only", "skip"])
def test_an_unknown_name_comes_with_a_suggestion(option):
    with pytest.raises(ConfigurationError, match=r"did you mean 'prompt\.system'"):
        choose("full", **{option: ["prompt.systen"]})
    with pytest.raises(ConfigurationError, match=r"families are .*cot, .*errors, limits"):
        choose("full", **{option: ["zzzzzz"]})


def test_a_name_that_is_an_id_and_a_prefix_selects_both() -> None:
    chosen = {probe.id for probe in choose("standard", ["prompt.special"]).probes}
    assert chosen == {"prompt.special", "prompt.special.answer"}

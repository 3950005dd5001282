"""The timeout of requests."""

import pytest

from harness.providers.entries import adhoc_provider, changed
from harness.session import LONG_REPLY, as_sampled

PLAIN = adhoc_provider("http://127.0.0.1:1/v1", "m", ("chat",), None)


@pytest.mark.parametrize(("long_replies", "seconds"), [(True, LONG_REPLY), (False, 600)])
def test_only_evals_wait_longer_by_default(long_replies, seconds):
    assert as_sampled(PLAIN, 4, long_replies=long_replies).timeout == seconds


@pytest.mark.parametrize("seconds", [600, 30])
def test_a_timeout_that_was_set_is_kept(seconds):
    stated = changed(changed(PLAIN, timeout=seconds), model="other")
    assert as_sampled(stated, 4, long_replies=True).timeout == seconds

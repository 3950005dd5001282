"""What `make test` says at its end about tests that were skipped."""

from skipped import not_tested


def test_skipped_tests_are_counted_by_kind_with_what_they_need():
    reasons = [
        "NO PAGE WAS LOOKED AT: no Chromium here (looked for chromium)",
        "no CUDA device",
        "NO PAGE WAS LOOKED AT: no Chromium here (looked for chromium)",
        "there is no /proc",
    ]
    first, second, third = not_tested(reasons)
    assert first.startswith("  2 of pages in a browser; install Chromium")
    assert "make gpu" in second
    assert third == "  1 of others: there is no /proc"

"""Compare runs: what differs between them, and which differences exceed chance.

    columns      what is compared: runs, baseline files and published baselines in one form
    settings     the settings in which two runs differ
    rows         the measures of all columns, with what is tested
    compare      columns in, comparison out
    regressions  what changed since the previous run of the same provider
    history      all runs of a folder over time
    records      the types of comparisons, histories and sites on disk

Runs are read through `harness.frames`. The same samples are paired, so that their difficulty
cancels out, and the tests of one comparison are corrected for their number.
"""

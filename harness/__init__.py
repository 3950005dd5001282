"""The verification harness: sample a provider, record everything, judge the record.

Its packages, each of which imports only what stands below it:

    cli             the command line, the only one that sees everything
    selftest        the reference engine with every known defect, and what found it
    verification    the main job: cases and probes, asked of a provider and judged
    auditing        was any record removed, changed or sampled again?
    doctor          does all that a run needs work?
    bundling        a run packed for others to judge
    verdict         a whole run: its figures, and what the gate says of them
    probes          experiments of several requests each
    golden          the reference engine's numbers, and how far a provider is from them
    judging         single rollouts: outcomes, findings, results of checks
    checks          what is wrong in one rollout
    display         what is seen while a run goes on
    sampling        attempts: the tool loop, many at a time, within a budget
    endpoints       launched, seen to answer, asked which APIs they speak
    transport       requests over HTTP, recorded as they were on the wire
    storage         the run folder: its log, the chain through it, its seal
    samples         what is asked: cases, tools, attempts
    dialects        conversations as Chat Completions and the Responses API have them
    configuration   providers.yaml and gate files
    statistics      pass@k, pass^k and their intervals
    records         the types on disk, which all of these share
    text, steps, errors

What ships with it is in `data`.
"""

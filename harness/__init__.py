"""The verification harness: sample a provider, record everything, judge the record.

Its packages; each imports only packages below it:

    cli             the command line, which may import everything
    selftest        run the reference engine with every known fault and list what detects it
    verification    the main job: run cases and probes and judge them
    auditing        detect records that were removed, changed or sampled again
    doctor          check the setup before a run
    bundling        pack a run so that others can judge it
    verdict         analysis of a whole run, and the gate's verdict
    rules           the registry of checks and probes
    probes          experiments of several requests
    golden          the reference engine's logprobs, and a provider's distance from them
    scoring         outcomes and findings of single rollouts
    checks          rules about single rollouts
    display         progress of a run on the terminal
    sampling        attempts: the tool loop, concurrency and the budget
    endpoints       launch a provider, check that it answers, find its APIs
    findings        findings and their evidence
    parsing         recorded exchanges as parsed events and rollouts
    transport       HTTP requests, recorded as they were on the wire
    storage         the run folder: its log, hash chain and seal
    tasks           cases, tools and attempts
    api             conversations in Chat Completions and the Responses API
    providers       providers.yaml and gate files
    statistics      estimators, intervals, tests of differences, non-inferiority
    records         the types on disk, which all packages share
    text, steps, errors

Data files are in `data`.
"""

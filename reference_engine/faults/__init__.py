"""Known defects of gpt-oss servers, on demand: the proof that the checks detect them.

The reference engine is correct. With `--fault NAME` it reproduces a defect of a real server, such
as a chain of thought that is missing from the prompt, a swapped MXFP4 nibble or a stream without
its terminal event. `gpt-oss-verify selftest` runs every check and probe against every fault and
against the healthy engine, and reports which faults they detect and which false alarms they raise.

- `catalogue.csv` has one row per fault: its name, the layer of the real defect, the effect, the
  public source, the checks or probes of which at least one must detect it, whether a client can see
  it, the share of requests that it affects by default, and who takes it if not the self-test alone:
  the laws of the verdict (`tests/laws`), or the bench of real clients, which are shown it
  (`benchmarks/real_clients.py`). A fault without a public source is
  `constructed`: it proves a rule that no reported fault proves, or leaves a pattern in the log
  probabilities that a golden file names, or it is of the layer `models`: worse models behind the
  healthy server, for which no rule may accuse the server. The `ok:` faults are allowed differences
  between correct servers: an error reported for one of them is a false alarm.
- `layers` has the change that each fault makes to the server, one module per layer.
- `hooks` lists the points at which a fault can act, from the request's JSON to the model's weights.
- `catalogue` joins rows and changes, and parses the `--fault` option.
- `replies` applies faults to recorded replies: `damaged` is a function of a request and its reply.
  Nothing else damages replies: who needs another damage adds a fault.
- `server` wraps the healthy server. A server without faults loads nothing of this package.

To add a fault, add a row to `catalogue.csv`, and its change at a hook. A short change is an
expression, a longer one a decorated function of the fault's name:

    hooks.SSE_FILTER.faults(done_missing=lambda event: not event.done)

    @hooks.SSE_EVENT
    def text_after_finish(event: SseEvent) -> list[SseEvent]:
        ...

Changes of JSON (requests, payloads and their parts) edit it in place; others return the new value.
`Hook.when` restricts changes to some requests. A fault can act at several hooks. Tests require a
request that shows each fault (`tests/reference_engine/test_faults_*.py`).
"""

"""Known defects of gpt-oss servers, on demand: the proof that the checks detect them.

The reference engine is correct. With `--fault NAME` it reproduces a defect of a real server, such
as a chain of thought that is missing from the prompt, a swapped MXFP4 nibble or a stream without
its terminal event. `gpt-oss-verify selftest` runs every check and probe against every fault and
against the healthy engine, and reports which faults they detect and which false alarms they raise.

- `layers` declares the faults, one module per layer of a server. A fault is one decorated function
  with its layer, its public source, its effect, and the checks or probes that must detect it. The
  `ok:` faults of `variations` are allowed differences between correct servers: an error reported
  for one of them is a false alarm.
- `hooks` lists the points at which a fault can act, from the request's JSON to the model's weights.
- `catalogue` collects all faults and parses the `--fault` option.
- `server` and `wire` wrap the healthy server. A server without faults loads nothing of this
  package.

To add a fault, write a function in the module of its layer:

    @group.fault(SSE_FILTER, "chat.stream.done", source="vllm#12345")
    def done_missing(event: SseEvent) -> bool:
        \"\"\"A Chat stream ends without data: [DONE].\"\"\"
        return not event.done

The function declares the fault `done-missing`: `SSE_FILTER` decides for each event whether it is
sent, the check `chat.stream.done` must find the fault, and the docstring is its description. Faults
without a source are hypothetical. Tests require a request that shows each fault
(`tests/reference_engine/test_faults_*.py`).
"""

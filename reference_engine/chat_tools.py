"""Two demonstration tools for the terminal chat. The small checkpoint knows them."""

from __future__ import annotations

import json

from harmony.conversation import Call, FunctionTool

_PLACE = {"location": {"type": "string", "description": "City, region or postal code"}}
_UNIT = {"unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "default": "celsius"}}
TOOLS = (
    FunctionTool(
        "get_weather",
        "Current weather at a place.",
        {
            "type": "object",
            "properties": _PLACE | _UNIT,
            "required": ["location"],
            "additionalProperties": False,
        },
    ),
    FunctionTool("service_status", "Report whether the service is up. Takes no arguments."),
)
_OUTPUTS = {
    "get_weather": {"condition": "sunny", "temperature": 21},
    "service_status": {"status": "up", "uptime_hours": 412},
}


def answer_call(call: Call) -> str:
    """The result of a call: a fixed one, or an error for an unknown tool or invalid arguments."""
    if call.name not in _OUTPUTS:
        return json.dumps({"error": f"there is no tool {call.name}"})
    try:
        arguments = json.loads(call.arguments or "{}")
    except ValueError as error:
        return json.dumps({"error": f"the arguments are not valid JSON: {error}"})
    if not isinstance(arguments, dict):
        return json.dumps({"error": "the arguments are not a JSON object"})
    return json.dumps(_OUTPUTS[call.name])

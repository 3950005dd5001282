"""The tools of the training data: the six tools of the smoke test and various others."""

from typing import Any

from harmony.conversation import FunctionTool

_TEXT = {"type": "string"}


def _text(description: str) -> dict[str, Any]:
    return {"type": "string", "description": description}


def _whole(description: str) -> dict[str, Any]:
    return {"type": "integer", "description": description}


def _tool(
    name: str, description: str, properties: dict[str, Any], required: tuple[str, ...]
) -> FunctionTool:
    schema = {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }
    return FunctionTool(name, description, schema)


_KINDS = ["line", "bar", "scatter"]
_POINTS = {"type": "array", "items": {"type": "array", "items": {"type": "number"}}}
_NAMES = {"type": "array", "items": {"type": "string"}, "description": "Columns to return"}

SMOKE_TOOLS: tuple[FunctionTool, ...] = (
    FunctionTool(
        "service_status",
        "Report whether the service is up. Takes no arguments.",
        {"type": "object", "properties": {}},
    ),
    _tool(
        "get_weather",
        "Current weather at a place.",
        {
            "location": _text("City, region or postal code"),
            "unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "default": "celsius"},
        },
        ("location",),
    ),
    _tool(
        "identify_language",
        "Tell which language a text is written in.",
        {"text": _text("The text, exactly as given")},
        ("text",),
    ),
    _tool(
        "markdown_to_html",
        "Turn Markdown into HTML.",
        {"markdown": _text("The Markdown source, unchanged")},
        ("markdown",),
    ),
    _tool(
        "draw_chart",
        "Draw a chart of two-dimensional points.",
        {
            "chart_type": {"type": "string", "enum": _KINDS},
            "data": {**_POINTS, "description": "Points, each an [x, y] pair"},
            "title": {**_text("Title above the chart"), "default": ""},
        },
        ("chart_type", "data"),
    ),
    _tool(
        "query_table",
        "Read rows of a database table.",
        {
            "table": _text("Name of the table"),
            "columns": _NAMES,
            "filter": {**_text("Condition rows must meet"), "default": ""},
            "order_by": {**_text("Column to sort by"), "default": ""},
            "limit": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 50},
        },
        ("table", "columns"),
    ),
)

COMPATIBILITY_TOOLS: tuple[FunctionTool, ...] = (
    _tool(
        "get_weather",
        "Get the weather for a given location",
        {"location": _text("The location to get the weather for")},
        ("location",),
    ),
    FunctionTool(
        "get_system_health",
        "Returns the current health status of the LLM runtime.",
        {"type": "object", "properties": {}},
    ),
    _tool(
        "markdown_to_html",
        "Converts a Markdown string to sanitized HTML.",
        {"markdown": _text("Raw Markdown content")},
        ("markdown",),
    ),
    _tool(
        "detect_language",
        "Identifies the ISO language code of the supplied text.",
        {"text": _text("Text whose language should be detected")},
        ("text",),
    ),
    _tool(
        "generate_chart",
        "Creates a PNG chart from tabular data.",
        {
            "data": {**_POINTS, "description": "2-D numeric data matrix"},
            "chart_type": {"type": "string", "enum": _KINDS, "description": "Type of chart"},
            "title": {**_text("Chart title"), "default": ""},
            "x_label": {**_text("Label for the x-axis"), "default": ""},
            "y_label": {**_text("Label for the y-axis"), "default": ""},
        },
        ("data", "chart_type"),
    ),
    _tool(
        "query_database",
        "Runs a parameterized SQL SELECT on the internal analytics DB.",
        {
            "table": _text("Table name to query"),
            "columns": _NAMES,
            "filters": {**_text("SQL WHERE clause without the word WHERE"), "default": ""},
            "limit": {
                "type": "integer",
                "minimum": 1,
                "maximum": 10000,
                "description": "Max rows to return",
                "default": 100,
            },
            "order_by": {**_text("Column to order by (optional)"), "default": ""},
        },
        ("table", "columns"),
    ),
)

OTHER_TOOLS: tuple[FunctionTool, ...] = (
    _tool(
        "send_email",
        "Send an e-mail.",
        {"to": _text("Recipient"), "subject": _text("Subject line"), "body": _text("Message")},
        ("to", "body"),
    ),
    _tool(
        "set_timer",
        "Start a countdown.",
        {"minutes": _whole("Length in minutes"), "label": _text("Name of the timer")},
        ("minutes",),
    ),
    _tool(
        "convert_currency",
        "Convert an amount of money.",
        {
            "amount": {"type": "number"},
            "from_currency": _text("Three-letter code"),
            "to_currency": _text("Three-letter code"),
        },
        ("amount", "from_currency", "to_currency"),
    ),
    _tool("search_web", "Search the web.", {"query": _text("What to look for")}, ("query",)),
    _tool(
        "create_event",
        "Put an event in the calendar.",
        {"title": _TEXT, "day": _text("Day of the event"), "guests": {**_NAMES, "description": ""}},
        ("title", "day"),
    ),
    _tool(
        "translate",
        "Translate a text.",
        {"text": _text("Text to translate"), "target": _text("Language to translate into")},
        ("text", "target"),
    ),
    _tool(
        "lookup_order", "Find an order.", {"order_id": _text("Number of the order")}, ("order_id",)
    ),
    _tool("add_note", "Save a note.", {"note": _text("Text of the note")}, ("note",)),
    _tool(
        "get_stock_price",
        "Latest price of a share.",
        {"symbol": _text("Ticker symbol")},
        ("symbol",),
    ),
    _tool(
        "turn_light",
        "Switch a lamp.",
        {"room": _text("Where the lamp is"), "on": {"type": "boolean"}},
        ("room", "on"),
    ),
    _tool("get_user", "Find a person's record.", {"name": _text("Who to find")}, ("name",)),
    FunctionTool("current_time", "Tell the time.", {"type": "object", "properties": {}}),
)

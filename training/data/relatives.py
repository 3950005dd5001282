"""Variants of the known tools: the same requests, but different names, descriptions and parameters.

A model that only sees six fixed definitions learns their names and does not read the list. Here,
every part of a definition varies, so the model has to read the names of tools and parameters.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from harmony.conversation import FunctionTool
from training.data.catalogue import COMPATIBILITY_TOOLS, SMOKE_TOOLS
from training.data.smoke_asks import ASKERS
from training.data.task import Ask, Asker


@dataclass(frozen=True)
class Family:
    """Tools that serve the same requests.

    Attributes:
        members: the definitions to vary.
        names: other names.
        descriptions: other descriptions.
        hints: when to use it, to be added to a description.
        parameters: other names of each parameter.
        notes: other descriptions of each parameter.
    """

    members: tuple[str, ...]
    names: tuple[str, ...]
    descriptions: tuple[str, ...]
    hints: tuple[str, ...]
    parameters: Mapping[str, tuple[str, ...]]
    notes: Mapping[str, tuple[str, ...]]


_KNOWN = {tool.name: tool for tool in (*SMOKE_TOOLS, *COMPATIBILITY_TOOLS)}
_OPTIONAL_KEPT = 0.7
_JOINTS = (". ", "; ", " – ", "—", ", ", ": ", " - ", ".\n")


def relative(rng: Random, family: str) -> tuple[FunctionTool, Asker]:
    """A variant of a tool of a family, and its asker."""
    kin = FAMILIES[family]
    base = _reduced(rng, _KNOWN[rng.choice(kin.members)])
    new_name = {
        name: rng.choice((name, *kin.parameters.get(name, ())))
        for name in (base.parameters or {}).get("properties", {})
    }
    tool = FunctionTool(
        rng.choice((base.name, *kin.names, *kin.names)),
        _description(rng, base, kin),
        _parameters(rng, base, kin, new_name),
    )

    def ask(rng: Random, _tool: FunctionTool) -> Ask:
        asked = ASKERS[base.name](rng, base)
        arguments = {new_name[name]: value for name, value in asked.arguments.items()}
        order = (tool.parameters or {}).get("properties", {})
        return Ask(asked.text, {name: arguments[name] for name in order if name in arguments})

    return tool, ask


def _reduced(rng: Random, tool: FunctionTool) -> FunctionTool:
    """The tool without some of its optional parameters."""
    schema = dict(tool.parameters or {})
    required = schema.get("required", [])
    kept = {
        name: value
        for name, value in schema.get("properties", {}).items()
        if name in required or rng.random() < _OPTIONAL_KEPT
    }
    return FunctionTool(tool.name, tool.description, schema | {"properties": kept})


def _description(rng: Random, base: FunctionTool, kin: Family) -> str:
    text = rng.choice((base.description or "", *kin.descriptions, *kin.descriptions)).rstrip(".")
    if rng.random() < 0.5:
        joint, hint = rng.choice(_JOINTS), rng.choice(kin.hints)
        text += joint + (hint[:1].upper() + hint[1:] if joint[0] == "." else hint)
    return text + rng.choice((".", ".", ""))


def _parameters(
    rng: Random, base: FunctionTool, kin: Family, new_name: Mapping[str, str]
) -> dict[str, Any]:
    schema = dict(base.parameters or {})
    entries = list(schema.get("properties", {}).items())
    if rng.random() < 0.3:
        rng.shuffle(entries)
    properties = {}
    for name, value in entries:
        changed = dict(value)
        if name in kin.notes and rng.random() < 0.6:
            changed["description"] = rng.choice(kin.notes[name])
        elif rng.random() < 0.15:
            changed.pop("description", None)
        if rng.random() < 0.2:
            changed.pop("default", None)
        properties[new_name[name]] = changed
    schema["properties"] = properties
    if "required" in schema:
        schema["required"] = [new_name[name] for name in schema["required"]]
    return schema


_STATUS = Family(
    ("service_status", "get_system_health"),
    (
        "health_check", "check_health", "server_status", "get_status", "ping", "is_alive",
        "system_status", "get_service_health", "heartbeat", "check_uptime", "healthz", "status",
        "backend_health", "runtime_status", "probe_service", "getHealth", "platform-status",
    ),
    (
        "Returns the present health of the service", "Tells whether the system is up",
        "Checks that the backend is alive", "Health of the model runtime", "Pings the server",
        "Get the current status of the platform", "Reports uptime and condition of the service",
        "Returns whether the inference server is healthy", "Status of the running system",
        "Look up the operational state of the service", "Shows if the API is reachable and well",
        "Retrieve a health report of the LLM server", "Is the service running? No arguments",
    ),
    (
        "use before other calls to see that the service lives", "takes no arguments",
        "call this when someone asks if things are up", "use before deploying anything",
        "helpful when users complain about outages", "use it when health or uptime is asked for",
        "run it first when something seems broken", "returns up or down", "needs no input",
        "use before sending heavy traffic to make sure it can take it",
    ),
    {},
    {},
)  # fmt: skip
_WEATHER = Family(
    ("get_weather",),
    (
        "weather", "current_weather", "get_forecast", "weather_lookup", "fetch_weather",
        "lookup_weather", "weather_at", "get_temperature", "weatherNow", "local-weather",
        "get_current_conditions", "outdoor_conditions", "meteo",
    ),
    (
        "Returns the weather of a location", "Current temperature and sky at a place",
        "Looks up how the weather is", "Get current conditions for a city", "Weather report",
        "Fetches the temperature, wind and rain somewhere", "Tells what it is like outdoors",
        "Retrieve live weather data for a town, region or postal code", "Local weather service",
    ),
    (
        "use whenever rain, heat or cold matters", "works for any place in the world",
        "use before planning anything outdoors", "useful for travel and clothes",
        "call it for questions on temperature or sky", "use before giving advice on what to wear",
        "data is refreshed every ten minutes",
    ),
    {
        "location": ("city", "place", "where", "town", "q", "position", "area", "location_name"),
        "unit": ("units", "temperature_unit", "scale", "degrees"),
    },
    {
        "location": ("Name of the place", "Where to look", "Town or postal code", "City", "Place",
                     "The city or region the user means", "Location, as the user wrote it"),
        "unit": ("Scale of the temperature", "celsius or fahrenheit", "Unit of degrees"),
    },
)  # fmt: skip
_LANGUAGE = Family(
    ("identify_language", "detect_language"),
    (
        "language_of", "guess_language", "which_language", "detect_lang", "recognize_language",
        "language_detection", "find_language", "lang_id", "getLanguage", "text-language",
    ),
    (
        "Returns the language of a text", "Detects what language something is written in",
        "Recognises the language", "Guess which language the words belong to",
        "Language identification for short texts", "Finds out the tongue of the given text",
        "Gives the ISO code of a text's language", "Classifies text by language",
    ),
    (
        "use before translating", "works with more than a hundred languages",
        "use when the user cannot tell what a text is", "pass the text unchanged",
        "call it for any foreign words", "use before routing a message to a translator",
    ),
    {"text": ("input", "sentence", "content", "sample", "phrase", "string", "snippet", "words")},
    {
        "text": ("What to look at", "The words in question", "Text to identify", "Input text",
                 "Foreign text, unchanged", "The sentence whose language is unknown"),
    },
)  # fmt: skip
_MARKDOWN = Family(
    ("markdown_to_html",),
    (
        "md2html", "render_markdown", "convert_markdown", "to_html", "html_from_markdown",
        "markdownToHtml", "md_to_html", "render", "format_html", "markdown-renderer",
    ),
    (
        "Converts Markdown to HTML", "Renders Markdown as a web page", "Markdown in, HTML out",
        "Returns the HTML of a Markdown text", "Turns marked-up notes into clean HTML",
        "Produces sanitised HTML from Markdown", "Transforms Markdown source for browsers",
    ),
    (
        "use before putting text on a website", "headings, lists and tables are supported",
        "use it for anything that must end up as HTML", "the source must be passed unchanged",
        "use before publishing notes", "scripts are removed",
    ),
    {"markdown": ("source", "md", "text", "content", "input", "document", "markdown_text", "body")},
    {
        "markdown": ("Markdown to convert", "The source text", "Text with Markdown marks",
                     "Document to render", "Markdown exactly as written"),
    },
)  # fmt: skip
_CHART = Family(
    ("draw_chart", "generate_chart"),
    (
        "plot", "make_chart", "create_plot", "chart", "plot_points", "graph_data", "visualize",
        "draw_graph", "render_chart", "makeGraph", "create-diagram",
    ),
    (
        "Plots points", "Returns a picture of the data as a chart", "Draws a diagram",
        "Creates a graph from pairs of numbers", "Makes a line, bar or scatter plot",
        "Renders numeric data as an image", "Visualises x and y values",
    ),
    (
        "use whenever someone wants to see numbers", "returns a PNG", "up to a thousand points",
        "use before adding figures to a report", "each point is a pair",
    ),
    {
        "chart_type": ("kind", "type", "style", "plot_type", "chart"),
        "data": ("points", "values", "series", "xy", "matrix", "pairs"),
        "title": ("heading", "caption", "name", "headline", "chart_title"),
        "x_label": ("x", "x_axis", "xlabel"),
        "y_label": ("y", "y_axis", "ylabel"),
    },
    {
        "chart_type": ("Kind of chart", "How to draw it", "line, bar or scatter"),
        "data": ("Pairs of numbers", "The points to draw", "List of [x, y]", "Numeric data"),
        "title": ("Heading", "Text above the picture", "Name of the chart (optional)"),
    },
)  # fmt: skip
_QUERY = Family(
    ("query_table", "query_database"),
    (
        "read_table", "select_rows", "run_query", "db_query", "fetch_rows", "table_lookup",
        "sql_select", "get_rows", "database_read", "queryDb", "table-reader",
    ),
    (
        "Returns rows of a table", "Reads columns from the database", "Selects data by SQL",
        "Runs a SELECT on one table", "Fetches records from the warehouse",
        "Looks up rows in the analytics database", "Get columns of a database table",
    ),
    (
        "use for any question on stored data", "read only", "use before drawing charts of data",
        "names must be passed as the user wrote them", "only one table at a time",
        "use before guessing numbers",
    ),
    {
        "table": ("table_name", "from_table", "source", "relation", "name"),
        "columns": ("fields", "select", "column_names", "cols"),
        "filter": ("where", "condition", "criteria"),
        "filters": ("where", "condition", "where_clause"),
        "order_by": ("sort_by", "sort", "order", "ordered_by"),
        "limit": ("max_rows", "rows", "top", "count", "row_limit"),
    },
    {
        "table": ("Which table", "Table to read", "The table's name"),
        "columns": ("Which columns", "Fields to return", "Names of the columns"),
        "filter": ("Condition in SQL", "Which rows"),
        "filters": ("Condition in SQL", "Which rows"),
        "order_by": ("Sort column", "Column that gives the order"),
        "limit": ("Most rows to return", "How many rows", "Row limit"),
    },
)  # fmt: skip

FAMILIES: Mapping[str, Family] = {
    "status": _STATUS,
    "weather": _WEATHER,
    "language": _LANGUAGE,
    "markdown": _MARKDOWN,
    "chart": _CHART,
    "query": _QUERY,
}
FAMILY_OF: Mapping[str, str] = {
    member: name for name, family in FAMILIES.items() for member in family.members
}

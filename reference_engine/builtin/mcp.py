"""Tools of MCP servers (optional package `mcp`); the model calls them like functions."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar

from harmony.conversation import FunctionTool
from reference_engine.builtin.base import Ran
from reference_engine.errors import SetupError

if TYPE_CHECKING:
    from mcp import Client
    from mcp.types import CallToolResult
    from mcp.types import Tool as ServerTool

T = TypeVar("T")

_LABEL = re.compile(r"[A-Za-z0-9_-]{1,64}")
_FUNCTION_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")
_CONNECT_SECONDS = 30.0
_CALL_SECONDS = 60.0
_MOST_TOOLS = 256
_MOST_LISTED = 10_000
_LONGEST_OUTPUT = 16 * 2**10
_TOOL_ERROR, _PROTOCOL_ERROR = "mcp_tool_execution_error", "mcp_protocol_error"
_CONNECTION_CLOSED = -32000  # The code of the `mcp` package.


class McpError(Exception):
    """An MCP server cannot be used; the message gives the server and the reason."""


@dataclass(frozen=True)
class McpServer:
    """A server that the operator allows: its label, and its URL or start command."""

    label: str
    target: str

    @property
    def is_url(self) -> bool:
        """Whether the target is a URL."""
        return self.target.startswith(("http://", "https://"))


def read_servers(options: Sequence[str]) -> tuple[McpServer, ...]:
    """Parse options of the form LABEL=URL or LABEL=COMMAND. Raises SetupError."""
    servers: dict[str, McpServer] = {}
    for option in options:
        label, _, target = option.partition("=")
        if not _LABEL.fullmatch(label) or not target.strip():
            form = (
                "--mcp LABEL=URL or --mcp 'LABEL=COMMAND', with letters, digits, - and _ as label"
            )
            raise SetupError(f"--mcp '{option}' does not have the form {form}.")
        if label in servers:
            raise SetupError(f"--mcp names two servers '{label}': choose different labels.")
        servers[label] = McpServer(label, target.strip())
        try:
            shlex.split(target)
        except ValueError as error:
            raise SetupError(f"--mcp '{option}' is not a valid shell command: {error}.") from error
    if servers and find_spec("mcp") is None:
        raise SetupError("--mcp needs the package mcp: pip install 'gpt-oss-verify[mcp]'.")
    return tuple(servers.values())


@dataclass(frozen=True)
class McpOffer:
    """The tools of an MCP server that a request offers."""

    label: str  # the request's name for the server
    server: McpServer
    names: frozenset[str] | None = None  # the allowed tools, or None for all
    read_only: bool | None = None
    """Whether allowed tools must, or must not, declare that they only read; None allows both."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    def allows(self, tool: ServerTool) -> bool:
        """Whether the request offers this tool of the server."""
        read_only = bool(tool.annotations and tool.annotations.read_only_hint)
        return (self.names is None or tool.name in self.names) and (
            self.read_only in {None, read_only}
        )


@dataclass(frozen=True)
class McpListing:
    """The offered tools of a server: for the model, and as the API shows them."""

    label: str
    functions: tuple[FunctionTool, ...]
    shown: tuple[dict[str, Any], ...]


class McpTools:
    """The MCP tools of one response, with a connection to each server until `aclose`."""

    def __init__(self, offers: Sequence[McpOffer] = ()) -> None:
        self._offers = offers
        self._connections: dict[str, _Connection] = {}
        self._labels: dict[str, str] = {}

    async def connect(self) -> Sequence[McpListing]:
        """Connect to all servers and list their tools. Raises McpError."""
        for offer in self._offers:
            self._connections[offer.label] = _Connection(offer)
        listings = [await self._listing(offer) for offer in self._offers]
        for listing in listings:
            self._labels |= dict.fromkeys((each.name for each in listing.functions), listing.label)
        return listings

    def label(self, name: str) -> str | None:
        """The label of the server with this tool, or None."""
        return self._labels.get(name)

    async def run(self, name: str, content: str) -> Ran:
        """Call a tool. An error becomes the result that the model sees."""
        from mcp import MCPError

        try:
            arguments = json.loads(content or "{}")
        except ValueError:
            arguments = None
        if not isinstance(arguments, dict):
            return _failed("Invalid function arguments: not a JSON object", -32602)

        def call(client: Client) -> Awaitable[CallToolResult]:
            return client.call_tool(name, arguments, read_timeout_seconds=_CALL_SECONDS)

        try:
            result = await self._connections[self._labels[name]].ask(call)
        except MCPError as error:
            return _failed(error.message, error.code)
        except McpError as error:
            return _failed(str(error), _CONNECTION_CLOSED)
        output = _text_of(result)
        if not result.is_error:
            return Ran(output)
        shown = [{"type": "text", "text": output}]
        return Ran(output, failed=True, error={"type": _TOOL_ERROR, "content": shown})

    async def aclose(self) -> None:
        """End all connections."""
        await asyncio.gather(*(each.close() for each in self._connections.values()))

    async def _listing(self, offer: McpOffer) -> McpListing:
        from mcp import MCPError

        try:
            connection = self._connections[offer.label]
            tools = await connection.ask(_all_tools, _CONNECT_SECONDS)
        except MCPError as error:
            raise McpError(f"The MCP server '{offer.label}' failed: {error.message}") from error
        offered = [tool for tool in tools if offer.allows(tool)]
        if len(offered) > _MOST_TOOLS:
            raise McpError(
                f"The MCP server '{offer.label}' has {len(offered)} tools, but a request can offer "
                f"at most {_MOST_TOOLS}: select some with 'allowed_tools'."
            )
        for tool in offered:
            if not _FUNCTION_NAME.fullmatch(tool.name):
                raise McpError(
                    f"The MCP server '{offer.label}' has a tool {tool.name[:200]!r}, which is not "
                    "a valid function name: exclude it with 'allowed_tools'."
                )
        functions = [
            FunctionTool(tool.name, tool.description or "", tool.input_schema) for tool in offered
        ]
        return McpListing(offer.label, tuple(functions), tuple(map(_shown, offered)))


Work = Callable[["Client"], Awaitable[Any]]


class _Connection:
    """A connection to a server, in a separate task.

    The client's cancel scopes must be entered and left in one task, and must not cancel the task
    that serves the request.
    """

    def __init__(self, offer: McpOffer) -> None:
        self._label = offer.label
        self._jobs: asyncio.Queue[tuple[Work, asyncio.Future[Any]]] = asyncio.Queue()
        self._task = asyncio.create_task(self._serve(offer))

    async def ask(self, work: Callable[[Client], Awaitable[T]], seconds: float | None = None) -> T:
        """Run work on the connection. Raises MCPError or McpError."""
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._jobs.put_nowait((work, answer))
        waiting: set[asyncio.Future[Any]] = {answer, self._task}
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return answer.result()
        reason = f"it did not answer within {seconds:g} s"
        if self._task.done():
            reason = _reason(self._task.exception())
        raise McpError(f"The MCP server '{self._label}' cannot be used: {reason}.")

    async def close(self) -> None:
        """End the connection, and the server's process if there is one."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _serve(self, offer: McpOffer) -> None:
        from mcp import MCPError

        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(await _client(offer, stack))
            while True:
                work, answer = await self._jobs.get()
                try:
                    answer.set_result(await work(client))
                except MCPError as error:
                    answer.set_exception(error)


async def _client(offer: McpOffer, stack: AsyncExitStack) -> Client:
    import httpx2
    from mcp import Client, StdioServerParameters
    from mcp.client.streamable_http import streamable_http_client

    if not offer.server.is_url:
        command, *arguments = shlex.split(offer.server.target)
        process = StdioServerParameters(command=command, args=arguments)
        return Client(process, read_timeout_seconds=_CONNECT_SECONDS)
    timeout = httpx2.Timeout(_CONNECT_SECONDS, read=_CALL_SECONDS)
    http = httpx2.AsyncClient(headers=dict(offer.headers), timeout=timeout)
    await stack.enter_async_context(http)
    transport = streamable_http_client(offer.server.target, http_client=http)
    return Client(transport, read_timeout_seconds=_CONNECT_SECONDS)


async def _all_tools(client: Client) -> list[ServerTool]:
    tools: list[ServerTool] = []
    cursor = None
    while len(tools) < _MOST_LISTED:
        listed = await client.list_tools(cursor=cursor)
        tools += listed.tools
        cursor = listed.next_cursor
        if not (listed.tools and cursor):
            break
    return tools


def _shown(tool: ServerTool) -> dict[str, Any]:
    annotations = tool.annotations
    return {
        "name": tool.name,
        "description": tool.description,
        "input_schema": tool.input_schema,
        "annotations": annotations.model_dump(by_alias=True, exclude_none=True)
        if annotations
        else None,
    }


def _text_of(result: CallToolResult) -> str:
    """The texts of a result, truncated for the model; other content is only named."""
    texts = [
        each.text if each.type == "text" else f"[{each.type}: not shown]" for each in result.content
    ]
    if not texts and result.structured_content is not None:
        texts = [json.dumps(result.structured_content, ensure_ascii=False)]
    output = "\n".join(texts)
    if len(output) <= _LONGEST_OUTPUT:
        return output
    note = f"[The output is longer than {_LONGEST_OUTPUT} characters; the rest is cut off.]"
    return f"{output[:_LONGEST_OUTPUT]}\n{note}"


def _failed(message: str, code: int) -> Ran:
    error = {"type": _PROTOCOL_ERROR, "code": code, "message": message}
    return Ran(message, failed=True, error=error)


def _reason(error: BaseException | None) -> str:
    """The first line of the innermost error."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    text = str(error or "").strip() or type(error).__name__
    return text.splitlines()[0][:300].rstrip(".")

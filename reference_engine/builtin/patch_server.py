"""An MCP server with the tool `apply_patch`: `python -m reference_engine.builtin.patch_server DIR`.

Its parameter has the same name as in Codex, so the model sees the same tool.
"""

import sys
from pathlib import Path

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

from reference_engine.builtin.apply_patch import PatchError
from reference_engine.builtin.apply_patch import apply_patch as apply

_DESCRIPTION = """Edit files with a patch:
*** Begin Patch
*** Add File: new.txt
+a line
*** Update File: old.py
*** Move to: other.py
@@ def main():
 a line of context
-a line to remove
+a line to insert
*** Delete File: gone.txt
*** End Patch
Paths are relative. An update has no line numbers: three lines of context find its place, with the
function or class after @@ if they are not unique."""


def patch_server(folder: Path) -> MCPServer:
    """A server whose tool changes the files of a folder."""
    server = MCPServer("apply_patch")

    @server.tool(description=_DESCRIPTION, structured_output=False)
    def apply_patch(input: str) -> str:  # noqa: A002 - the model's name for it
        try:
            return apply(folder, input)
        except (PatchError, OSError) as error:
            raise ToolError(str(error)) from error

    return server


def main() -> int:
    """Serve the folder of the command line over the standard streams."""
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        sys.stderr.write(
            "Name one existing folder: python -m reference_engine.builtin.patch_server DIR\n"
        )
        return 2
    patch_server(Path(sys.argv[1]).resolve()).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())

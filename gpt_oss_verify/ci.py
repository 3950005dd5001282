"""Report a run in a GitHub workflow: `python -P -m gpt_oss_verify.ci RESULT LOG CODE`.

`.github/action/verify.sh` calls it; users call `gpt-oss-verify`.
"""

import json
import os
import sys
from pathlib import Path

from gpt_oss_verify.screen import print_raw
from harness.run.run_folder import read_analysis
from reports import ci, markup


def report(result: Path, log: Path, code: int) -> None:
    """Write the step summary, annotations and outputs of a run in a GitHub workflow.

    Args:
        result: File with what the run printed with --json: the result, an error, or nothing.
        log: File with what the run printed on stderr.
        code: Exit code of the run.
    """
    try:
        printed = json.loads(_read(result))
    except ValueError:  # the output was cut off
        printed = None
    if not isinstance(printed, dict):
        printed = {}
    folders = [Path(printed["run"])] if printed.get("run") else []
    lines = []
    summary = "".join(_read(folder / "report.md") for folder in folders)
    if "verdict" not in printed:
        shown = [line for line in _read(log).splitlines() if line.strip()] or ["No output."]
        title = f"gpt-oss-verify ended with {code}"
        lines = [ci.annotation("error", title, shown[-1])]
        summary = f"# {title}\n\n{markup.plain(shown[-1])}\n\n{summary}"
    for folder in folders:
        lines += ci.annotations(read_analysis(folder))
    for line in lines[: ci.MOST_ANNOTATIONS]:
        print_raw(line)
    if folders and (artifact := os.environ.get("ARTIFACT")):
        summary += (
            f"\nThe artifact {markup.code(artifact)} of this job has the folder of the run, with "
            "report.html. Unpack it into `runs`, and the commands above find it.\n"
        )
    _append("GITHUB_STEP_SUMMARY", summary)
    verdicts = {0: "pass", 1: "fail", 4: "inconclusive"}
    outputs = {"verdict": verdicts.get(code, "error"), "exit-code": str(code)}
    if folders:
        outputs |= {"report": f"{folders[0]}/report.html", "runs": str(folders[0].parent)}
    _append("GITHUB_OUTPUT", ci.outputs(outputs))


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def _append(variable: str, text: str) -> None:
    """Append to the file that an environment variable names, if it is set."""
    if path := os.environ.get(variable):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(text)


if __name__ == "__main__":
    report(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))

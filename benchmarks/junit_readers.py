"""What Allure, junit-report-merger and Jenkins see in the `junit.xml` of several runs.

    python benchmarks/junit_readers.py RUN RUN [...]

The readers are installed in a temporary folder: Allure and junit-report-merger with npm, xmlschema
with pip. The schema is that of the xUnit plugin of Jenkins; GitLab publishes none. junitparser
reads the files in tests/reports/test_junit.py. Prints the tests, failures and skipped tests that
each reader counts. Exit code 1: they are not the sums of those in the files, as of two providers
whose tests one reader takes for tries of the same test; or a file does not conform.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from urllib.request import urlretrieve

from junitparser import JUnitXml

NPM = ("allure@3.18.0", "junit-report-merger@9.0.4")
PIP = "xmlschema==4.3.2"
SCHEMA = (
    "https://raw.githubusercontent.com/jenkinsci/xunit-plugin/xunit-3.1.6/src/main/resources/"
    "org/jenkinsci/plugins/xunit/types/model/xsd/junit-10.xsd"
)


def counts(file: Path) -> tuple[int, ...]:
    """Return the number of tests, failures and skipped tests in a file."""
    tests = [test for suite in JUnitXml.fromfile(str(file)) for test in suite]
    return len(tests), sum(t.is_failure for t in tests), sum(t.is_skipped for t in tests)


def allure(folder: Path, files: list[Path]) -> tuple[int, ...]:
    """Return the same counts as Allure shows them."""
    command = [folder / "node_modules/.bin/allure", "generate", files[0].parent]
    run(folder, *command, "--output", folder / "allure")
    shown = json.loads((folder / "allure/summary.json").read_text("utf-8"))["stats"]
    return tuple(shown.get(name, 0) for name in ("total", "failed", "skipped"))


def merged(folder: Path, files: list[Path]) -> tuple[int, ...]:
    """Return the counts of a file that junit-report-merger makes of all."""
    run(folder, folder / "node_modules/.bin/jrm", folder / "merged.xml", *files)
    return counts(folder / "merged.xml")


def run(folder: Path, *command: Any) -> None:  # noqa: ANN401
    """Run a command in a folder; raises CalledProcessError."""
    subprocess.run([*map(str, command)], cwd=folder, check=True, stdout=subprocess.DEVNULL)


def main() -> int:
    """Install the readers, and compare what they count."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "files").mkdir()
        files = [folder / "files" / f"{at}.xml" for at in range(len(sys.argv) - 1)]
        for run_folder, file in zip(sys.argv[1:], files, strict=True):
            shutil.copy(Path(run_folder) / "junit.xml", file)
        run(folder, "npm", "install", "--silent", *NPM)
        run(folder, sys.executable, "-m", "pip", "install", "--quiet", "--target", "site", PIP)
        try:
            urlretrieve(SCHEMA, folder / "junit-10.xsd")
        except OSError as error:
            print(f"not compared with the schema of Jenkins: {error}")
        for file in files if (folder / "junit-10.xsd").exists() else ():
            validate = "import sys, xmlschema; xmlschema.validate(*sys.argv[1:])"
            run(folder / "site", sys.executable, "-c", validate, file, folder / "junit-10.xsd")
        expected = tuple(map(sum, zip(*map(counts, files), strict=True)))
        found = {"Allure": allure(folder, files), "junit-report-merger": merged(folder, files)}
    for reader, seen in {"the files together": expected, **found}.items():
        print(f"{reader}: {seen[0]} tests, {seen[1]} failed, {seen[2]} skipped")
    return int(any(seen != expected for seen in found.values()))


if __name__ == "__main__":
    sys.exit(main())

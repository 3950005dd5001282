"""`python -m gpt_oss_verify`."""

import sys
from pathlib import Path

# Python searches the working directory first, where a folder may be named `harness` or `evals`.
_home = Path(__file__).resolve().parents[1]
if not sys.flags.safe_path and Path(sys.path[0]).resolve() == Path.cwd() != _home:
    del sys.path[0]

from gpt_oss_verify.app import main  # noqa: E402 (after the path is corrected)

main()

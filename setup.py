"""Packs providers.yaml of the top level, the one file of shipped entries, into the wheel."""

import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

# pip tries all versions of the dependencies before it says this.
if not (3, 11) <= sys.version_info < (3, 15):
    sys.exit("gpt-oss-verify needs Python 3.11 to 3.14, and this is " + sys.version.split()[0])


class _WithProviders(build_py):
    def run(self) -> None:
        super().run()
        if not self.editable_mode:  # an editable install reads the file of the checkout
            self.copy_file("providers.yaml", str(Path(self.build_lib, "harness", "data")))


setup(cmdclass={"build_py": _WithProviders})

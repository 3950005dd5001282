"""Packs providers.yaml of the top level, the one file of shipped entries, into the wheel."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class _WithProviders(build_py):
    def run(self) -> None:
        super().run()
        if not self.editable_mode:  # an editable install reads the file of the checkout
            self.copy_file("providers.yaml", str(Path(self.build_lib, "harness", "data")))


setup(cmdclass={"build_py": _WithProviders})

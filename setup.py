"""Carries the folders beside the package into wheels, as `imagebuilder/data/FOLDER`."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

FOLDERS = ("inferd", "layers", "machine-configs", "model-bundles", "qemu-tests")


class BuildWithFolders(build_py):
    """The usual build, then the folders."""

    def run(self) -> None:
        """Copy after the modules; an editable install reads the folders where they are."""
        super().run()
        if self.editable_mode:
            return
        for name in FOLDERS:
            target = Path(self.build_lib) / "imagebuilder" / "data" / name
            ignored = shutil.ignore_patterns("__pycache__", "*.pyc", "tests", "fuzz")
            shutil.copytree(name, target, dirs_exist_ok=True, ignore=ignored)


setup(cmdclass={"build_py": BuildWithFolders})

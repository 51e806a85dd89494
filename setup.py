"""Build hooks: put the ``.pth`` file of the lm-eval hook into wheels and editable installs.

lm-evaluation-harness 0.4.13 finds tasks in its own tree and in ``--include_path`` only. A one-line ``.pth`` file
that setuptools copies next to the package adds the import hook of ``adapters/lm_eval/discovery.py``.
"""

from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py
from setuptools.command.editable_wheel import editable_wheel
from setuptools.command.sdist import sdist

PTH = "value_retention_lm_eval.pth"
# An interpreter start compiles these lines and imports nothing. The hook itself is imported with lm_eval.
# A half-removed install must never break an import of lm_eval: hence the try.
LINE = (
    'import os, sys; exec("class ValueRetention:\\n'
    " def find_spec(name, path=None, target=None):\\n"
    "  if name == 'lm_eval':\\n"
    "   try: from value_retention.adapters.lm_eval import discovery; discovery.install()\\n"
    "   except ImportError: pass\\n"
    "if os.environ.get('VALUE_RETENTION_NO_DISCOVERY') is None: sys.meta_path.insert(0, ValueRetention)\")\n"
)


class BuildPy(build_py):
    """``build_py`` that also writes the ``.pth`` file at the root of the wheel."""

    def run(self) -> None:
        """Build the packages, then write the ``.pth`` file beside them."""
        super().run()
        if not self.editable_mode:
            Path(self.build_lib, PTH).write_text(LINE, encoding="utf-8")

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """Name the ``.pth`` file among the outputs, so that installers record and remove it."""
        return [*super().get_outputs(include_bytecode), str(Path(self.build_lib, PTH))]


class EditableWheel(editable_wheel):
    """``editable_wheel`` that also carries the ``.pth`` file."""

    def _select_strategy(self, name, tag, build_lib):  # type: ignore[no-untyped-def]
        strategy = super()._select_strategy(name, tag, build_lib)
        original = strategy.__call__

        class WithPth:
            def __enter__(self):  # type: ignore[no-untyped-def]
                strategy.__enter__()
                return self

            def __exit__(self, *args):  # type: ignore[no-untyped-def]
                return strategy.__exit__(*args)

            def __call__(self, wheel, files, mapping):  # type: ignore[no-untyped-def]
                original(wheel, files, mapping)
                wheel.writestr(PTH, LINE)

        return WithPth()


PARTS = ("tasks", "adapters", "analysis", "train")


class Sdist(sdist):
    """``sdist`` that also carries the links in ``value_retention/``, so that its tests run where it is unpacked."""

    def make_release_tree(self, base_dir, files):  # type: ignore[no-untyped-def]
        """Copy the files, then make the links beside them."""
        super().make_release_tree(base_dir, files)
        for part in PARTS:
            Path(base_dir, "value_retention", part).symlink_to(Path("..", part))


packages = find_packages(include=[pattern for part in PARTS for pattern in (part, f"{part}.*")])
setup(
    packages=["value_retention", *(f"value_retention.{package}" for package in packages)],
    cmdclass={"build_py": BuildPy, "editable_wheel": EditableWheel, "sdist": Sdist},
)

"""Analysis of records: reading logs, tables, statistics, reports and the command line.

In a notebook::

    from value_retention.analysis import compare, load_runs

    runs = load_runs(["logs/base", "logs/tuned"])
    runs[0].to_frame()
    result = compare(runs, baseline="base", margin=5)
    result.print()
    result.to_frame()
    result.plot()

Names are imported when they are used, so that importing this package stays light.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from value_retention.analysis.effects.result import Result
    from value_retention.analysis.report.grades import grades_table
    from value_retention.analysis.report.notebook import compare, load_runs
    from value_retention.analysis.runs.load import Run

__all__ = ["Result", "Run", "compare", "grades_table", "load_runs"]

_WHERE = {
    "Result": "effects.result",
    "compare": "report.notebook",
    "Run": "runs.load",
    "load_runs": "report.notebook",
    "grades_table": "report.grades",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its module on first use."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)

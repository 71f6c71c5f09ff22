"""Learning curves of several starts over several seeds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prompt_hub.reports.figures import axes_for

# Okabe and Ito's colours, told apart by colour-blind readers.
_STYLES = {
    "cold": ("#e69f00", "-"),
    "warm": ("#0072b2", "-"),
    "other": ("#cc79a7", "--"),
    "untrained": ("#009e73", ":"),
}


def draw_learning_curves(result: Mapping[str, Any], path: Path) -> Path:
    """Held-out score (and loss) by training step: a thin line a run, a thick one the mean of a start.

    result: ``runs`` (``start``, ``label`` and ``curves`` by name, each with ``steps`` and ``values``, losses
    negated), ``task`` and ``metric``. The mean ends where the first of its runs does.
    """
    import numpy as np

    names = list(result["runs"][0]["curves"])
    titles = {"score": f"held-out {result['metric']}", "loss": "held-out loss"}
    with axes_for(path, (1.0 + 5.0 * len(names), 4.0), panels=len(names)) as (figure, panels):
        for name, axes in zip(names, panels, strict=True):
            sign = -1 if name == "loss" else 1
            for start, (colour, line) in _STYLES.items():
                runs = [run for run in result["runs"] if run["start"] == start]
                curves = [run["curves"][name] for run in runs]
                for curve in curves:
                    axes.plot(
                        curve["steps"],
                        sign * np.asarray(curve["values"]),
                        color=colour,
                        alpha=0.3,
                        linewidth=0.8,
                    )
                if runs:
                    shared = min(len(curve["steps"]) for curve in curves)
                    mean = np.mean([curve["values"][:shared] for curve in curves], axis=0)
                    axes.plot(curves[0]["steps"][:shared], sign * mean, line, color=colour, linewidth=2,
                              label=runs[0]["label"])  # fmt: skip
            axes.set_xlabel(f"training steps on {result['task']}")
            axes.set_ylabel(titles[name])
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=2, frameon=False, fontsize=8)
    return path

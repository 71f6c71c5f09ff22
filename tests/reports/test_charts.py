"""Axes of the small charts of the page."""

from __future__ import annotations

import re

import pytest

from prompt_hub.reports.html.charts import Line, line_chart


@pytest.mark.parametrize(("value", "highest"), [(1.0, 1.0), (0.5, 0.55), (0.0, 0.1), (-2.0, -1.8)])
def test_a_curve_that_stays_where_it_is_has_an_axis_round_it_but_none_above_the_best_score(value, highest):
    chart = line_chart("t", [Line("a", [1, 2], [value, value])], "steps", "score")
    ticks = [float(text) for text in re.findall(r'text-anchor="end">(-?[\d.]+)<', chart)]
    assert min(ticks) < value <= max(ticks) <= highest + 0.011

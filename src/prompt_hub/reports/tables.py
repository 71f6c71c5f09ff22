"""Tables as text for documents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{",
    "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}",
}  # fmt: skip


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A GitHub table; the cells are Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(
        "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in line) + " |"
        for line in lines
    )


def latex_table(
    columns: Sequence[str], rows: Sequence[Sequence[Any]], rules_above: Sequence[int] = ()
) -> str:
    """A ``tabular`` for the package booktabs; the cells are LaTeX (``latex_text``). rules_above: rows."""
    body = []
    for number, row in enumerate(rows):
        if number in rules_above:
            body.append(r"\midrule")
        body.append(" & ".join(map(str, row)) + r" \\")
    head = " & ".join(columns) + r" \\"
    alignment = "l" + "r" * (len(columns) - 1)
    return "\n".join(
        [rf"\begin{{tabular}}{{{alignment}}}", r"\toprule", head, r"\midrule", *body, r"\bottomrule",
         r"\end{tabular}"]
    )  # fmt: skip


def latex_text(text: str) -> str:
    """Text with what LaTeX would take for commands escaped."""
    return "".join(_LATEX.get(sign, sign) for sign in text)


def latex_comment(text: str) -> str:
    """A line that LaTeX does not read, however many ``text`` has."""
    return f"% {' '.join(text.split())}"

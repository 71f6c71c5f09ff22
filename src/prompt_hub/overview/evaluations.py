"""Records of ``prompt-hub eval --output FILE``."""

from __future__ import annotations

from prompt_hub.overview.found import Found, Records
from prompt_hub.overview.words import command_text, plural, score
from prompt_hub.reports.figures import FLOOR_NAMES
from prompt_hub.reports.html.blocks import Notice, Section, Table


def evaluation_section(evaluations: list[Found], records: Records) -> Section:
    """All of them as one table."""
    section = Section(
        title="Evaluations",
        lead="Stored prompts on tasks, as they are. On other tasks than its own, rows that a "
        "prompt was trained on are left out; on its own task they stay, and are counted in a warning.",
    )
    rows, commands = [], []
    for found in evaluations:
        result, settings = found.data["result"], found.data["settings"]
        metric, place = result["primary_metric"], records.name(found.path)
        prompt = settings.get("prompt") or " + ".join(settings.get("prompts", []))
        floors = [result.get("floors", {}).get(name, {}).get(metric) for name in FLOOR_NAMES]
        own = score(result["metrics"][metric], result["ci95"].get(metric))
        rows.append([prompt, result["task"], metric, own, *floors, result["n"]])
        commands.append([place, command_text(found.data.get("command"))])
        section.notices += [
            Notice("other", f"{result['task']}: {line} ({place})") for line in result["warnings"]
        ]
        if result.get("removed_overlap"):
            count = plural(result["removed_overlap"], "row")
            text = (
                f"{count} of {result['task']} left out, since {prompt} was trained on their text ({place})."
            )
            section.notices.append(Notice("overlap", text))
    head = ["prompt", "task", "metric", "score (95%)", *FLOOR_NAMES.values(), "n"]
    section.content = [
        Table("evaluations", "Scores beside the floors", head, rows),
        Table(
            "evaluation-commands",
            "The command of every evaluation",
            ["record", "command"],
            commands,
            folded=True,
        ),
    ]
    return section

"""The tool that writes a run's report, and lets no unfounded number into it."""

from __future__ import annotations

import json
import re
from pathlib import Path

from pydantic import BaseModel, Field

from crewmesh_worker.runner import artifacts
from crewmesh_worker.tools.catalogue import profile_dataset, query_sql
from crewmesh_worker.tools.context import RunContext, current_run
from crewmesh_worker.tools.registry import ToolError

DESCRIPTION = (
    "Writes the run's report as Markdown and hands it in. Every number in its texts must be in a "
    "result of query_sql or profile_dataset, or of a section's own sql, which is run again and "
    "shown as a table; otherwise nothing is written and the unsupported numbers are listed."
)
REPORT_NAME = "report.md"
_TABLE_ROWS = 12


class Section(BaseModel):
    """One section of the report."""

    heading: str = Field(description="What the section is about, in a few words.")
    text: str = Field(description="Its text, in Markdown.")
    sql: str | None = Field(
        default=None, description="The query that its numbers come from, if there is one."
    )
    figure: str | None = Field(
        default=None, description="File name of a chart that draw_chart drew, if one belongs here."
    )


class Arguments(BaseModel):
    """What the model gives."""

    title: str = Field(description="The report's title.")
    summary: str = Field(description="The answer in two or three sentences, in Markdown.")
    sections: list[Section] = Field(description="The findings, the most important first.")


def run(arguments: Arguments) -> str:
    """Return JSON: report (the file's name), sections, figures."""
    context = current_run()
    _require_figures(context, arguments)
    tables = [_table(section) for section in arguments.sections]
    _require_evidence(context, arguments)
    path = Path.cwd() / REPORT_NAME
    path.write_text(_markdown(arguments, tables), encoding="utf-8")
    artifacts.save(path, REPORT_NAME, "text/markdown")
    figures = [section.figure for section in arguments.sections if section.figure]
    return json.dumps(
        {"report": REPORT_NAME, "sections": len(arguments.sections), "figures": figures}
    )


def _require_figures(context: RunContext, arguments: Arguments) -> None:
    earlier = re.findall(r"[\w-]+\.png", "\n".join(context.earlier_outputs()))
    drawn = [*context.charts, *earlier]
    unknown = [s.figure for s in arguments.sections if s.figure and s.figure not in drawn]
    if unknown:
        raise ToolError(
            f"no chart is named {', '.join(unknown)}; there are: {', '.join(drawn) or 'none'}"
        )


def _require_evidence(context: RunContext, arguments: Arguments) -> None:
    for table in context.database.tables:
        profile_dataset.run(profile_dataset.Arguments(table=table))
    texts = [arguments.title, arguments.summary]
    texts += [text for section in arguments.sections for text in (section.heading, section.text)]
    if unsupported := context.evidence.unsupported(texts):
        raise ToolError(
            f"these numbers are in no result of this run: {', '.join(unsupported)}. Query them, "
            "correct them or leave them out, then write the report again"
        )


def _table(section: Section) -> str:
    """Run the section's query and return its first rows as a Markdown table."""
    if section.sql is None:
        return ""
    answer = json.loads(query_sql.run(query_sql.Arguments(sql=section.sql)))
    lines = [_line(answer["columns"]), _line(["---"] * len(answer["columns"]))]
    lines += [_line(row) for row in answer["rows"][:_TABLE_ROWS]]
    left_out = answer["total_rows"] - _TABLE_ROWS
    return "\n".join(lines) + (f"\n\n… and {left_out} more rows." if left_out > 0 else "")


def _line(cells: list[object]) -> str:
    texts = ("" if cell is None else str(cell).replace("|", "\\|") for cell in cells)
    return "| " + " | ".join(text.replace("\n", " ") for text in texts) + " |"


def _markdown(arguments: Arguments, tables: list[str]) -> str:
    blocks = [f"# {_one_line(arguments.title)}", arguments.summary.strip()]
    for section, table in zip(arguments.sections, tables, strict=True):
        heading = _one_line(section.heading)
        blocks += [f"## {heading}", section.text.strip()]
        if section.figure:
            blocks.append(f"![{heading}]({section.figure})")
        if table:
            blocks.append(table)
    queries = [s for s in arguments.sections if s.sql]
    if queries:
        blocks.append("## How the numbers were computed")
        blocks += [f"{s.heading}:\n\n```sql\n{(s.sql or '').strip()}\n```" for s in queries]
    return "\n\n".join(blocks) + "\n"


def _one_line(text: str) -> str:
    return " ".join(text.split())

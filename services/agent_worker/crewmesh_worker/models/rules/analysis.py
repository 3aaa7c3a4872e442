"""How the offline model uses the data tools: profile, queries, charts, report."""

from __future__ import annotations

import re
from textwrap import shorten
from typing import Any

from crewmesh_worker.models.rules.conversation import Conversation, ToolResult
from crewmesh_worker.models.rules.findings import Finding, Plan, plan_findings
from crewmesh_worker.models.rules.markdown import Section, read_sections, write_table
from crewmesh_worker.models.rules.planner import NAME, Rule
from crewmesh_worker.models.rules.prose import Answer
from crewmesh_worker.models.rules.question import Reading
from crewmesh_worker.models.rules.reader import read_question
from crewmesh_worker.models.rules.sql import STEP
from crewmesh_worker.models.rules.statistics import (
    say_statistics,
    statistics_call,
    statistics_queries,
)
from crewmesh_worker.models.rules.table import (
    Table,
    read_profile,
    table_from_profile,
    write_profile,
)

_MAX_CHARTS = 3
_SHOWN_ROWS = 12
_SHORTEST_LINE = 5
_ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_NUMBER = re.compile(r"-?\d+(\.\d+)?(e[+-]?\d+)?")
_CHART_LINE = re.compile(r"^- \*\*(.+?)\*\*: `([^`]+\.png)`", re.MULTILINE)
_ANSWER = re.compile(r"^## Answer\n\n(.*?)(?=\n##|\Z)", re.DOTALL | re.MULTILINE)
_NO_PROFILE = "The data has not been profiled, so there is nothing to go on."


def _profile_calls(_: Conversation) -> list[dict[str, Any]]:
    return [{}]


def _profile_answer(conversation: Conversation) -> str:
    result = conversation.results_of("profile_dataset")[-1]
    if result.failed:
        return f"The dataset can't be profiled. {result.text}"
    return write_profile(table_from_profile(result.value))


def _read(conversation: Conversation) -> tuple[Reading, Table] | None:
    profiles = [r.value for r in conversation.results_of("profile_dataset") if not r.failed]
    table = table_from_profile(profiles[-1]) if profiles else read_profile(conversation.context)
    if table is None:
        return None
    return read_question(conversation.tagged("question"), table), table


def _plan(conversation: Conversation) -> tuple[Plan, Table] | None:
    read = _read(conversation)
    return (plan_findings(*read), read[1]) if read else None


def _query_calls(conversation: Conversation) -> list[dict[str, Any]]:
    planned = _plan(conversation)
    return [{"sql": finding.sql} for finding in planned[0].findings] if planned else []


def _query_answer(conversation: Conversation) -> str:
    planned = _plan(conversation)
    if planned is None:
        return _NO_PROFILE
    plan, _ = planned
    results = conversation.results_of("query_sql")
    said = [_say(f, r) for f, r in zip(plan.findings, results, strict=False)]
    direct = said[: plan.answering]
    answer = direct[0] if len(direct) == 1 else "\n".join(f"- {text}" for text in direct)
    blocks = ["## Answer", *([plan.note] if plan.note else []), answer, "## Findings"]
    for finding, result, text in zip(plan.findings, results, said, strict=False):
        blocks += [f"### {finding.title}", text, f"```sql\n{finding.sql}\n```"]
        if not result.failed:
            answered = _answer(result)
            blocks.append(write_table(answered.columns, answered.rows[:_SHOWN_ROWS]))
    return "\n\n".join(blocks)


def _statistics_calls(conversation: Conversation) -> list[dict[str, Any]]:
    read = _read(conversation)
    if read is None:
        return []
    return [statistics_call(query, read[1]) for query in statistics_queries(read[0])]


def _statistics_answer(conversation: Conversation) -> str:
    """Return what the queries found, the statistics after it, and both in the answer."""
    found = _query_answer(conversation)
    blocks: list[str] = []
    said = ""
    if read := _read(conversation):
        results = conversation.results_of("compute_statistics")
        for query, result in zip(statistics_queries(read[0]), results, strict=False):
            if not result.failed:
                section = say_statistics(query, read[1], result.value)
                blocks += section
                # Without a value there is only the title and that.
                if len(section) > 2:
                    said += f"\n\n{query.measured.words.capitalize()} has {section[1]}"
    answer, heading, findings = found.partition("\n\n## Findings")
    return "\n\n".join([f"{answer}{said}{heading}{findings}", *blocks])


def _say(finding: Finding, result: ToolResult) -> str:
    return f"{finding.title}: {result.text}" if result.failed else finding.say(_answer(result))


def _answer(result: ToolResult) -> Answer:
    value = result.value
    return Answer(value["columns"], value["rows"], value["total_rows"])


def _chart_calls(conversation: Conversation) -> list[dict[str, Any]]:
    charts = [_chart(section) for section in read_sections(conversation.context)]
    return [chart for chart in charts if chart][:_MAX_CHARTS]


def _chart(section: Section) -> dict[str, Any] | None:
    """Return the chart that a finding's table makes, if it makes one."""
    if not section.sql or len(section.table) < 2:
        return None
    columns = list(section.table[0])
    numeric = [column for column in columns if _numeric(section, column)]
    y = next((column for column in numeric if column != columns[0]), None)
    if y is None:
        return None
    # Names first; where they recur, what else tells rows apart.
    places = [x for x in columns if x != y]
    x = next((x for x in places if len({row[x] for row in section.table}) > 1), None)
    if x is None:
        return None
    unique = next(
        (p for p in places if len({r[p] for r in section.table}) == len(section.table)), x
    )
    continuous = _continuous(unique, [row[unique] for row in section.table])
    kind = "line" if continuous else "bar"
    return {"sql": section.sql, "kind": kind, "x": unique, "y": y, "title": section.heading}


def _continuous(name: str, cells: list[str]) -> bool:
    """Whether the values of an x axis follow one another: dates, years, measurements."""
    if len(cells) < _SHORTEST_LINE or name.endswith(STEP):
        return False
    if all(_ISO_DATE.match(cell) for cell in cells):
        return cells == sorted(cells)
    measured = name == "year" or any("." in cell for cell in cells)
    if not measured or not all(_NUMBER.fullmatch(cell) for cell in cells):
        return False
    values = [float(cell) for cell in cells]
    return values == sorted(values)


def _numeric(section: Section, column: str) -> bool:
    return all(_NUMBER.fullmatch(row[column]) for row in section.table)


def _chart_answer(conversation: Conversation) -> str:
    lines = []
    for result in conversation.results_of("draw_chart"):
        if result.failed:
            lines.append(f"- {result.arguments['title']}: not drawn. {result.text}")
        else:
            name = result.value["chart"]
            kind = result.arguments["kind"]
            lines.append(f"- **{result.arguments['title']}**: `{name}` ({kind} chart)")
    if not lines:
        return "No chart: each answer is a single number."
    return "Charts drawn, each as PNG and SVG:\n\n" + "\n".join(lines)


def _report_calls(conversation: Conversation) -> list[dict[str, Any]]:
    # A query that failed has no table.
    sections = [section for section in read_sections(conversation.context) if section.table]
    answer = _answer_text(conversation)
    if not sections or not answer:
        return []
    charts = dict(_CHART_LINE.findall(conversation.context))
    return [
        {
            "title": shorten(conversation.tagged("question"), 150) or "What the data shows",
            "summary": answer,
            "sections": [
                {
                    "heading": section.heading,
                    "text": section.text,
                    "sql": section.sql,
                    "figure": charts.get(section.heading),
                }
                for section in sections
            ],
        }
    ]


def _report_answer(conversation: Conversation) -> str:
    blocks = [_answer_text(conversation) or conversation.context or _NO_PROFILE]
    charts = [name for _, name in _CHART_LINE.findall(conversation.context)]
    results = conversation.results_of("write_report")
    written = [result for result in results if not result.failed]
    files = [f"`{result.value['report']}`" for result in written] + [f"`{c}`" for c in charts]
    if files:
        blocks.append(f"Report and charts: {', '.join(files)}.")
    blocks += [f"The report was not written. {r.text}" for r in results if r.failed]
    blocks.append(f"_Worked out by {NAME}, which follows rules and is no language model._")
    return "\n\n".join(blocks)


def _answer_text(conversation: Conversation) -> str:
    match = _ANSWER.search(conversation.context)
    return match.group(1).strip() if match else ""


DATA_RULES = {
    "profile_dataset": Rule(_profile_calls, _profile_answer),
    "query_sql": Rule(_query_calls, _query_answer),
    "compute_statistics": Rule(_statistics_calls, _statistics_answer),
    "draw_chart": Rule(_chart_calls, _chart_answer),
    "write_report": Rule(_report_calls, _report_answer),
}

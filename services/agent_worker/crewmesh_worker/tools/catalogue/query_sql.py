"""The tool that answers SQL over the run's datasets."""

from __future__ import annotations

import json

from pydantic import BaseModel, Field

from crewmesh_worker.tools.context import current_run
from crewmesh_worker.tools.database import MAX_ROWS

DESCRIPTION = (
    "Runs one DuckDB SQL query that reads (SELECT, WITH, DESCRIBE, SUMMARIZE) over the dataset, "
    f"which is the table data. Shows the first {MAX_ROWS} rows and the total; aggregate instead "
    'of reading many rows. Write column names in double quotes, e.g. "temp_max".'
)
OUTSIDE = True


class Arguments(BaseModel):
    """What the model gives."""

    sql: str = Field(description="One SQL query in DuckDB's dialect.")


def run(arguments: Arguments) -> str:
    """Return the answer as JSON: columns, rows, total_rows."""
    context = current_run()
    result = context.database.query(arguments.sql)
    answer = {"columns": result.columns, "rows": result.rows, "total_rows": result.total}
    # A threshold or a limit in the query is part of what was found.
    context.evidence.add([answer, arguments.sql])
    return json.dumps(answer, ensure_ascii=False)

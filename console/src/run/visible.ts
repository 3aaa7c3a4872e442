import type { Row, RowKind } from "./log";

/** Return the rows to show: without those of folded tasks and of kinds that aren't wanted. */
export function visibleRows(
  rows: readonly Row[],
  folded: ReadonlySet<number>,
  hidden: ReadonlySet<RowKind>,
): readonly Row[] {
  if (folded.size === 0 && hidden.size === 0) return rows.slice();
  return rows.filter(
    (row) => !hidden.has(row.kind) && (row.parent === null || !folded.has(row.parent)),
  );
}

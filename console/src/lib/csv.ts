/** Rows of comma-separated values, as RFC 4180 has them; at most as many as asked for. */
export function parseCsv(text: string, limit: number): string[][] {
  const rows: string[][] = [];
  let row: string[] = [];
  // A field and what ends it. A quote that isn't closed is a sign like any other.
  const fields = text.matchAll(/(?:"((?:[^"]|"")*)"|([^,\r\n]*))(,|\r?\n|\r|$)/gy);
  for (const { 0: all, 1: quoted, 2: plain = "", 3: end } of fields) {
    // The end of a text whose last line is ended is no line.
    if (all === "" && row.length === 0) break;
    row.push(quoted === undefined ? plain : quoted.replaceAll('""', '"'));
    if (end === ",") continue;
    rows.push(row);
    row = [];
    if (rows.length === limit || end === "") break;
  }
  return rows;
}

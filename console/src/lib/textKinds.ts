/** How a file's text is shown, by what the file is. */

export type TextKind = "markdown" | "csv" | "json" | "text";

const BY_TYPE: [beginning: string, kind: TextKind][] = [
  ["text/markdown", "markdown"],
  ["text/csv", "csv"],
  ["application/json", "json"],
  ["text/", "text"],
  ["application/x-ndjson", "text"],
  ["application/jsonl", "text"],
];
const BY_SUFFIX: Record<string, TextKind> = {
  md: "markdown",
  csv: "csv",
  json: "json",
  jsonl: "text",
  ndjson: "text",
  txt: "text",
  log: "text",
};

/** Return null for what is no text, or may be none. */
export function textKindOf(file: { name: string; media_type: string }): TextKind | null {
  const suffix = file.name.split(".").at(-1)?.toLowerCase() ?? "";
  const byType = BY_TYPE.find(([beginning]) => file.media_type.startsWith(beginning))?.[1];
  // A suffix says more than "some text" does.
  return (byType === "text" && BY_SUFFIX[suffix]) || byType || BY_SUFFIX[suffix] || null;
}

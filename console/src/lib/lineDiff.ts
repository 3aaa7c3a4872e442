/** The lines of two texts, compared: a unified diff without its head. */

import { structuredPatch } from "diff";

const CONTEXT_LINES = 4;

export function lineDiff(before: string, after: string): string {
  const patch = structuredPatch("", "", `${before}\n`, `${after}\n`, "", "", {
    context: CONTEXT_LINES,
  });
  return patch.hunks
    .map((hunk) =>
      [`@@ line ${hunk.oldStart} and line ${hunk.newStart} @@`, ...hunk.lines].join("\n"),
    )
    .join("\n");
}

/** JSON in one form, so that the order of its keys makes no difference. */
export function inOneForm(value: unknown): string {
  return (
    JSON.stringify(
      value,
      (_, part) =>
        isObject(part)
          ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
          : part,
      2,
    ) ?? ""
  );
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

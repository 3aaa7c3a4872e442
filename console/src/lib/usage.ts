/** Usage as charts and tables want it. */

import type { UsageGroup } from "../api/types";
import type { Series } from "../ui/Chart";

type By = "crew" | "model";
export interface Total {
  name: string;
  model_calls: number;
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
  cost_usd: number;
  unpriced_calls: number;
}

const SHOWN_SERIES = 5;
const DAY_MS = 86_400_000;

/** Return the last `count` days in UTC, today included, as YYYY-MM-DD. */
export function daysUntilToday(count: number, now = Date.now()): string[] {
  return Array.from({ length: count }, (_, place) =>
    new Date(now - (count - 1 - place) * DAY_MS).toISOString().slice(0, 10),
  );
}

/** Return one series for each of the largest groups, and one for all others. */
export function byDay(
  groups: readonly UsageGroup[],
  days: readonly string[],
  by: By,
  amount: (group: UsageGroup) => number,
): Series[] {
  const sums = new Map<string, number>();
  for (const group of groups)
    sums.set(group[by] ?? "", (sums.get(group[by] ?? "") ?? 0) + amount(group));
  const names = [...sums].sort((a, b) => b[1] - a[1]).map(([name]) => name);
  const shown = names.slice(0, SHOWN_SERIES);
  const place = new Map(days.map((day, index) => [day, index]));
  const series = new Map<string, number[]>();
  for (const name of names.length > SHOWN_SERIES ? [...shown, "others"] : shown)
    series.set(
      name,
      days.map(() => 0),
    );
  for (const group of groups) {
    const values = series.get(shown.includes(group[by] ?? "") ? (group[by] ?? "") : "others");
    const index = place.get(group.day ?? "");
    if (values && index !== undefined) values[index] = (values[index] ?? 0) + amount(group);
  }
  return [...series].map(([name, values]) => ({ name, values }));
}

/** Return the sums of each group, the largest first; with null, of all of them. */
export function totals(groups: readonly UsageGroup[], by: By | null): Total[] {
  const sums = new Map<string, Total>();
  for (const group of groups) {
    const name = by ? (group[by] ?? "") : "";
    const sum = sums.get(name) ?? {
      name,
      model_calls: 0,
      prompt_tokens: 0,
      completion_tokens: 0,
      total_tokens: 0,
      cost_usd: 0,
      unpriced_calls: 0,
    };
    for (const key of [
      "model_calls",
      "prompt_tokens",
      "completion_tokens",
      "total_tokens",
      "cost_usd",
      "unpriced_calls",
    ] as const)
      sum[key] += group[key];
    sums.set(name, sum);
  }
  return [...sums.values()].sort((a, b) => b.total_tokens - a.total_tokens);
}

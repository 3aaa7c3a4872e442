import { describe, expect, test } from "vitest";
import type { UsageGroup } from "../api/types";
import { placeOf, validator, wordsOf } from "../forms/validator";
import { parseCsv } from "./csv";
import { ago, bytes, cost, duration, money, shortId } from "./format";
import { inOneForm, lineDiff } from "./lineDiff";
import { fromLocal, toLocal } from "./localTime";
import { textKindOf } from "./textKinds";
import { byDay, daysUntilToday, totals } from "./usage";

test.each([
  [-3, "0 ms"],
  [0, "0 ms"],
  [999, "999 ms"],
  [1000, "1.0 s"],
  [59_999, "59.9 s"],
  [60_000, "1 m 00 s"],
  [125_000, "2 m 05 s"],
  [3_600_000, "1 h 00 m"],
  [200_000_000, "2 days"],
])("%d ms is %s", (ms, words) => expect(duration(ms)).toBe(words));

test.each([
  [0, "$0"],
  [0.0000012, "$0.0000012"],
  [0.25, "$0.250"],
  [12, "$12.00"],
])("$%d", (usd, words) => expect(money(usd)).toBe(words));

test.each([
  [{ cost_usd: 0, model_calls: 2, unpriced_calls: 2 }, "not priced"],
  [{ cost_usd: 1, model_calls: 2, unpriced_calls: 1 }, "≥ $1.00"],
  [{ cost_usd: 1, model_calls: 2, unpriced_calls: 0 }, "$1.00"],
])("a cost of which a part is unknown says so", (usage, words) => expect(cost(usage)).toBe(words));

test.each([
  [1, "1 B"],
  [47_200, "47.2 kB"],
  [3_000_000, "3.0 MB"],
])("%d bytes", (n, words) => expect(bytes(n)).toBe(words));

test.each([
  [-2, "just now"],
  [-30, "30 sec. ago"],
  [-7200, "2 hr. ago"],
  [-86_400, "yesterday"],
])("%d s from now", (seconds, words) => {
  const now = Date.parse("2026-11-23T06:39:00Z");
  expect(ago(new Date(now + seconds * 1000).toISOString(), now)).toBe(words);
});

test("runs of the same moment have different short names", () => {
  expect(shortId("01a210c5-97ea-7c9c-a0be-5b289e1fa1c0")).not.toBe(
    shortId("01a210c5-97ea-7c9c-a0be-6b289e1fa1c0"),
  );
});

describe("comparing", () => {
  test("the order of keys makes no difference", () => {
    expect(inOneForm({ b: [{ d: 1, c: 2 }], a: null })).toBe(
      inOneForm({ a: null, b: [{ c: 2, d: 1 }] }),
    );
  });

  test("shows lines that went and came", () => {
    expect(lineDiff("a\nb", "a\nc").split("\n").slice(1)).toEqual([" a", "-b", "+c"]);
  });
});

describe("usage", () => {
  const group = (crew: string, day: string, total_tokens: number): UsageGroup => ({
    crew,
    model: null,
    day,
    model_calls: 1,
    prompt_tokens: 0,
    completion_tokens: 0,
    total_tokens,
    cost_usd: 0,
    unpriced_calls: 0,
  });
  const days = daysUntilToday(3, Date.parse("2026-03-01T23:30:00Z"));

  test("has each day of the period, also across a month's end", () =>
    expect(days).toEqual(["2026-02-27", "2026-02-28", "2026-03-01"]));

  test("has a value for each day, and the largest first", () => {
    expect(
      byDay(
        [group("a", "2026-02-28", 1), group("b", "2026-03-01", 5)],
        days,
        "crew",
        (g) => g.total_tokens,
      ),
    ).toEqual([
      { name: "b", values: [0, 0, 5] },
      { name: "a", values: [0, 1, 0] },
    ]);
  });

  test("puts small ones together", () => {
    const many = Array.from({ length: 8 }, (_, n) => group(`crew${n}`, "2026-03-01", n + 1));
    const series = byDay(many, days, "crew", (g) => g.total_tokens);
    expect(series.map(({ name }) => name)).toEqual([
      "crew7",
      "crew6",
      "crew5",
      "crew4",
      "crew3",
      "others",
    ]);
    expect(series.at(-1)?.values).toEqual([0, 0, 6]);
  });

  test("sums up", () => {
    expect(totals([group("a", "x", 1), group("a", "y", 2)], "crew")).toMatchObject([
      { name: "a", total_tokens: 3, model_calls: 2 },
    ]);
  });
});

describe("checking inputs", () => {
  const schema = {
    type: "object" as const,
    required: ["data"],
    additionalProperties: false,
    properties: {
      data: { type: "string" as const },
      words: { type: "integer" as const, minimum: 1 },
    },
  };
  const faults = (data: unknown) =>
    validator
      .validateFormData(data, schema)
      .errors.map(({ property, message }) => [property, message]);

  test("takes what fits", () => expect(faults({ data: "x", words: 3 })).toEqual([]));
  test("names what is missing", () => expect(faults({})).toEqual([[".data", "is required"]]));
  test("names what is too small", () =>
    expect(faults({ data: "x", words: 0 })[0]?.[0]).toBe(".words"));
  test("says where, within lists too", () => {
    const unit = {
      keyword: "type",
      keywordLocation: "",
      instanceLocation: "#/messages/0/id",
      error: 'Instance type "number" is invalid. Expected "string".',
    };
    expect(placeOf(unit)).toEqual(["messages", "0", "id"]);
    expect(wordsOf(unit)).toBe('"number" is invalid. Expected "string"');
  });
});

test("a time passes through a field for local times, to the minute", () => {
  expect(fromLocal(toLocal("2026-11-23T06:39:00.000Z"))).toBe("2026-11-23T06:39:00.000Z");
  expect(toLocal("2026-11-23T06:39:41Z")).toMatch(/^2026-11-2\dT\d\d:\d9$/);
  expect([toLocal(undefined), toLocal("soon"), fromLocal("")]).toEqual(["", "", undefined]);
});

test.each([
  [
    "a,b\n1,2\n",
    [
      ["a", "b"],
      ["1", "2"],
    ],
  ],
  [
    'a,"b, ""c""\nd"\r\n1,',
    [
      ["a", 'b, "c"\nd'],
      ["1", ""],
    ],
  ],
  ["a\n\nb", [["a"], [""], ["b"]]],
  ['a,"b', [["a", '"b']]],
  ["", []],
])("the rows of %j", (text, rows) => expect(parseCsv(text, 10)).toEqual(rows));

test("no more rows are read than are asked for", () => {
  expect(parseCsv("1\n2\n3\n", 2)).toEqual([["1"], ["2"]]);
});

test.each([
  ["report.md", "text/plain", "markdown"],
  ["sales.csv", "text/csv", "csv"],
  ["sums.json", "application/json", "json"],
  ["lines.jsonl", "application/octet-stream", "text"],
  ["notes", "text/plain; charset=utf-8", "text"],
  ["table.parquet", "application/octet-stream", null],
])("%s of %s is shown as %s", (name, media_type, kind) =>
  expect(textKindOf({ name, media_type })).toBe(kind),
);

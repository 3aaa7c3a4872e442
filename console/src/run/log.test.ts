import { describe, expect, test } from "vitest";
import type { JsonObject, RunEvent } from "../api/types";
import { append, emptyLog, oneLine, type RunLog } from "./log";
import { visibleRows } from "./visible";

const START = Date.parse("2026-11-23T06:39:00Z");

function events(
  ...given: [type: string, payload?: JsonObject, fields?: Partial<RunEvent>][]
): RunEvent[] {
  return given.map(([type, payload = {}, fields = {}], place) => ({
    seq: place + 1,
    run_id: "r",
    at: new Date(START + place * 1000).toISOString(),
    attempt: 1,
    type,
    task: null,
    agent: null,
    payload,
    ...fields,
  }));
}

const inTask = { task: "analyse", agent: "Analyst" };
const RUN = events(
  ["run.queued", { crew: "hello", crew_version: "1", priority: 0 }],
  ["run.started", { worker_id: "0123456789", attempt: 1 }],
  ["task.started", { index: 0, total: 2, description: "Analyse" }, inTask],
  ["agent.started", {}, inTask],
  ["llm.started", { call_id: "a", model: "offline" }, inTask],
  ["llm.chunk", { call_id: "a", text: "The ans", chunks: 3 }, inTask],
  ["llm.chunk", { call_id: "a", text: "wer", chunks: 1 }, inTask],
  [
    "llm.completed",
    {
      call_id: "a",
      model: "offline",
      usage: { total_tokens: 12 },
      cost_usd: 0.5,
      duration_ms: 1500,
    },
    inTask,
  ],
  ["tool.started", { call_id: "b", tool: "query_sql", arguments: { sql: "SELECT 1" } }, inTask],
  [
    "tool.failed",
    { call_id: "b", tool: "query_sql", error: "no such table", duration_ms: 20 },
    inTask,
  ],
  [
    "artifact.created",
    { id: "x", name: "chart.png", media_type: "image/png", size_bytes: 9 },
    inTask,
  ],
  ["agent.completed", { output: "It is 42" }, inTask],
  ["task.completed", { index: 0, output: "42", duration_ms: 9 }, inTask],
  ["run.succeeded", { output: "42" }],
);

function logOf(given: RunEvent[], batch = given.length): RunLog {
  const log = emptyLog();
  for (let start = 0; start < given.length; start += batch)
    append(log, given.slice(start, start + batch));
  return log;
}

const shape = (log: RunLog) => ({ ...log, version: 0 });

describe("a run's log", () => {
  test("is the same, however its events were batched", () => {
    for (const batch of [1, 2, 5, 7]) expect(shape(logOf(RUN, batch))).toEqual(shape(logOf(RUN)));
  });

  test("takes events that come again only once, as after a reconnect", () => {
    const log = logOf(RUN);
    const before = structuredClone(shape(log));
    expect(append(log, RUN.slice(4, 10))).toBe(false);
    expect(shape(log)).toEqual(before);
  });

  test("joins a model's chunks to the text of its call, and counts what it consumed", () => {
    const log = logOf(RUN);
    const model = log.rows.find((row) => row.kind === "model");
    expect(model).toMatchObject({ text: "The answer", state: "done", tokens: 12, costUsd: 0.5 });
    expect((model?.endedAt ?? 0) - (model?.startedAt ?? 0)).toBe(1500);
    expect(log).toMatchObject({ tokens: 12, costUsd: 0.5, modelCalls: 1, unpricedCalls: 0 });
  });

  test("puts what a task does under it", () => {
    const log = logOf(RUN);
    const task = log.rows.find((row) => row.kind === "task");
    expect(task).toMatchObject({
      title: "analyse",
      detail: "1 of 2 · Analyst",
      state: "done",
      output: "42",
    });
    const within = log.rows.filter((row) => row.parent === task?.key).map((row) => row.kind);
    expect(within).toEqual(["agent", "model", "tool", "artifact"]);
  });

  test("says of an agent how long it was at work and what came of it", () => {
    const agent = logOf(RUN).rows.find((row) => row.kind === "agent");
    expect(agent).toMatchObject({ title: "Analyst", state: "done", output: "It is 42" });
    expect((agent?.endedAt ?? 0) - (agent?.startedAt ?? 0)).toBe(8000);
  });

  test("ends an agent with its task, where the agent failed", () => {
    const log = logOf(
      events(
        ["task.started", { index: 0 }, inTask],
        ["agent.started", {}, inTask],
        ["agent.started", {}, inTask],
        ["task.failed", { index: 0, error: "no" }, inTask],
      ),
    );
    expect(log.rows.map((row) => [row.kind, row.state])).toEqual([
      ["task", "failed"],
      ["agent", "failed"],
    ]);
  });

  test("says of a failed call why", () => {
    const tool = logOf(RUN).rows.find((row) => row.kind === "tool");
    expect(tool).toMatchObject({ state: "failed", error: "no such table", detail: "sql=SELECT 1" });
  });

  test("replaces a row that changes, so that it is drawn anew, and no other", () => {
    const log = logOf(RUN.slice(0, 5));
    const [queued, , , , model] = log.rows;
    append(log, RUN.slice(5, 6));
    expect(log.rows[0]).toBe(queued);
    expect(log.rows[4]).not.toBe(model);
  });

  test("asks while the run waits, and no longer", () => {
    const asked = events(
      ["input.requested", { prompt: "Good?", draft: "It is." }, inTask],
      ["input.received", { text: "", approve: true, by: "u" }, inTask],
    );
    const log = logOf(asked.slice(0, 1));
    expect(log.question).toMatchObject({ seq: 1, prompt: "Good?", draft: "It is.", options: [] });
    append(log, asked);
    expect(log.question).toBeNull();
    expect(log.rows.map((row) => [row.kind, row.state])).toEqual([
      ["question", "done"],
      ["answer", "none"],
    ]);
  });

  test("knows a question for words from one for approval, though its draft be empty", () => {
    const draftOf = (payload: JsonObject) =>
      logOf(events(["input.requested", { prompt: "?", ...payload }])).question?.draft;
    expect(draftOf({})).toBeNull();
    expect(draftOf({ draft: "" })).toBe("");
  });

  test("counts the changes of the run's state that no other event tells of", () => {
    const log = logOf(
      events(["run.queued"], ["run.started"], ["run.queued", { reason: "x" }], ["run.started"]),
    );
    expect(log.turns).toBe(4);
  });

  test("ends what was under way when its process is lost, and begins anew in the next attempt", () => {
    const again = { task: "analyse", agent: "Analyst", attempt: 2 };
    const log = logOf(
      events(
        ["task.started", { index: 0, total: 1 }, inTask],
        ["llm.started", { call_id: "a", model: "m" }, inTask],
        ["run.queued", { reason: "worker_lost" }],
        ["task.started", { index: 0, total: 1 }, again],
        ["llm.started", { call_id: "a", model: "m" }, again],
      ),
    );
    expect(log.rows.map((row) => row.state)).toEqual([
      "failed",
      "failed",
      "none",
      "active",
      "active",
    ]);
    expect(log.rows[4]?.parent).toBe(3);
  });

  test.each([
    ["run.succeeded", {}, "Succeeded", "done"],
    ["run.failed", { code: "crew_error", message: "no" }, "Failed", "failed"],
    ["run.cancelled", { reason: "enough" }, "Cancelled", "failed"],
    ["run.timed_out", { timeout_seconds: 3 }, "Timed out", "failed"],
  ] as const)("has ended after %s", (type, payload, title, state) => {
    const log = logOf(events(["task.started", { index: 0 }, inTask], [type, { ...payload }]));
    expect(log.ended).toBe(true);
    expect(log.rows.at(-1)).toMatchObject({ kind: "run", title, state });
    expect(log.rows[0]?.state).toBe(state);
  });

  test("shows an event of a type that isn't known yet", () => {
    const [row] = logOf(events(["crew.sang", { song: "la" }])).rows;
    expect(row).toMatchObject({ kind: "note", title: "crew.sang", detail: "song=la" });
  });

  test("of 50,000 events is made in one go", () => {
    const log = logOf(
      events(
        ...Array.from(
          { length: 50_000 },
          (_, n) => ["log", { level: "INFO", message: `line ${n}` }] as [string, JsonObject],
        ),
      ),
      500,
    );
    expect(log.rows).toHaveLength(50_000);
    expect(log.rows.at(-1)?.title).toBe("line 49999");
  });
});

describe("the rows in sight", () => {
  const log = logOf(RUN);
  const kinds = (folded: number[], hidden: ("tool" | "model")[]) =>
    visibleRows(log.rows, new Set(folded), new Set(hidden)).map((row) => row.kind);

  test("leave out what is filtered", () => {
    expect(kinds([], ["tool", "model"])).toEqual([
      "note",
      "note",
      "task",
      "agent",
      "artifact",
      "run",
    ]);
  });

  test("leave out what is in a folded task", () => {
    expect(kinds([2], [])).toEqual(["note", "note", "task", "run"]);
  });
});

test.each([
  [{ a: 1, b: "two  \n lines" }, "a=1, b=two lines"],
  ["x".repeat(300), `${"x".repeat(199)}…`],
  [null, ""],
])("a value on one line", (value, line) => {
  expect(oneLine(value)).toBe(line);
});

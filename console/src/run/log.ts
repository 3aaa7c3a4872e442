/**
 * A run's log as the timeline shows it: one row for each task, tool call, model call and so on,
 * made of events by `append`. The same events always give the same rows, whatever the batches.
 *
 * Rows are replaced when they change, so that what shows one can tell by identity; the list and
 * the indexes are changed in place, since copying 50,000 rows for each batch would be felt.
 */

import type { Artifact, Json, JsonObject, RunEvent } from "../api/types";

export type RowKind =
  | "run"
  | "task"
  | "agent"
  | "tool"
  | "model"
  | "artifact"
  | "question"
  | "answer"
  | "log"
  | "note";
export type RowState = "active" | "done" | "failed" | "none";

export interface Row {
  key: number;
  kind: RowKind;
  state: RowState;
  title: string;
  /** Of one line. */
  detail: string;
  /** 0: of the run, 1: a task, 2: within a task. */
  depth: number;
  /** The row of the task that it belongs to. */
  parent: number | null;
  startedAt: number;
  /** Unknown while it goes on. */
  endedAt: number | null;
  agent: string | null;
  task: string | null;
  /** What a model has said so far, or what a log says. */
  text: string;
  input: Json;
  output: Json;
  error: string | null;
  tokens: number | null;
  costUsd: number | null;
  attempt: number;
  level?: "info" | "warning" | "error";
}

export interface Question {
  seq: number;
  prompt: string;
  /** What is to be approved; null where nothing is. */
  draft: string | null;
  tool: string | null;
  arguments: Json;
  options: string[];
}

export interface RunLog {
  rows: Row[];
  lastSeq: number;
  /** How many events of which kind there are, for the filter. */
  counts: Partial<Record<RowKind, number>>;
  ended: boolean;
  question: Question | null;
  artifacts: Artifact[];
  tokens: number;
  costUsd: number;
  modelCalls: number;
  unpricedCalls: number;
  /** How often the run was queued or started: each time, its state is another. */
  turns: number;
  startedAt: number | null;
  endedAt: number | null;
  /** Raised by each batch that changed something. */
  version: number;
  calls: Map<string, number>;
  tasks: Map<string, number>;
  /** The agents at work, by task and role. */
  agents: Map<string, number>;
}

export function emptyLog(): RunLog {
  return {
    rows: [],
    lastSeq: 0,
    counts: {},
    ended: false,
    question: null,
    artifacts: [],
    tokens: 0,
    costUsd: 0,
    modelCalls: 0,
    unpricedCalls: 0,
    turns: 0,
    startedAt: null,
    endedAt: null,
    version: 0,
    calls: new Map(),
    tasks: new Map(),
    agents: new Map(),
  };
}

/** Take the next events; those that were taken before change nothing. Return whether any did. */
export function append(log: RunLog, events: readonly RunEvent[]): boolean {
  let changed = false;
  for (const event of events) {
    if (event.seq <= log.lastSeq) continue;
    log.lastSeq = event.seq;
    changed = true;
    (TAKERS[event.type] ?? takeUnknown)(log, event, Date.parse(event.at));
  }
  if (changed) log.version += 1;
  return changed;
}

type Taker = (log: RunLog, event: RunEvent, at: number) => void;

const TAKERS: Record<string, Taker> = {
  "run.queued": (log, event, at) => {
    log.question = null;
    log.turns += 1;
    const reason = text(event.payload.reason);
    if (reason) closeAll(log, at, "failed");
    note(
      log,
      event,
      at,
      reason ? "Back in the queue" : "Queued",
      reason
        ? sentence(reason, event.payload.message)
        : `${text(event.payload.crew)} ${text(event.payload.crew_version)}`,
      reason ? "warning" : "info",
    );
  },
  "run.started": (log, event, at) => {
    log.startedAt ??= at;
    log.turns += 1;
    note(
      log,
      event,
      at,
      event.attempt > 1 ? `Attempt ${event.attempt} started` : "Started",
      `on worker ${text(event.payload.worker_id).slice(0, 8)}`,
    );
  },
  "run.resumed": (log, event, at) =>
    note(log, event, at, "Resumed", `after ${number(event.payload.finished_tasks)} finished tasks`),
  "task.started": (log, event, at) => {
    const index = number(event.payload.index);
    const total = number(event.payload.total);
    const key = add(log, event, at, {
      kind: "task",
      state: "active",
      title: event.task ?? `Task ${index + 1}`,
      depth: 1,
      detail: [total ? `${index + 1} of ${total}` : "", event.agent ?? ""]
        .filter(Boolean)
        .join(" · "),
      input: event.payload.description ?? null,
    });
    log.tasks.set(taskKey(event), key);
  },
  "task.completed": (log, event, at) => endTask(log, event, at, "done"),
  "task.failed": (log, event, at) => endTask(log, event, at, "failed"),
  "agent.started": (log, event, at) => {
    // One that is asked again by another is at work all the while.
    if (log.agents.has(agentKey(event))) return;
    const title = event.agent ?? "Agent";
    const key = add(log, event, at, { kind: "agent", state: "active", title, depth: 2 });
    log.agents.set(agentKey(event), key);
  },
  "agent.completed": (log, event, at) =>
    endAgent(log, agentKey(event), at, "done", event.payload.output ?? null),
  "tool.started": (log, event, at) =>
    begin(log, event, at, {
      kind: "tool",
      title: text(event.payload.tool),
      detail: oneLine(event.payload.arguments),
      input: event.payload.arguments ?? null,
    }),
  "tool.completed": (log, event, at) =>
    finish(log, event, at, { state: "done", output: event.payload.output ?? null }),
  "tool.failed": (log, event, at) =>
    finish(log, event, at, { state: "failed", error: text(event.payload.error) }),
  "llm.started": (log, event, at) =>
    begin(log, event, at, { kind: "model", title: text(event.payload.model), detail: "" }),
  "llm.chunk": (log, event) => {
    const row = rowOfCall(log, event);
    if (row) replace(log, { ...row, text: row.text + text(event.payload.text) });
  },
  "llm.completed": (log, event, at) => {
    const usage = (event.payload.usage ?? {}) as JsonObject;
    const costUsd = typeof event.payload.cost_usd === "number" ? event.payload.cost_usd : null;
    const tokens = number(usage.total_tokens);
    log.tokens += tokens;
    log.modelCalls += 1;
    if (costUsd === null) log.unpricedCalls += 1;
    else log.costUsd += costUsd;
    finish(log, event, at, { state: "done", tokens, costUsd, output: event.payload.usage ?? null });
  },
  "llm.failed": (log, event, at) =>
    finish(log, event, at, { state: "failed", error: text(event.payload.error) }),
  "llm.retried": (log, event, at) =>
    note(
      log,
      event,
      at,
      "Model called again",
      `${text(event.payload.model)}, after ${number(event.payload.wait_ms)} ms: ${text(event.payload.error)}`,
      "warning",
    ),
  "budget.exceeded": (log, event, at) =>
    note(
      log,
      event,
      at,
      "Budget used up",
      `of the ${text(event.payload.scope)}, for ${text(event.payload.model)}`,
      "error",
    ),
  "checkpoint.saved": () => undefined,
  "artifact.created": (log, event, at) => {
    const { id, name, media_type, size_bytes } = event.payload;
    log.artifacts.push({
      id: text(id),
      name: text(name),
      media_type: text(media_type),
      size_bytes: number(size_bytes),
      url: `/v1/artifacts/${text(id)}`,
      created_at: event.at,
    });
    add(log, event, at, {
      kind: "artifact",
      state: "none",
      title: text(name),
      depth: 2,
      detail: text(media_type),
      endedAt: at,
      output: text(id),
    });
  },
  "input.requested": (log, event, at) => {
    const { prompt, draft, tool, options } = event.payload;
    log.question = {
      seq: event.seq,
      prompt: text(prompt),
      draft: draft === undefined ? null : text(draft),
      tool: tool ? text(tool) : null,
      arguments: event.payload.arguments ?? null,
      options: Array.isArray(options) ? options.map(text) : [],
    };
    add(log, event, at, {
      kind: "question",
      state: "active",
      title: "Waits for a person",
      depth: 2,
      detail: oneLine(text(prompt)),
      text: text(draft),
    });
  },
  "input.received": (log, event, at) => {
    log.question = null;
    closeAll(log, at, "done");
    const verdict =
      event.payload.approve === true
        ? "approved"
        : event.payload.approve === false
          ? "not approved"
          : "";
    add(log, event, at, {
      kind: "answer",
      state: "none",
      title: "Answered",
      depth: 2,
      detail: [verdict, oneLine(text(event.payload.text))].filter(Boolean).join(": "),
      text: text(event.payload.text),
      endedAt: at,
    });
  },
  log: (log, event, at) => {
    const level = text(event.payload.level).toLowerCase();
    add(log, event, at, {
      kind: "log",
      state: "none",
      title: oneLine(text(event.payload.message)),
      depth: 2,
      detail: "",
      text: text(event.payload.message),
      endedAt: at,
      level: level === "error" || level === "warning" ? level : "info",
    });
  },
  "run.succeeded": (log, event, at) => end(log, event, at, "done", "Succeeded", ""),
  "run.failed": (log, event, at) =>
    end(
      log,
      event,
      at,
      "failed",
      "Failed",
      `${text(event.payload.code)}: ${text(event.payload.message)}`,
    ),
  "run.cancelled": (log, event, at) =>
    end(log, event, at, "failed", "Cancelled", text(event.payload.reason)),
  "run.timed_out": (log, event, at) =>
    end(
      log,
      event,
      at,
      "failed",
      "Timed out",
      text(event.payload.reason) || `after ${number(event.payload.timeout_seconds)} s`,
    ),
};

function takeUnknown(log: RunLog, event: RunEvent, at: number): void {
  note(log, event, at, event.type, oneLine(event.payload));
}

function add(
  log: RunLog,
  event: RunEvent,
  at: number,
  fields: Partial<Row> & Pick<Row, "kind" | "state" | "title" | "depth">,
): number {
  const key = log.rows.length;
  const parent = fields.depth === 2 ? (log.tasks.get(taskKey(event)) ?? null) : null;
  log.rows.push({
    key,
    parent,
    detail: "",
    startedAt: at,
    endedAt: null,
    agent: event.agent,
    task: event.task,
    text: "",
    input: null,
    output: null,
    error: null,
    tokens: null,
    costUsd: null,
    attempt: event.attempt,
    ...fields,
  });
  log.counts[fields.kind] = (log.counts[fields.kind] ?? 0) + 1;
  return key;
}

function note(
  log: RunLog,
  event: RunEvent,
  at: number,
  title: string,
  detail: string,
  level: Row["level"] = "info",
): void {
  add(log, event, at, {
    kind: "note",
    state: "none",
    title,
    detail,
    depth: event.task ? 2 : 0,
    endedAt: at,
    level,
  });
}

function begin(
  log: RunLog,
  event: RunEvent,
  at: number,
  fields: Pick<Row, "kind" | "title" | "detail"> & Partial<Row>,
): void {
  const key = add(log, event, at, { state: "active", depth: 2, ...fields });
  log.calls.set(callKey(event), key);
}

function finish(log: RunLog, event: RunEvent, at: number, fields: Partial<Row>): void {
  const row = rowOfCall(log, event);
  if (!row) return;
  const lasted = event.payload.duration_ms;
  const endedAt = typeof lasted === "number" ? row.startedAt + lasted : at;
  replace(log, { ...row, ...fields, endedAt });
  log.calls.delete(callKey(event));
}

function endTask(log: RunLog, event: RunEvent, at: number, state: RowState): void {
  const key = log.tasks.get(taskKey(event));
  const row = key === undefined ? undefined : log.rows[key];
  if (!row) return;
  // Of an agent that fails nothing else tells.
  for (const [agent, place] of log.agents)
    if (log.rows[place]?.parent === row.key) endAgent(log, agent, at, state, null);
  replace(log, {
    ...row,
    state,
    endedAt: at,
    output: event.payload.output ?? null,
    error: event.payload.error ? text(event.payload.error) : null,
  });
}

function endAgent(log: RunLog, agent: string, at: number, state: RowState, output: Json): void {
  const key = log.agents.get(agent);
  const row = key === undefined ? undefined : log.rows[key];
  if (!row) return;
  replace(log, { ...row, state, endedAt: at, output });
  log.agents.delete(agent);
}

function end(
  log: RunLog,
  event: RunEvent,
  at: number,
  state: RowState,
  title: string,
  detail: string,
): void {
  log.ended = true;
  log.question = null;
  log.endedAt = at;
  closeAll(log, at, state);
  add(log, event, at, { kind: "run", state, title, detail, depth: 0, endedAt: at });
}

/** What was under way isn't any more: its process is gone, or has gone to wait. */
function closeAll(log: RunLog, at: number, state: RowState): void {
  for (const row of log.rows) {
    if (row.state === "active")
      replace(log, { ...row, state: row.kind === "question" ? "done" : state, endedAt: at });
  }
  log.calls.clear();
  log.agents.clear();
}

function rowOfCall(log: RunLog, event: RunEvent): Row | undefined {
  const key = log.calls.get(callKey(event));
  return key === undefined ? undefined : log.rows[key];
}

function replace(log: RunLog, row: Row): void {
  log.rows[row.key] = row;
}

const callKey = (event: RunEvent) => `${event.attempt}/${text(event.payload.call_id)}`;
const agentKey = (event: RunEvent) => `${taskKey(event)}/${event.agent ?? ""}`;
const taskKey = (event: RunEvent) => `${event.attempt}/${event.task ?? ""}`;

function text(value: Json | undefined): string {
  return typeof value === "string"
    ? value
    : value === null || value === undefined
      ? ""
      : JSON.stringify(value);
}

function number(value: Json | undefined): number {
  return typeof value === "number" ? value : 0;
}

/** What is said of a value on one line. */
export function oneLine(value: Json | undefined, limit = 200): string {
  const whole = isObject(value)
    ? Object.entries(value)
        .map(([name, part]) => `${name}=${text(part)}`)
        .join(", ")
    : text(value);
  const line = whole
    .slice(0, limit * 2)
    .replace(/\s+/g, " ")
    .trim();
  return line.length > limit ? `${line.slice(0, limit - 1)}…` : line;
}

function sentence(reason: string, message: Json | undefined): string {
  return [reason.replaceAll("_", " "), text(message)].filter(Boolean).join(": ");
}

function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

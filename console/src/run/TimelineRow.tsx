import {
  Bot,
  Check,
  ChevronDown,
  ChevronRight,
  CircleAlert,
  File,
  Flag,
  Hourglass,
  LoaderCircle,
  type LucideIcon,
  MessageSquareText,
  SquareTerminal,
  TriangleAlert,
  User,
  UserCog,
  Wrench,
} from "lucide-react";
import { memo } from "react";
import type { Json } from "../api/types";
import { compact, duration, money } from "../lib/format";
import type { Row, RowKind } from "./log";

const ICONS: Record<RowKind, LucideIcon> = {
  run: Flag,
  task: ChevronDown,
  agent: UserCog,
  tool: Wrench,
  model: Bot,
  artifact: File,
  question: Hourglass,
  answer: User,
  log: SquareTerminal,
  note: MessageSquareText,
};
const KIND_WORDS: Record<RowKind, string> = {
  run: "",
  task: "Task",
  agent: "Agent",
  tool: "Tool",
  model: "Model call",
  artifact: "Artifact",
  question: "Question",
  answer: "Answer",
  log: "Log",
  note: "",
};
const LASTING: ReadonlySet<RowKind> = new Set(["task", "agent", "tool", "model", "question"]);
/** Of a text that is still growing, the end is what one wants to read. */
const LIVE_CHARACTERS = 160;
const SHOWN_CHARACTERS = 20_000;

interface Props {
  row: Row;
  place: number;
  top: number;
  measure: (element: HTMLElement | null) => void;
  open: boolean;
  onToggle: () => void;
  /** When the run began and how long it is, in ms: what the bar is a part of. */
  began: number;
  whole: number;
  /** 0 for a row that isn't under way, so that it needn't be drawn anew. */
  now: number;
}

export const TimelineRow = memo(
  Drawn,
  (before, after) =>
    before.row === after.row &&
    before.place === after.place &&
    before.top === after.top &&
    before.open === after.open &&
    before.now === after.now &&
    before.whole === after.whole &&
    before.began === after.began,
);

function Drawn({ row, place, top, measure, open, onToggle, began, whole, now }: Props) {
  const ended = row.endedAt ?? (now || row.startedAt);
  const lasts = LASTING.has(row.kind);
  return (
    <div
      className={`row depth-${row.depth} kind-${row.kind} state-${row.state}`}
      data-index={place}
      ref={measure}
      style={{ transform: `translateY(${top}px)` }}
    >
      <button type="button" aria-expanded={open} onClick={onToggle}>
        <Glyph row={row} open={open} />
        <span className="what">
          <span className="title">
            {KIND_WORDS[row.kind] && <span className="hidden">{KIND_WORDS[row.kind]}: </span>}
            {row.title}
          </span>
          <span className="detail">{detailOf(row)}</span>
        </span>
        {lasts ? (
          <span className="span" aria-hidden>
            <Bar start={row.startedAt - began} end={ended - began} whole={whole} />
          </span>
        ) : (
          <span className="span none" />
        )}
        <span className="took">{lasts ? duration(ended - row.startedAt) : ""}</span>
      </button>
      {open && row.kind !== "task" && <Inside row={row} />}
    </div>
  );
}

function Bar({ start, end, whole }: { start: number; end: number; whole: number }) {
  const left = Math.min(99, (start / whole) * 100);
  return (
    <span
      className="bar"
      style={{ left: `${left}%`, width: `${Math.min(100 - left, ((end - start) / whole) * 100)}%` }}
    />
  );
}

function Glyph({ row, open }: { row: Row; open: boolean }) {
  const level = row.level ? `level-${row.level}` : "";
  if (row.state === "active" && row.kind !== "question")
    return (
      <span className="glyph">
        <LoaderCircle size={16} className="spin" aria-label="under way" />
      </span>
    );
  if (row.state === "failed")
    return (
      <span className="glyph">
        <CircleAlert size={16} aria-label="failed" />
      </span>
    );
  if (row.kind === "task" && row.state === "done")
    return (
      <span className="glyph">
        <Check size={16} aria-label="done" />
      </span>
    );
  const Icon =
    row.level === "error" || row.level === "warning"
      ? TriangleAlert
      : row.kind === "task" && !open
        ? ChevronRight
        : ICONS[row.kind];
  return (
    <span className={`glyph ${level}`}>
      <Icon size={16} aria-hidden />
    </span>
  );
}

function detailOf(row: Row): string {
  if (row.kind === "model") {
    if (row.state === "active")
      return row.text ? row.text.slice(-LIVE_CHARACTERS).replace(/\s+/g, " ") : "thinking…";
    if (row.error) return row.error;
    const spent = [
      row.tokens ? `${compact(row.tokens)} tokens` : "",
      row.costUsd ? money(row.costUsd) : "",
    ]
      .filter(Boolean)
      .join(" · ");
    return spent || row.detail;
  }
  return row.error ?? row.detail;
}

function Inside({ row }: { row: Row }) {
  const text =
    row.text.length > SHOWN_CHARACTERS ? `… ${row.text.slice(-SHOWN_CHARACTERS)}` : row.text;
  const parts: [string, Json | string][] = [];
  if (row.input !== null)
    parts.push([row.kind === "tool" ? "Arguments" : "Description", row.input]);
  if (text)
    parts.push([
      row.kind === "model" ? "Text" : row.kind === "question" ? "Draft" : "Message",
      text,
    ]);
  if (row.output !== null && row.kind !== "artifact")
    parts.push([row.kind === "model" ? "Usage" : "Result", row.output]);
  if (row.error) parts.push(["Error", row.error]);
  const facts = [
    row.agent,
    row.attempt > 1 ? `attempt ${row.attempt}` : "",
    new Date(row.startedAt).toLocaleTimeString("en", { hour12: false }),
  ];
  return (
    <div className="inside">
      <p className="muted small">{facts.filter(Boolean).join(" · ")}</p>
      {parts.map(([name, value]) => (
        <div key={name}>
          <h3>{name}</h3>
          <pre className="code" tabIndex={0} aria-label={name} role="group">
            {shown(value)}
          </pre>
        </div>
      ))}
    </div>
  );
}

function shown(value: Json | string): string {
  return typeof value === "string" ? value : JSON.stringify(value, null, 2);
}

/** A run's log as rows: only those in sight are in the page, so that 50,000 are no burden. */

import { useVirtualizer } from "@tanstack/react-virtual";
import { ListTree } from "lucide-react";
import { useEffect, useMemo, useRef, useState } from "react";
import { useNow } from "../lib/now";
import { Empty } from "../ui/Feedback";
import type { Connection } from "./follow";
import type { RowKind, RunLog } from "./log";
import { TimelineRow } from "./TimelineRow";
import { visibleRows } from "./visible";

const KINDS: { kind: RowKind; words: string }[] = [
  { kind: "agent", words: "Agents" },
  { kind: "tool", words: "Tools" },
  { kind: "model", words: "Model calls" },
  { kind: "log", words: "Log" },
];
const ROW_PIXELS = 39;

export function Timeline({ log, connection }: { log: RunLog; connection: Connection }) {
  const [open, setOpen] = useState<ReadonlySet<number>>(new Set());
  const [folded, setFolded] = useState<ReadonlySet<number>>(new Set());
  const [hidden, setHidden] = useState<ReadonlySet<RowKind>>(new Set());
  const [follows, setFollows] = useState(true);
  const scroller = useRef<HTMLDivElement>(null);
  const now = useNow(250, !log.ended);
  // biome-ignore lint/correctness/useExhaustiveDependencies: the rows change in place; their version says so
  const rows = useMemo(
    () => visibleRows(log.rows, folded, hidden),
    [log, log.version, folded, hidden],
  );
  const virtual = useVirtualizer({
    count: rows.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => ROW_PIXELS,
    getItemKey: (place) => rows[place]?.key ?? place,
    overscan: 12,
  });

  // biome-ignore lint/correctness/useExhaustiveDependencies: what is new is shown while one looks at the end
  useEffect(() => {
    if (follows && !log.ended && rows.length > 0)
      virtual.scrollToIndex(rows.length - 1, { align: "end" });
  }, [log.version, follows]);

  const onScroll = () => {
    const element = scroller.current;
    if (!element || log.ended) return;
    const atEnd = element.scrollHeight - element.scrollTop - element.clientHeight < 2 * ROW_PIXELS;
    if (atEnd !== follows) setFollows(atEnd);
  };
  const began = log.rows[0]?.startedAt ?? now;
  const whole = Math.max(1, (log.endedAt ?? now) - began);
  return (
    <section className="card" aria-label="Timeline">
      <div className="timeline-tools">
        <ConnectionSign connection={connection} />
        <fieldset
          className="chips"
          aria-label="What is shown"
          style={{ border: 0, margin: 0, padding: 0 }}
        >
          {KINDS.filter(({ kind }) => log.counts[kind]).map(({ kind, words }) => (
            <button
              key={kind}
              type="button"
              className="chip"
              aria-pressed={!hidden.has(kind)}
              onClick={() => setHidden(toggled(hidden, kind))}
            >
              {words} <span className="number">{log.counts[kind]?.toLocaleString("en")}</span>
            </button>
          ))}
        </fieldset>
        <div className="end">
          <span className="muted small number" data-events={log.lastSeq}>
            {log.lastSeq.toLocaleString("en")} events
          </span>
          {!log.ended && (
            <label className="check small">
              <input
                type="checkbox"
                checked={follows}
                onChange={(event) => setFollows(event.target.checked)}
              />
              Follow
            </label>
          )}
        </div>
      </div>
      <div
        className="timeline"
        ref={scroller}
        onScroll={onScroll}
        tabIndex={0}
        role="group"
        aria-label="Events"
      >
        {rows.length === 0 && (
          <Empty
            icon={ListTree}
            title={connection === "connecting" ? "Reading the log…" : "Nothing has happened yet"}
          >
            <p>What the run does appears here as it happens.</p>
          </Empty>
        )}
        <div className="all" style={{ height: virtual.getTotalSize() }}>
          {virtual.getVirtualItems().map((item) => {
            const row = rows[item.index];
            if (!row) return null;
            return (
              <TimelineRow
                key={item.key}
                row={row}
                place={item.index}
                top={item.start}
                measure={virtual.measureElement}
                open={row.kind === "task" ? !folded.has(row.key) : open.has(row.key)}
                onToggle={() =>
                  row.kind === "task"
                    ? setFolded(toggled(folded, row.key))
                    : setOpen(toggled(open, row.key))
                }
                began={began}
                whole={whole}
                now={row.state === "active" ? now : 0}
              />
            );
          })}
        </div>
      </div>
    </section>
  );
}

function ConnectionSign({ connection }: { connection: Connection }) {
  const words = {
    connecting: "Connecting…",
    live: "Live",
    reconnecting: "Reconnecting…",
    ended: "Complete",
  }[connection];
  return (
    <span className="connection" role="status" data-connection={connection}>
      <span className={`dot ${connection}`} aria-hidden />
      {words}
    </span>
  );
}

function toggled<Item>(set: ReadonlySet<Item>, item: Item): ReadonlySet<Item> {
  const changed = new Set(set);
  if (!changed.delete(item)) changed.add(item);
  return changed;
}

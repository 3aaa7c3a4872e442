/** A run's log in React: the events of a frame make one update, however many they are. */

import { useEffect, useRef, useState } from "react";
import type { RunEvent } from "../api/types";
import { type Connection, follow } from "./follow";
import { append, emptyLog, type RunLog } from "./log";

export interface FollowedRun {
  log: RunLog;
  connection: Connection;
  error: unknown;
}

export function useRunLog(runId: string): FollowedRun {
  const log = useRef<RunLog>(emptyLog());
  const [, setVersion] = useState(0);
  const [connection, setConnection] = useState<Connection>("connecting");
  const [error, setError] = useState<unknown>(null);

  useEffect(() => {
    const abort = new AbortController();
    const waiting: RunEvent[] = [];
    let forget: (() => void) | null = null;
    log.current = emptyLog();
    setError(null);
    const show = () => {
      forget = null;
      append(log.current, waiting.splice(0));
      setVersion((version) => version + 1);
    };
    void follow(
      runId,
      {
        onEvents: (events) => {
          for (const event of events) waiting.push(event);
          forget ??= schedule(show, log.current.rows.length);
        },
        onConnection: setConnection,
        onFailure: setError,
      },
      abort.signal,
    );
    return () => {
      abort.abort();
      forget?.();
    };
  }, [runId]);

  return { log: log.current, connection, error };
}

/** Of a log this long, a list that changes with every frame costs more than it shows. */
const LONG_ROWS = 2000;
const PAUSE_MS = 150;

/** Do it with the next frame, or a little later; return how to forget it. */
function schedule(work: () => void, rows: number): () => void {
  // A hidden tab has no frames.
  if (document.hidden || rows > LONG_ROWS) {
    const timer = setTimeout(work, PAUSE_MS);
    return () => clearTimeout(timer);
  }
  const frame = requestAnimationFrame(work);
  return () => cancelAnimationFrame(frame);
}

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
          forget ??= schedule(show);
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

/** Do it with the next frame; return how to forget it. A hidden tab has no frames. */
function schedule(work: () => void): () => void {
  if (document.hidden) {
    const timer = setTimeout(work, 250);
    return () => clearTimeout(timer);
  }
  const frame = requestAnimationFrame(work);
  return () => cancelAnimationFrame(frame);
}

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
    let frame = 0;
    log.current = emptyLog();
    setError(null);
    const show = () => {
      frame = 0;
      append(log.current, waiting.splice(0));
      setVersion((version) => version + 1);
    };
    void follow(
      runId,
      {
        onEvents: (events) => {
          for (const event of events) waiting.push(event);
          // A hidden tab gets no frames; what it missed is shown when it is looked at again.
          if (!frame)
            frame = document.hidden ? window.setTimeout(show, 250) : requestAnimationFrame(show);
        },
        onConnection: setConnection,
        onFailure: setError,
      },
      abort.signal,
    );
    return () => {
      abort.abort();
      cancelAnimationFrame(frame);
      clearTimeout(frame);
    };
  }, [runId]);

  return { log: log.current, connection, error };
}

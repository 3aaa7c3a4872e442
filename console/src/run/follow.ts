/** A run's events over SSE, across restarts of the gateway: each comes once, in order. */

import { call, isProblem } from "../api/client";
import type { RunEvent } from "../api/types";
import { parseServerSentEvents } from "./sse";

export type Connection = "connecting" | "live" | "reconnecting" | "ended";

export interface Follower {
  onEvents(events: RunEvent[]): void;
  onConnection(connection: Connection): void;
  /** The run can't be followed: it isn't there, or the session has ended. */
  onFailure(error: unknown): void;
}

const TERMINAL = new Set(["run.succeeded", "run.failed", "run.cancelled", "run.timed_out"]);
const MAX_PAUSE_MS = 4000;
/** The gateway says something every 15 s. Who hears nothing for so long has no connection. */
const SILENCE_MS = 45_000;

/** Follow until the run ends or `signal` is aborted. */
export async function follow(
  runId: string,
  follower: Follower,
  signal: AbortSignal,
  after = 0,
): Promise<void> {
  let cursor = after;
  let failures = 0;
  follower.onConnection("connecting");
  while (!signal.aborted) {
    const silence = new Silence();
    try {
      const response = await call(`/v1/runs/${runId}/events`, {
        signal: AbortSignal.any([signal, silence.signal]),
        headers: { Accept: "text/event-stream", "Last-Event-ID": String(cursor) },
      });
      if (response.status === 204 || !response.body) return follower.onConnection("ended");
      follower.onConnection("live");
      for await (const events of parseServerSentEvents(response.body, silence.restart)) {
        if (signal.aborted) return;
        failures = 0;
        const last = events.at(-1);
        if (!last) continue;
        cursor = last.seq;
        follower.onEvents(events);
        if (TERMINAL.has(last.type)) return follower.onConnection("ended");
      }
    } catch (error) {
      if (signal.aborted) return;
      if (
        isProblem(error) &&
        error.status >= 400 &&
        error.status < 500 &&
        error.status !== 429 &&
        error.status !== 408
      ) {
        return follower.onFailure(error);
      }
    } finally {
      silence.end();
    }
    follower.onConnection("reconnecting");
    failures += 1;
    await pause(Math.min(MAX_PAUSE_MS, 150 * 2 ** failures) * (0.75 + Math.random() / 2), signal);
  }
}

/** Ends a connection in which nothing has come for too long. */
class Silence {
  private readonly abort = new AbortController();
  private timer = setTimeout(() => this.abort.abort(), SILENCE_MS);
  readonly signal = this.abort.signal;

  readonly restart = () => {
    this.end();
    this.timer = setTimeout(() => this.abort.abort(), SILENCE_MS);
  };

  end() {
    clearTimeout(this.timer);
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener(
      "abort",
      () => {
        clearTimeout(timer);
        resolve();
      },
      { once: true },
    );
  });
}

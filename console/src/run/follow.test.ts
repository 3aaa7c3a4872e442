import { afterEach, expect, test, vi } from "vitest";
import type { RunEvent } from "../api/types";
import { type Connection, follow } from "./follow";

afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

const sse = (...seqs: number[]) =>
  seqs
    .map(
      (seq) =>
        `id: ${seq}\nevent: log\ndata: ${JSON.stringify({ seq, type: seq === 9 ? "run.succeeded" : "log" })}\n\n`,
    )
    .join("");

/** Answer each call with the next of these; a number is a status, an error breaks the call off. */
function gateway(...answers: (string | number | Error)[]): { asked: (string | undefined)[] } {
  const asked: (string | undefined)[] = [];
  vi.stubGlobal("fetch", async (_path: string, init: RequestInit) => {
    asked.push((init.headers as Record<string, string>)["Last-Event-ID"]);
    const answer = answers.shift();
    if (answer instanceof Error) throw answer;
    if (typeof answer === "number")
      return new Response(answer === 204 ? null : "{}", { status: answer });
    return new Response(answer);
  });
  return { asked };
}

async function followed(): Promise<{ seqs: number[]; states: Connection[]; failures: unknown[] }> {
  vi.useFakeTimers();
  const seen = { seqs: [] as number[], states: [] as Connection[], failures: [] as unknown[] };
  const done = follow(
    "r",
    {
      onEvents: (events: RunEvent[]) => seen.seqs.push(...events.map((event) => event.seq)),
      onConnection: (state) => seen.states.push(state),
      onFailure: (error) => seen.failures.push(error),
    },
    new AbortController().signal,
  );
  await vi.runAllTimersAsync();
  await done;
  return seen;
}

test("a stream that breaks goes on after the last event that came", async () => {
  const { asked } = gateway(sse(1, 2), new TypeError("gone"), 503, sse(3, 9));
  const { seqs, states } = await followed();
  expect(seqs).toEqual([1, 2, 3, 9]);
  expect(asked).toEqual(["0", "2", "2", "2"]);
  expect(states).toEqual([
    "connecting",
    "live",
    "reconnecting",
    "reconnecting",
    "reconnecting",
    "live",
    "ended",
  ]);
});

test("an event that is cut in two by the network comes once, whole", async () => {
  const whole = sse(1, 9);
  vi.stubGlobal(
    "fetch",
    async () =>
      new Response(
        new ReadableStream({
          start(controller) {
            for (const part of [whole.slice(0, 17), whole.slice(17)])
              controller.enqueue(new TextEncoder().encode(part));
            controller.close();
          },
        }),
      ),
  );
  expect((await followed()).seqs).toEqual([1, 9]);
});

test("a connection in which nothing comes any more is given up, and one that is idle is not", async () => {
  const comment = new TextEncoder().encode(": alive\n\n");
  const asked: [string | undefined, number][] = [];
  vi.stubGlobal("fetch", async (_path: string, { headers, signal }: RequestInit) => {
    asked.push([(headers as Record<string, string>)["Last-Event-ID"], Date.now() - began]);
    if (asked.length > 1) return new Response(sse(9));
    return new Response(
      new ReadableStream({
        start(controller) {
          controller.enqueue(new TextEncoder().encode(sse(1)));
          for (const seconds of [15, 30, 45, 60])
            setTimeout(() => controller.enqueue(comment), seconds * 1000);
          signal?.addEventListener("abort", () => controller.error(signal.reason));
        },
      }),
    );
  });
  vi.useFakeTimers();
  const began = Date.now();
  expect((await followed()).seqs).toEqual([1, 9]);
  expect(asked.map(([cursor]) => cursor)).toEqual(["0", "1"]);
  expect(asked[1]?.[1]).toBeGreaterThanOrEqual(105_000);
  expect(asked[1]?.[1]).toBeLessThan(106_000);
});

test("where no event will ever come, nothing is asked again", async () => {
  const { asked } = gateway(204);
  expect((await followed()).states).toEqual(["connecting", "ended"]);
  expect(asked).toHaveLength(1);
});

test("what is refused isn't asked again, and is told", async () => {
  const { asked } = gateway(404);
  const { failures } = await followed();
  expect(failures).toMatchObject([{ status: 404 }]);
  expect(asked).toHaveLength(1);
});

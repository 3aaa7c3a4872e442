/** Server-sent events from the bytes of an answer. */

import { createParser } from "eventsource-parser";
import type { RunEvent } from "../api/types";

/** Yield the events of each piece that arrives, together; `onPiece` is told of every piece. */
export async function* parseServerSentEvents(
  body: ReadableStream<Uint8Array>,
  onPiece: () => void,
): AsyncGenerator<RunEvent[]> {
  let batch: RunEvent[] = [];
  const parser = createParser({ onEvent: ({ data }) => batch.push(JSON.parse(data)) });
  const decoder = new TextDecoder();
  const reader = body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      onPiece();
      parser.feed(decoder.decode(value, { stream: true }));
      const events = batch;
      batch = [];
      if (events.length) yield events;
    }
  } finally {
    reader.cancel().catch(() => undefined);
  }
}

/** Calls to the gateway, by the browser's session. */

import { Problem, type Problem as ProblemType, problemOf } from "./problem";
import { isStillSignedIn } from "./session";

/** How far this machine's clock is ahead of the gateway's, in ms, to the second. */
export let clockLead = 0;

export interface Ask {
  method?: string;
  json?: unknown;
  body?: BodyInit;
  headers?: Record<string, string>;
  signal?: AbortSignal;
}

/** Call, and once more after renewing the session if it ran out. */
export async function call(path: string, ask: Ask = {}): Promise<Response> {
  let response = await send(path, ask);
  if (response.status === 401 && (await isStillSignedIn())) response = await send(path, ask);
  if (!response.ok) throw await problemOf(response);
  return response;
}

export async function get<Answer>(path: string, signal?: AbortSignal): Promise<Answer> {
  return (await call(path, { signal })).json();
}

/** Send something; return the answer's JSON, if it has any. */
export async function request<Answer>(
  method: string,
  path: string,
  json?: unknown,
  headers?: Record<string, string>,
): Promise<Answer> {
  const response = await call(path, { method, json, headers });
  return response.status === 204 ? (undefined as Answer) : response.json();
}

export const post = <Answer>(path: string, json?: unknown, headers?: Record<string, string>) =>
  request<Answer>("POST", path, json, headers);
export const put = <Answer>(path: string, json?: unknown) => request<Answer>("PUT", path, json);
export const patch = <Answer>(path: string, json?: unknown) => request<Answer>("PATCH", path, json);
export const remove = (path: string) => request<void>("DELETE", path);

export function query(parameters: Record<string, string | number | null | undefined>): string {
  const given = Object.entries(parameters).filter(
    ([, value]) => value !== undefined && value !== null && value !== "",
  );
  return given.length ? `?${new URLSearchParams(given.map(([k, v]) => [k, String(v)]))}` : "";
}

/** Names a call, so that it can be made again when its answer was lost. */
export function newIdempotencyKey(): string {
  // Browsers make UUIDs for secure contexts only.
  return crypto.randomUUID?.() ?? String(Math.random());
}

export function isProblem(error: unknown): error is ProblemType {
  return error instanceof Problem;
}

async function send(
  path: string,
  { method = "GET", json, body, headers, signal }: Ask,
): Promise<Response> {
  try {
    const response = await fetch(path, {
      method,
      signal,
      headers: {
        ...(json === undefined ? {} : { "Content-Type": "application/json" }),
        ...headers,
      },
      body: json === undefined ? body : JSON.stringify(json),
    });
    const date = Date.parse(response.headers.get("date") ?? "");
    if (date) clockLead = Date.now() - date;
    return response;
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Problem(0, "unreachable", "the gateway doesn't answer");
  }
}

/**
 * The browser's session with the gateway. Its credential is in a cookie that scripts can't read;
 * all that is known here is whether there is one, and when to have it renewed.
 */

import { Problem, problemOf } from "./problem";
import { inTurn } from "./turns";

const PATH = "/v1/auth/session";
const TURN = "session";
/** Two answers are waited for within a turn, which is longer than both. */
const PATIENCE_MS = 20_000;

interface Session {
  signed_in: boolean;
  renew_in_seconds: number | null;
}

export type Credentials = { api_key: string } | { email: string; password: string };

export interface Provider {
  label: string;
  url: string;
}

/** By whom people may sign in, besides a key and a password. */
export async function listProviders(): Promise<Provider[]> {
  const response = await fetch("/v1/auth/providers");
  if (!response.ok) throw await problemOf(response);
  return (await response.json()).items;
}

let known = false;
let renewal: ReturnType<typeof setTimeout> | undefined;

/** Return whether this browser is signed in; the gateway is asked the first time only. */
export async function isSignedIn(): Promise<boolean> {
  if (!known) schedule(await ask("GET", PATH));
  return known;
}

export async function signIn(credentials: Credentials): Promise<void> {
  schedule(await ask("POST", PATH, credentials));
}

export async function signOut(): Promise<void> {
  await send("DELETE", PATH);
  clearTimeout(renewal);
  known = false;
}

/** Raise a problem where no gateway answers. */
export async function reachGateway(): Promise<void> {
  await send("GET", PATH);
}

let onEnd = () => {};

/** Say what to do when a call finds that the session has ended. */
export function whenSignedOut(work: () => void): void {
  onEnd = work;
}

/** After a call was refused: whether to make it again, the session being renewed. */
export async function isStillSignedIn(): Promise<boolean> {
  const still = await renewSession();
  if (!still) onEnd();
  return still;
}

/**
 * Renew the session; return whether there is one. A refresh token is good once, and who comes with
 * it again is signed out: so of all tabs one does it, and the others find that it is done.
 */
async function renewSession(): Promise<boolean> {
  return await inTurn(TURN, async () => {
    const now = await ask("GET", PATH);
    if (!now.signed_in) {
      known = false;
      return false;
    }
    if ((now.renew_in_seconds ?? 0) > 0 && recentlyRenewed()) {
      schedule(now);
      return true;
    }
    try {
      schedule(await ask("POST", `${PATH}/renew`));
      localStorage.setItem(RENEWED_AT, String(Date.now()));
      return true;
    } catch (error) {
      known = false;
      if (error instanceof Problem && error.status === 401) return false;
      throw error;
    }
  });
}

/** When one of this browser's tabs did it last. */
const RENEWED_AT = "session-renewed-at";

function recentlyRenewed(): boolean {
  return Date.now() - Number(localStorage.getItem(RENEWED_AT)) < 2000;
}

function schedule(session: Session): void {
  clearTimeout(renewal);
  known = session.signed_in;
  if (session.renew_in_seconds === null) return;
  const wait = Math.max(5, session.renew_in_seconds) * 1000;
  renewal = setTimeout(() => void renewSession().catch(() => undefined), wait);
}

async function ask(method: string, path: string, body?: unknown): Promise<Session> {
  return (await send(method, path, body)).json();
}

async function send(method: string, path: string, body?: unknown): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(path, {
      method,
      headers: body ? { "Content-Type": "application/json" } : {},
      body: body ? JSON.stringify(body) : undefined,
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
  } catch {
    throw new Problem(0, "unreachable", "the gateway doesn't answer");
  }
  if (!response.ok) throw await problemOf(response);
  return response;
}

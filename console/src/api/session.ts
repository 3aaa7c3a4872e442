/**
 * The browser's session with the gateway. Its credential is in a cookie that scripts can't read;
 * all that is known here is whether there is one, and when to have it renewed.
 */

import { Problem, problemOf } from "./problem";

const PATH = "/v1/auth/session";
const LOCK = "crewmesh-session";

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
  clearTimeout(renewal);
  const response = await fetch(PATH, { method: "DELETE" });
  if (!response.ok) throw await problemOf(response);
  known = false;
}

/**
 * Renew the session; return whether there is one. A refresh token is good once, so of all tabs
 * one does it, and the others find that it is done.
 */
export async function renewSession(): Promise<boolean> {
  return await inTurn(async () => {
    const now = await ask("GET", PATH);
    if (!now.signed_in) {
      known = false;
      return false;
    }
    if ((now.renew_in_seconds ?? 0) > 0 && recentlyRenewed()) return true;
    try {
      schedule(await ask("POST", `${PATH}/renew`));
      renewedAt = Date.now();
      return true;
    } catch (error) {
      known = false;
      if (error instanceof Problem && error.status === 401) return false;
      throw error;
    }
  });
}

let renewedAt = 0;

function recentlyRenewed(): boolean {
  return Date.now() - renewedAt < 2000;
}

/** Web Locks are for secure contexts only; without them one tab's calls still go one by one. */
async function inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
  if (navigator.locks) return navigator.locks.request(LOCK, work);
  const turn = queue.then(work, work);
  queue = turn.catch(() => undefined);
  return turn;
}

let queue: Promise<unknown> = Promise.resolve();

function schedule(session: Session): void {
  clearTimeout(renewal);
  known = session.signed_in;
  if (session.renew_in_seconds === null) return;
  const wait = Math.max(5, session.renew_in_seconds) * 1000;
  renewal = setTimeout(() => void renewSession().catch(() => undefined), wait);
}

async function ask(method: string, path: string, body?: unknown): Promise<Session> {
  let response: Response;
  try {
    response = await fetch(path, {
      method,
      headers: body ? { "Content-Type": "application/json" } : {},
      body: body ? JSON.stringify(body) : undefined,
    });
  } catch {
    throw new Problem(0, "unreachable", "the gateway doesn't answer");
  }
  if (!response.ok) throw await problemOf(response);
  return response.json();
}

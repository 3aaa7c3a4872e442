/**
 * Work that one of all tabs does at a time. Web Locks are for secure contexts only, which a page
 * that came by plain HTTP from another machine isn't. IndexedDB is everywhere, and its
 * transactions are one after another across tabs: in one, a tab sees that the turn is free and
 * takes it, for a while only, so that a tab that is closed meanwhile holds up nobody.
 */

const DATABASE = "turns";
const STORE = "turns";
/** Longer than any work may take. */
const HELD_MS = 60_000;
const LOOK_MS = 100;

interface Turn {
  by: string;
  until: number;
}

export async function inTurn<Result>(name: string, work: () => Promise<Result>): Promise<Result> {
  if (navigator.locks) return navigator.locks.request(name, work);
  const database = await open();
  // Of this call, not of this tab: calls of one tab go one by one, too.
  const me = `${Date.now()} ${Math.random()}`;
  while (!(await take(database, name, me))) await pause(LOOK_MS * (0.5 + Math.random()));
  try {
    return await work();
  } finally {
    await giveBack(database, name, me);
    database.close();
  }
}

function open(): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const opening = indexedDB.open(DATABASE, 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore(STORE);
    opening.onsuccess = () => resolve(opening.result);
    opening.onerror = () => reject(opening.error);
  });
}

const take = (database: IDBDatabase, name: string, me: string) =>
  change(database, name, (held) => {
    const free = !held || held.until < Date.now();
    return free ? { by: me, until: Date.now() + HELD_MS } : "as it is";
  });

const giveBack = (database: IDBDatabase, name: string, me: string) =>
  change(database, name, (held) => (held?.by === me ? null : "as it is"));

/** Change a turn in one transaction; return whether it was changed. */
function change(
  database: IDBDatabase,
  name: string,
  to: (held: Turn | undefined) => Turn | null | "as it is",
): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const transaction = database.transaction(STORE, "readwrite");
    const turns = transaction.objectStore(STORE);
    let changed = false;
    const reading: IDBRequest<Turn | undefined> = turns.get(name);
    reading.onsuccess = () => {
      const next = to(reading.result);
      changed = next !== "as it is";
      if (next === null) turns.delete(name);
      else if (next !== "as it is") turns.put(next, name);
    };
    transaction.oncomplete = () => resolve(changed);
    transaction.onabort = () => reject(transaction.error);
  });
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

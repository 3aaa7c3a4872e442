/** Pages that are fetched when they are first shown, or before that, when there is time. */

import { type ComponentType, createElement } from "react";

type Fetch = () => Promise<{ default: ComponentType }>;

const preloads: (() => Promise<void>)[] = [];

/**
 * Unlike the router's own, which reloads the window when a page can't be fetched, and so ends in
 * the browser's page for errors while the gateway is away: here the router shows what is wrong.
 */
export function lazyPage(fetch: Fetch) {
  let page: ComponentType | undefined;
  const preload = async () => {
    page ??= (await fetch()).default;
  };
  preloads.push(preload);
  // The router preloads what it shows.
  return Object.assign(() => page && createElement(page), { preload });
}

/** Fetch every page, so that each can be shown when the gateway is away. */
export async function preloadPages(): Promise<void> {
  // One that can't be fetched now is fetched when it is shown.
  for (const preload of preloads) await preload().catch(() => undefined);
}

/** Do something once the browser has nothing better to do; return how to have it left. */
export function whenIdle(work: () => void): () => void {
  // Safari has no word for it.
  if (!window.requestIdleCallback) {
    const timer = setTimeout(work, 2000);
    return () => clearTimeout(timer);
  }
  const idle = requestIdleCallback(work, { timeout: 5000 });
  return () => cancelIdleCallback(idle);
}

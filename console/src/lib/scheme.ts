/** Dark or light: as the system says, unless somebody chose. */

import { useSyncExternalStore } from "react";

export type Choice = "system" | "light" | "dark";

const KEY = "crewmesh-scheme";
const system = matchMedia("(prefers-color-scheme: dark)");
const listeners = new Set<() => void>();

let choice = (localStorage.getItem(KEY) as Choice | null) ?? "system";

export function applyScheme(): void {
  document.documentElement.dataset.scheme = current();
  for (const listener of listeners) listener();
}

export function chooseScheme(chosen: Choice): void {
  choice = chosen;
  localStorage.setItem(KEY, chosen);
  applyScheme();
}

export function useScheme(): { scheme: "light" | "dark"; choice: Choice } {
  const scheme = useSyncExternalStore(subscribe, current);
  return { scheme, choice };
}

function current(): "light" | "dark" {
  return choice === "system" ? (system.matches ? "dark" : "light") : choice;
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

system.addEventListener("change", applyScheme);

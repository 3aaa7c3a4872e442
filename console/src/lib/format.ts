/** Numbers and times as people read them. */

const WHOLE = new Intl.NumberFormat("en");
const COMPACT = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const DAY_AND_TIME = new Intl.DateTimeFormat("en", {
  year: "numeric",
  month: "short",
  day: "numeric",
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hour12: false,
});
const RELATIVE = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "short" });

export const count = (n: number) => WHOLE.format(n);
export const compact = (n: number) => (n < 10_000 ? WHOLE.format(n) : COMPACT.format(n));
export const moment = (at: string | null) => (at ? DAY_AND_TIME.format(new Date(at)) : "–");

/** A length of time, from milliseconds: 12 ms, 3.4 s, 2 m 05 s, 1 h 03 m. */
export function duration(ms: number): string {
  if (ms < 0) return "0 ms";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(Math.floor(ms / 100) / 10).toFixed(1)} s`;
  const seconds = Math.floor(ms / 1000);
  if (seconds < 3600) return `${Math.floor(seconds / 60)} m ${two(seconds % 60)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 48 * 60) return `${Math.floor(minutes / 60)} h ${two(minutes % 60)} m`;
  return `${Math.floor(minutes / 1440)} days`;
}

const two = (n: number) => String(n).padStart(2, "0");

/** How long ago, from now. */
export function ago(at: string | null, now: number): string {
  if (!at) return "never";
  const seconds = (Date.parse(at) - now) / 1000;
  if (seconds > -5) return "just now";
  if (seconds > -60) return RELATIVE.format(Math.round(seconds), "second");
  if (seconds > -3600) return RELATIVE.format(Math.round(seconds / 60), "minute");
  if (seconds > -86_400) return RELATIVE.format(Math.round(seconds / 3600), "hour");
  return RELATIVE.format(Math.round(seconds / 86_400), "day");
}

/** Dollars: small amounts keep the digits that matter. */
export function money(usd: number): string {
  if (usd === 0) return "$0";
  if (usd < 0.01) return `$${usd.toPrecision(2)}`;
  return `$${usd.toFixed(usd < 1 ? 3 : 2)}`;
}

/** A cost, of which a part may not be known. */
export function cost(usage: {
  cost_usd: number;
  model_calls: number;
  unpriced_calls: number;
}): string {
  if (usage.model_calls > 0 && usage.unpriced_calls === usage.model_calls) return "not priced";
  return usage.unpriced_calls > 0 ? `≥ ${money(usage.cost_usd)}` : money(usage.cost_usd);
}

export function bytes(n: number): string {
  if (n < 1000) return `${n} B`;
  if (n < 1e6) return `${(n / 1e3).toFixed(1)} kB`;
  if (n < 1e9) return `${(n / 1e6).toFixed(1)} MB`;
  return `${(n / 1e9).toFixed(1)} GB`;
}

/** What tells ids apart: they begin with the time, so those of a moment begin alike. */
export const shortId = (id: string) => id.slice(24, 32);

/** One line that says what a value is, for lists. */
export function summary(value: unknown, limit = 120): string {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  const line = (text ?? "").replace(/\s+/g, " ").trim();
  return line.length > limit ? `${line.slice(0, limit - 1)}…` : line;
}

/** What an object holds on one line: key: value, key: value. */
export function keyValues(object: Record<string, unknown>, limit = 120): string {
  const parts = Object.entries(object)
    .filter(([, value]) => value !== "" && value !== null)
    .map(([key, value]) => `${key}: ${summary(value, 60)}`);
  return summary(parts.join("  ·  "), limit);
}

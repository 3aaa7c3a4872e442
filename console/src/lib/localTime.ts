/** Times as `<input type="datetime-local">` has them: of this machine's zone, to the minute. */

export function toLocal(at: string | undefined): string {
  const date = new Date(at ?? "");
  if (Number.isNaN(date.getTime())) return "";
  const ahead = date.getTimezoneOffset() * 60_000;
  return new Date(date.getTime() - ahead).toISOString().slice(0, 16);
}

export function fromLocal(local: string): string | undefined {
  const date = new Date(local);
  return Number.isNaN(date.getTime()) ? undefined : date.toISOString();
}

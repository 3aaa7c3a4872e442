/** What went wrong with a call, in words that a person can act on. */

export interface Fault {
  loc: (string | number)[];
  msg: string;
}

export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    detail: string,
    readonly faults: Fault[] = [],
    readonly requestId: string = "",
  ) {
    super(detail);
  }

  /** What to do next. */
  get advice(): string {
    if (this.status === 0)
      return "The gateway can't be reached. Is it running? This page tries again.";
    if (this.status === 401) return "Sign in again.";
    if (this.status === 403)
      return "Ask an owner or admin of your organisation for the permission.";
    if (this.status === 404) return "It may have been deleted, or it belongs to somebody else.";
    if (this.status === 429) return "Wait a moment, then try again.";
    if (this.status >= 500)
      return `Try again. If it stays so, look into the gateway's log for request ${this.requestId}.`;
    return "";
  }
}

export async function problemOf(response: Response): Promise<Problem> {
  const requestId = response.headers.get("x-request-id") ?? "";
  try {
    const body = await response.json();
    return new Problem(response.status, body.code, body.detail, body.errors ?? [], requestId);
  } catch {
    return new Problem(
      response.status,
      "unreadable",
      response.statusText || "no answer",
      [],
      requestId,
    );
  }
}

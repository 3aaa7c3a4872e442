/** What a page says when there is nothing, not yet anything, or something wrong. */

import { CircleAlert, Info, type LucideIcon, TriangleAlert } from "lucide-react";
import type { ReactNode } from "react";
import { isProblem } from "../api/client";

export function Notice({
  tone,
  children,
}: {
  tone: "bad" | "warn" | "accent";
  children: ReactNode;
}) {
  const Icon = tone === "bad" ? CircleAlert : tone === "warn" ? TriangleAlert : Info;
  return (
    <div className={`notice tone-${tone}`} role={tone === "bad" ? "alert" : "status"}>
      <Icon size={16} aria-hidden />
      <div>{children}</div>
    </div>
  );
}

/** An error, its faults one by one, and what to do next. */
export function ProblemNotice({ error, retry }: { error: unknown; retry?: () => void }) {
  if (!error) return null;
  const problem = isProblem(error) ? error : null;
  const message = error instanceof Error ? error.message : String(error);
  return (
    <Notice tone="bad">
      <p>
        <strong>{capital(message)}</strong>
      </p>
      {problem?.faults.map((fault) => (
        <p key={`${fault.loc.join(".")}${fault.msg}`}>
          <code>{fault.loc.slice(1).join(".")}</code> {fault.msg}
        </p>
      ))}
      {problem?.advice && <p className="more">{problem.advice}</p>}
      {retry && (
        <p>
          <button type="button" className="button" onClick={retry}>
            Try again
          </button>
        </p>
      )}
    </Notice>
  );
}

const capital = (text: string) => text.charAt(0).toUpperCase() + text.slice(1);

export function Empty({
  icon: Icon,
  title,
  children,
}: {
  icon: LucideIcon;
  title: string;
  children: ReactNode;
}) {
  return (
    <div className="empty">
      <Icon size={28} strokeWidth={1.5} aria-hidden />
      <h2>{title}</h2>
      <div className="stack tight">{children}</div>
    </div>
  );
}

export function SkeletonRows({ rows = 6 }: { rows?: number }) {
  return (
    <div className="card padded stack" role="status" aria-label="Loading">
      {Array.from({ length: rows }, (_, row) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: they are all the same
        <div key={row} className="skeleton" style={{ width: `${92 - ((row * 23) % 45)}%` }} />
      ))}
    </div>
  );
}

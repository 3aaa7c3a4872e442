/** Shown in the place of a page that can't be fetched, or is broken. */

import { useMutation } from "@tanstack/react-query";
import type { ErrorComponentProps } from "@tanstack/react-router";
import { reachGateway } from "../api/session";
import { useTitle } from "../lib/title";
import { Notice, ProblemNotice } from "../ui/Feedback";

export function Fault({ error }: ErrorComponentProps) {
  useTitle("Fault");
  const again = useMutation({
    // Only where somebody answers is there a page to load: without, the browser shows its own.
    mutationFn: reachGateway,
    onSuccess: () => location.reload(),
  });
  return (
    <div className="card padded stack">
      <h1>This page can't be shown</h1>
      <Notice tone="bad">
        <p>{error instanceof Error ? error.message : String(error)}</p>
        <p className="more">The gateway may be away, or serve a newer console by now.</p>
      </Notice>
      <ProblemNotice error={again.error} />
      <div className="actions">
        <button
          type="button"
          className="button primary"
          disabled={again.isPending}
          onClick={() => again.mutate()}
        >
          Try again
        </button>
      </div>
    </div>
  );
}

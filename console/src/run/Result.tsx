/** What came of a run: its answer, or why there is none and what to do. */

import { FileText } from "lucide-react";
import { useMemo } from "react";
import { type Artifact, ENDED, type Run } from "../api/types";
import { CopyButton } from "../ui/CopyButton";
import { Empty, Notice } from "../ui/Feedback";
import { Markdown } from "../ui/Markdown";
import { picturesOf } from "./artifactGroups";

const ADVICE: Record<string, string> = {
  crew_error: "Mend the crew or its inputs, then start it again.",
  budget_exceeded: "Raise the budget, or wait for its next period. What was finished is below.",
  price_unknown: "Add the model's price to CREWMESH_PRICES, or use another model.",
  policy_denied: "Use another model or tool, or have the organisation's policy changed.",
  attempts_exhausted: "Look into the workers' logs; a lack of memory is the usual cause.",
};

export function Result({ run, artifacts }: { run: Run; artifacts: Artifact[] }) {
  return (
    <div className="stack">
      {run.error && (
        <Notice tone={run.status === "failed" ? "bad" : "warn"}>
          <p>
            <strong>{run.error.code.replaceAll("_", " ")}</strong>: {run.error.message}
          </p>
          {ADVICE[run.error.code] && <p className="more">{ADVICE[run.error.code]}</p>}
        </Notice>
      )}
      {run.output !== null && <Text title="Answer" text={run.output} artifacts={artifacts} />}
      {run.output_partial && (
        <Text title="What was finished" text={run.output_partial} artifacts={artifacts} />
      )}
      {run.output_json !== null && (
        <section className="card">
          <header>
            <h2>As data</h2>
            <CopyButton text={JSON.stringify(run.output_json, null, 2)} label="Copy the data" />
          </header>
          <pre className="code" style={{ border: 0 }}>
            {JSON.stringify(run.output_json, null, 2)}
          </pre>
        </section>
      )}
      {!ENDED.has(run.status) && run.output === null && (
        <div className="card">
          <Empty icon={FileText} title="There is no answer yet">
            <p>It appears here when the run has succeeded. The timeline shows how far it is.</p>
          </Empty>
        </div>
      )}
    </div>
  );
}

function Text({ title, text, artifacts }: { title: string; text: string; artifacts: Artifact[] }) {
  const pictures = useMemo(() => picturesOf(artifacts), [artifacts]);
  return (
    <section className="card">
      <header>
        <h2>{title}</h2>
        <CopyButton text={text} label="Copy the text" />
      </header>
      <div className="body">
        <Markdown source={text} pictures={pictures} />
      </div>
    </section>
  );
}

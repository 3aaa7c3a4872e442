/** What came of a run: its answer, or why there is none and what to do. */

import { useQuery } from "@tanstack/react-query";
import { FileText, PackageOpen } from "lucide-react";
import { artifactTextQuery } from "../api/queries";
import { type Artifact, ENDED, type Run } from "../api/types";
import { bytes } from "../lib/format";
import { CopyButton } from "../ui/CopyButton";
import { Empty, Notice, ProblemNotice, SkeletonRows } from "../ui/Feedback";
import { Markdown } from "../ui/Markdown";

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
  return (
    <section className="card">
      <header>
        <h2>{title}</h2>
        <CopyButton text={text} label="Copy the text" />
      </header>
      <div className="body">
        <Markdown source={text} artifacts={artifacts} />
      </div>
    </section>
  );
}

export function Artifacts({ artifacts }: { artifacts: Artifact[] }) {
  if (artifacts.length === 0) {
    return (
      <div className="card">
        <Empty icon={PackageOpen} title="No artifacts">
          <p>Charts, reports and other files that the crew makes appear here.</p>
        </Empty>
      </div>
    );
  }
  const reports = artifacts.filter(
    ({ media_type, name }) => media_type.startsWith("text/markdown") || name.endsWith(".md"),
  );
  const others = artifacts.filter((artifact) => !reports.includes(artifact));
  return (
    <div className="stack">
      <div className="gallery">
        {others.map((artifact) => (
          <figure key={artifact.id} className="card">
            {artifact.media_type.startsWith("image/") && (
              <img src={artifact.url} alt={artifact.name} loading="lazy" />
            )}
            <figcaption>
              <Name artifact={artifact} />
            </figcaption>
          </figure>
        ))}
      </div>
      {reports.map((artifact) => (
        <Report key={artifact.id} artifact={artifact} artifacts={artifacts} />
      ))}
    </div>
  );
}

function Name({ artifact }: { artifact: Artifact }) {
  return (
    <>
      <span>
        {artifact.name} <span className="muted small">{bytes(artifact.size_bytes)}</span>
      </span>
      <a
        href={artifact.url}
        download={artifact.name}
        className="small"
        aria-label={`Download ${artifact.name}`}
      >
        Download
      </a>
    </>
  );
}

function Report({ artifact, artifacts }: { artifact: Artifact; artifacts: Artifact[] }) {
  const text = useQuery(artifactTextQuery(artifact));
  return (
    <section className="card" aria-label={artifact.name}>
      <header>
        <Name artifact={artifact} />
      </header>
      <div className="body">
        <ProblemNotice error={text.error} />
        {text.isPending ? (
          <SkeletonRows />
        ) : (
          <Markdown source={text.data ?? ""} artifacts={artifacts} />
        )}
      </div>
    </section>
  );
}

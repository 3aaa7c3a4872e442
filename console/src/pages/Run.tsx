/** One run: what it does now, what came of it, and what one can do about it. */

import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link, useNavigate, useParams, useSearch } from "@tanstack/react-router";
import { GitCompareArrows, Pencil, RotateCcw, Square } from "lucide-react";
import { useEffect, useState } from "react";
import { post } from "../api/client";
import { useMay, useNameOf } from "../api/me";
import { artifactsQuery, runQuery } from "../api/queries";
import { ENDED, type Run, type WebhookState } from "../api/types";
import { ago, compact, cost, duration, moment, shortId } from "../lib/format";
import { useNow } from "../lib/now";
import { useTitle } from "../lib/title";
import { Artifacts } from "../run/Artifacts";
import { QuestionPanel } from "../run/Question";
import { Result } from "../run/Result";
import { Timeline } from "../run/Timeline";
import { type FollowedRun, useRunLog } from "../run/useRunLog";
import { CopyButton } from "../ui/CopyButton";
import { Confirm } from "../ui/Dialog";
import { Notice, ProblemNotice, SkeletonRows } from "../ui/Feedback";
import { StatusBadge } from "../ui/StatusBadge";
import { Tabs } from "../ui/Tabs";

export default function RunPage() {
  const { id } = useParams({ from: "/inside/runs/$id" });
  // Another run is another page: nothing of the one before may be left in it.
  return <Shown key={id} id={id} />;
}

function Shown({ id }: { id: string }) {
  const run = useQuery(runQuery(id));
  const followed = useRunLog(id);
  const client = useQueryClient();
  const { ended, question, artifacts, turns } = followed.log;
  const changes = `${ended} ${question?.seq ?? 0} ${turns}`;
  // biome-ignore lint/correctness/useExhaustiveDependencies: the events say when the rest has changed
  useEffect(() => {
    if (followed.log.lastSeq > 0)
      void client.invalidateQueries({ queryKey: runQuery(id).queryKey });
  }, [changes]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: the events say when there are more
  useEffect(() => {
    if (artifacts.length > 0)
      void client.invalidateQueries({ queryKey: artifactsQuery(id).queryKey });
  }, [artifacts.length]);
  useTitle(run.data ? `${run.data.crew} ${shortId(id)}` : "Run");
  if (run.error) return <ProblemNotice error={run.error} retry={() => void run.refetch()} />;
  if (!run.data) return <SkeletonRows rows={10} />;
  return (
    <div className="stack">
      <Head run={run.data} />
      <ProblemNotice error={followed.error} />
      {run.data.cancel_requested_at && !ENDED.has(run.data.status) && (
        <Notice tone="warn">
          <p>It is being cancelled: its processes are ended now.</p>
        </Notice>
      )}
      {run.data.webhook?.status === "failed" && (
        <Notice tone="warn">
          <p>
            <strong>Its webhook was not delivered.</strong> {webhookWords(run.data.webhook)}
          </p>
        </Notice>
      )}
      {question && (
        <QuestionPanel key={question.seq} runId={id} question={question} artifacts={artifacts} />
      )}
      <Facts run={run.data} followed={followed} />
      <Parts run={run.data} followed={followed} />
    </div>
  );
}

function Head({ run }: { run: Run }) {
  return (
    <div className="page-head" style={{ marginBottom: 0 }}>
      <div className="titles">
        <h1 style={{ display: "flex", flexWrap: "wrap", gap: 12, alignItems: "center" }}>
          {run.crew} <StatusBadge status={run.status} />
        </h1>
        <p
          className="small"
          style={{ display: "flex", flexWrap: "wrap", alignItems: "center", gap: "0 8px" }}
        >
          <span className="mono">{run.id}</span>{" "}
          <CopyButton text={run.id} label="Copy the run's id" />
          {run.retry_of && (
            <span>
              repeats{" "}
              <Link to="/runs/$id" params={{ id: run.retry_of }} search={{}} className="mono">
                {shortId(run.retry_of)}
              </Link>
            </span>
          )}
        </p>
      </div>
      <Actions run={run} />
    </div>
  );
}

function Actions({ run }: { run: Run }) {
  const may = useMay();
  const navigate = useNavigate();
  const client = useQueryClient();
  const [asking, setAsking] = useState(false);
  const ended = ENDED.has(run.status);
  const cancelling = useMutation({
    mutationFn: () => post(`/v1/runs/${run.id}/cancel`, { reason: "cancelled in the console" }),
    onSuccess: () => client.invalidateQueries({ queryKey: runQuery(run.id).queryKey }),
    onSettled: () => setAsking(false),
  });
  const retrying = useMutation({
    mutationFn: () => post<Run>(`/v1/runs/${run.id}/retry`),
    onSuccess: (again) => navigate({ to: "/runs/$id", params: { id: again.id }, search: {} }),
  });
  return (
    <div className="actions">
      {ended && run.retry_of && (
        <Link to="/compare" search={{ a: run.retry_of, b: run.id }} className="button">
          <GitCompareArrows size={15} aria-hidden /> Compare
        </Link>
      )}
      {ended && may("runs.start") && (
        <>
          <Link to="/runs/new" search={{ from: run.id }} className="button">
            <Pencil size={15} aria-hidden /> Edit and run
          </Link>
          <button
            type="button"
            className="button primary"
            disabled={retrying.isPending}
            onClick={() => retrying.mutate()}
          >
            <RotateCcw size={15} aria-hidden /> Retry
          </button>
        </>
      )}
      {!ended && may("runs.cancel") && (
        <button
          type="button"
          className="button danger"
          disabled={Boolean(run.cancel_requested_at)}
          onClick={() => setAsking(true)}
        >
          <Square size={14} aria-hidden /> Cancel
        </button>
      )}
      {asking && (
        <Confirm
          title="Cancel this run?"
          action="Cancel the run"
          busy={cancelling.isPending}
          onClose={() => setAsking(false)}
          onConfirm={() => cancelling.mutate()}
        >
          <p>
            Its processes are ended at once. What it has finished stays in its log; it can't be gone
            on with.
          </p>
        </Confirm>
      )}
      <ProblemNotice error={cancelling.error ?? retrying.error} />
    </div>
  );
}

function Facts({ run, followed: { log } }: { run: Run; followed: FollowedRun }) {
  const now = useNow(250, !ENDED.has(run.status));
  const began = run.started_at ? Date.parse(run.started_at) : log.startedAt;
  const ended = run.finished_at ? Date.parse(run.finished_at) : log.endedAt;
  // While it runs, its events know more than the run's row.
  const usage =
    log.modelCalls > run.usage.model_calls
      ? {
          total_tokens: log.tokens,
          model_calls: log.modelCalls,
          cost_usd: log.costUsd,
          unpriced_calls: log.unpricedCalls,
        }
      : run.usage;
  const facts: [string, string][] = [
    ["Took", began ? duration((ended ?? now) - began) : "not started"],
    ["Tokens", compact(usage.total_tokens)],
    ["Cost", cost(usage)],
    ["Model calls", compact(usage.model_calls)],
    ["Attempt", run.attempt ? `${run.attempt} of ${run.max_attempts}` : "–"],
    ["Started", ago(run.started_at ?? run.created_at, now)],
  ];
  return (
    <dl className="card facts">
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd title={name === "Started" ? moment(run.started_at ?? run.created_at) : undefined}>
            {value}
          </dd>
        </div>
      ))}
    </dl>
  );
}

function webhookWords({ url, status, tries, last_status, last_error }: WebhookState): string {
  const last = last_error ?? (last_status ? `the last answer was ${last_status}` : "");
  const tried = tries === 1 ? "once" : `${tries} times`;
  return `${url}: ${status}${tries ? `, tried ${tried}` : ""}${last ? `; ${last}` : ""}`;
}

function Parts({ run, followed }: { run: Run; followed: FollowedRun }) {
  const { tab } = useSearch({ from: "/inside/runs/$id" });
  const navigate = useNavigate({ from: "/runs/$id" });
  const stored = useQuery(artifactsQuery(run.id));
  const artifacts = stored.data ?? followed.log.artifacts;
  // Who comes to a run that has ended wants its answer; who watches stays at the timeline.
  const [first] = useState(
    ENDED.has(run.status) && run.status === "succeeded" ? "result" : "timeline",
  );
  return (
    <div className="stack">
      <Tabs
        label="Parts of the run"
        current={tab ?? first}
        onChange={(chosen) => void navigate({ search: { tab: chosen }, replace: true })}
        tabs={[
          {
            id: "timeline",
            label: "Timeline",
            content: <Timeline log={followed.log} connection={followed.connection} />,
          },
          {
            id: "result",
            label: "Result",
            content: <Result run={run} artifacts={artifacts} />,
          },
          {
            id: "artifacts",
            label: "Artifacts",
            count: artifacts.length,
            content: <Artifacts artifacts={artifacts} />,
          },
          {
            id: "details",
            label: "Details",
            content: <Details run={run} />,
          },
        ]}
      />
    </div>
  );
}

/** A run may be of a session by its name alone; with a turn it is a part of a conversation. */
function SessionLink({ id, turn }: { id: string; turn: number | null }) {
  return turn === null ? (
    <Link to="/runs" search={{ session: id }}>
      {id}
    </Link>
  ) : (
    <Link to="/sessions/$id" params={{ id }}>
      {id}
    </Link>
  );
}

function Details({ run }: { run: Run }) {
  const nameOf = useNameOf();
  const facts: [string, React.ReactNode][] = [
    [
      "Crew",
      <Link
        key="crew"
        to="/crews/$name"
        params={{ name: run.crew }}
        search={{ version: run.crew_version }}
      >
        {run.crew} {run.crew_version}
      </Link>,
    ],
    ["Models", run.models.join(", ") || "as the crew says"],
    [
      "Budget",
      run.budget
        ? [
            run.budget.max_tokens && `${compact(run.budget.max_tokens)} tokens`,
            run.budget.max_usd && `$${run.budget.max_usd}`,
          ]
            .filter(Boolean)
            .join(", ")
        : "none of its own",
    ],
    ["Priority", run.priority],
    ["Time limit", duration(run.timeout_seconds * 1000)],
    [
      "Session",
      run.session_id ? <SessionLink key="session" id={run.session_id} turn={run.turn} /> : "none",
    ],
    [
      "Started by",
      <Link key="by" to="/runs" search={{ by: run.created_by }} title="All that they have started">
        {nameOf(run.created_by)}
      </Link>,
    ],
    ["Worker", run.worker_id ?? "none yet"],
    ["Webhook", run.webhook ? webhookWords(run.webhook) : "none"],
    ["Accepted", moment(run.created_at)],
    ["Ended", moment(run.finished_at)],
  ];
  return (
    <div className="columns">
      <section className="card">
        <header>
          <h2>Inputs</h2>
          <CopyButton text={JSON.stringify(run.inputs, null, 2)} label="Copy the inputs" />
        </header>
        <pre className="code" style={{ border: 0 }}>
          {JSON.stringify(run.inputs, null, 2)}
        </pre>
      </section>
      <section className="card table-wrap" tabIndex={0}>
        <header>
          <h2>Terms</h2>
        </header>
        <table className="table">
          <tbody>
            {facts.map(([name, value]) => (
              <tr key={name}>
                <th scope="row">{name}</th>
                <td>{value}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </section>
    </div>
  );
}

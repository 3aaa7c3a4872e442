/** Two runs beside each other: what they were asked, what they said, and what it cost. */

import { useQuery } from "@tanstack/react-query";
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { ArrowLeftRight, GitCompareArrows } from "lucide-react";
import type { ReactNode } from "react";
import { runQuery } from "../api/queries";
import type { Run } from "../api/types";
import { compact, cost, count, duration, moment, shortId } from "../lib/format";
import { inOneForm, lineDiff } from "../lib/lineDiff";
import { useTitle } from "../lib/title";
import { Diff } from "../ui/Diff";
import { Empty, ProblemNotice, SkeletonRows } from "../ui/Feedback";
import { StatusBadge } from "../ui/StatusBadge";

export default function Compare() {
  useTitle("Compare");
  const { a, b } = useSearch({ from: "/inside/compare" });
  const navigate = useNavigate();
  const first = useQuery({ ...runQuery(a ?? ""), enabled: Boolean(a) });
  const second = useQuery({ ...runQuery(b ?? ""), enabled: Boolean(b) });
  if (!a || !b) {
    return (
      <div className="card">
        <Empty icon={GitCompareArrows} title="Which two runs?">
          <p>Tick two runs in the list, then choose Compare.</p>
          <p>
            <Link to="/runs" className="button">
              Show the runs
            </Link>
          </p>
        </Empty>
      </div>
    );
  }
  const error = first.error ?? second.error;
  if (error)
    return (
      <ProblemNotice
        error={error}
        retry={() => {
          void first.refetch();
          void second.refetch();
        }}
      />
    );
  if (!first.data || !second.data) return <SkeletonRows rows={10} />;
  return (
    <div className="stack">
      <div className="page-head" style={{ marginBottom: 0 }}>
        <div className="titles">
          <h1>Compare two runs</h1>
        </div>
        <button
          type="button"
          className="button"
          onClick={() => void navigate({ to: "/compare", search: { a: b, b: a } })}
        >
          <ArrowLeftRight size={15} aria-hidden /> Swap
        </button>
      </div>
      <Facts a={first.data} b={second.data} />
      <Tasks a={first.data} b={second.data} />
      <Texts title="Inputs" a={inOneForm(first.data.inputs)} b={inOneForm(second.data.inputs)} />
      <Texts title="Answer" a={said(first.data)} b={said(second.data)} />
    </div>
  );
}

function said(run: Run): string {
  return (
    run.output ?? run.output_partial ?? (run.error ? `${run.error.code}: ${run.error.message}` : "")
  );
}

const took = (run: Run) =>
  run.started_at && run.finished_at
    ? Date.parse(run.finished_at) - Date.parse(run.started_at)
    : null;

function Facts({ a, b }: { a: Run; b: Run }) {
  const rows: {
    name: string;
    of: (run: Run) => ReactNode;
    amount?: (run: Run) => number | null;
  }[] = [
    { name: "Status", of: (run) => <StatusBadge status={run.status} /> },
    { name: "Crew", of: (run) => `${run.crew} ${run.crew_version}` },
    { name: "Models", of: (run) => run.models.join(", ") || "as the crew says" },
    {
      name: "Took",
      of: (run) => {
        const ms = took(run);
        return ms === null ? "–" : duration(ms);
      },
      amount: took,
    },
    {
      name: "Tokens",
      of: (run) => count(run.usage.total_tokens),
      amount: (run) => run.usage.total_tokens,
    },
    {
      name: "Model calls",
      of: (run) => run.usage.model_calls,
      amount: (run) => run.usage.model_calls,
    },
    { name: "Cost", of: (run) => cost(run.usage), amount: (run) => run.usage.cost_usd },
    { name: "Attempts", of: (run) => run.attempt, amount: (run) => run.attempt },
    { name: "Started", of: (run) => moment(run.started_at) },
  ];
  return (
    <div className="card table-wrap" tabIndex={0}>
      <table className="table compare-table">
        <thead>
          <tr>
            <th>
              <span className="hidden">Measure</span>
            </th>
            <RunHead run={a} />
            <RunHead run={b} />
            <th scope="col" className="right">
              Change
            </th>
          </tr>
        </thead>
        <tbody>
          {rows.map(({ name, of, amount }) => (
            <tr key={name}>
              <th scope="row">{name}</th>
              <td>{of(a)}</td>
              <td>{of(b)}</td>
              <td className="right muted">{amount ? change(amount(a), amount(b)) : ""}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function RunHead({ run }: { run: Run }) {
  return (
    <th scope="col">
      <Link to="/runs/$id" params={{ id: run.id }} search={{}} className="mono">
        {shortId(run.id)}
      </Link>
    </th>
  );
}

function change(a: number | null, b: number | null): string {
  if (a === null || b === null || a === b) return a === b && a !== null ? "same" : "";
  if (a === 0) return "new";
  const percent = ((b - a) / a) * 100;
  return `${percent > 0 ? "+" : "−"}${compact(Math.round(Math.abs(percent)))} %`;
}

function Tasks({ a, b }: { a: Run; b: Run }) {
  const names = [...new Set([...a.tasks, ...b.tasks].map((task) => task.name))];
  if (names.length === 0) return null;
  return (
    <section className="card table-wrap" tabIndex={0}>
      <header>
        <h2>Tasks</h2>
      </header>
      <table className="table">
        <thead>
          <tr>
            <th scope="col">Task</th>
            <th scope="col" className="right">
              {shortId(a.id)}
            </th>
            <th scope="col" className="right">
              {shortId(b.id)}
            </th>
            <th scope="col" className="right">
              Change
            </th>
          </tr>
        </thead>
        <tbody>
          {names.map((name) => {
            const [left, right] = [lasted(a, name), lasted(b, name)];
            return (
              <tr key={name}>
                <td>{name}</td>
                <td className="right">{left === null ? "–" : duration(left)}</td>
                <td className="right">{right === null ? "–" : duration(right)}</td>
                <td className="right muted">{change(left, right)}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </section>
  );
}

function lasted(run: Run, name: string): number | null {
  const task = run.tasks.find((one) => one.name === name);
  return task?.started_at && task.finished_at
    ? Date.parse(task.finished_at) - Date.parse(task.started_at)
    : null;
}

function Texts({ title, a, b }: { title: string; a: string; b: string }) {
  const diff = a === b ? "" : lineDiff(a, b);
  return (
    <section className="card" aria-label={title}>
      <header>
        <h2>{title}</h2>
        <span className="tag">{diff ? "differs" : "the same"}</span>
      </header>
      {diff ? (
        <Diff text={diff} />
      ) : (
        <pre className="code" style={{ border: 0 }}>
          {a || "nothing"}
        </pre>
      )}
    </section>
  );
}

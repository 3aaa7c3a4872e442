/** What model calls consumed, day by day. */

import { useQuery } from "@tanstack/react-query";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { ChartColumn } from "lucide-react";
import { lazy, Suspense, useMemo } from "react";
import { usageQuery } from "../api/queries";
import type { UsageGroup } from "../api/types";
import { compact, cost, count, money } from "../lib/format";
import { useTitle } from "../lib/title";
import { byDay, daysUntilToday, totals } from "../lib/usage";
import { Empty, ProblemNotice, SkeletonRows } from "../ui/Feedback";

const Chart = lazy(() => import("../ui/Chart"));
const PERIODS = [7, 30, 90];

export default function UsagePage() {
  useTitle("Usage");
  const { days: period = 30, by = "crew" } = useSearch({ from: "/inside/usage" });
  const navigate = useNavigate({ from: "/usage" });
  const days = useMemo(() => daysUntilToday(period), [period]);
  const usage = useQuery(usageQuery(`day,${by}`, `${days[0]}T00:00:00Z`));
  const set = (changed: { days?: number; by?: "crew" | "model" }) =>
    void navigate({ search: (before) => ({ ...before, ...changed }), replace: true });
  return (
    <div className="stack">
      <div className="page-head" style={{ marginBottom: 8 }}>
        <div className="titles">
          <h1>Usage</h1>
        </div>
        <div className="actions">
          <div className="segments" role="group" aria-label="Grouped by">
            {(["crew", "model"] as const).map((name) => (
              <button
                key={name}
                type="button"
                aria-pressed={by === name}
                onClick={() => set({ by: name })}
              >
                By {name}
              </button>
            ))}
          </div>
          <div className="segments" role="group" aria-label="Period">
            {PERIODS.map((n) => (
              <button
                key={n}
                type="button"
                aria-pressed={period === n}
                onClick={() => set({ days: n })}
              >
                {n} days
              </button>
            ))}
          </div>
        </div>
      </div>
      <ProblemNotice error={usage.error} retry={() => void usage.refetch()} />
      {usage.isPending && !usage.error ? <SkeletonRows rows={8} /> : null}
      {usage.data?.length === 0 && (
        <div className="card">
          <Empty icon={ChartColumn} title="Nothing was consumed in this time">
            <p>Model calls of runs appear here, with their tokens and what they cost.</p>
          </Empty>
        </div>
      )}
      {usage.data && usage.data.length > 0 && <Shown groups={usage.data} days={days} by={by} />}
    </div>
  );
}

function Shown({
  groups,
  days,
  by,
}: {
  groups: UsageGroup[];
  days: string[];
  by: "crew" | "model";
}) {
  const labels = useMemo(() => days.map(shortDay), [days]);
  const tokens = useMemo(
    () => byDay(groups, days, by, (group) => group.total_tokens),
    [groups, days, by],
  );
  const costs = useMemo(
    () => byDay(groups, days, by, (group) => group.cost_usd),
    [groups, days, by],
  );
  const priced = groups.some((group) => group.cost_usd > 0);
  const rows = totals(groups, by);
  const all = totals(groups, null)[0];
  return (
    <>
      {all && (
        <dl className="tiles">
          <div className="card">
            <dt>Tokens</dt>
            <dd className="big">{compact(all.total_tokens)}</dd>
          </div>
          <div className="card">
            <dt>Cost</dt>
            <dd className="big">{cost(all)}</dd>
          </div>
          <div className="card">
            <dt>Model calls</dt>
            <dd className="big">{compact(all.model_calls)}</dd>
          </div>
        </dl>
      )}
      <Suspense fallback={<SkeletonRows />}>
        <div className="columns">
          <section className="card">
            <header>
              <h2>Tokens a day</h2>
            </header>
            <div className="body">
              <Chart
                kind="bar"
                labels={labels}
                series={tokens}
                format={compact}
                label={`Tokens a day by ${by}; the table below has the sums`}
              />
            </div>
          </section>
          {priced && (
            <section className="card">
              <header>
                <h2>Cost a day</h2>
              </header>
              <div className="body">
                <Chart
                  kind="bar"
                  labels={labels}
                  series={costs}
                  format={money}
                  label={`Cost a day by ${by}; the table below has the sums`}
                />
              </div>
            </section>
          )}
        </div>
      </Suspense>
      <section className="card table-wrap" tabIndex={0}>
        <header>
          <h2>By {by}</h2>
        </header>
        <table className="table">
          <thead>
            <tr>
              <th scope="col">{by === "crew" ? "Crew" : "Model"}</th>
              <th scope="col" className="right">
                Calls
              </th>
              <th scope="col" className="right">
                Prompt
              </th>
              <th scope="col" className="right">
                Completion
              </th>
              <th scope="col" className="right">
                Tokens
              </th>
              <th scope="col" className="right">
                Cost
              </th>
            </tr>
          </thead>
          <tbody>
            {rows.map((row) => (
              <tr key={row.name}>
                <td className={by === "model" ? "mono" : undefined}>{row.name}</td>
                <td className="right">{count(row.model_calls)}</td>
                <td className="right">{count(row.prompt_tokens)}</td>
                <td className="right">{count(row.completion_tokens)}</td>
                <td className="right">{count(row.total_tokens)}</td>
                <td className="right">{cost(row)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </section>
    </>
  );
}

const shortDay = (day: string) =>
  new Date(`${day}T00:00:00Z`).toLocaleDateString("en", {
    month: "short",
    day: "numeric",
    timeZone: "UTC",
  });

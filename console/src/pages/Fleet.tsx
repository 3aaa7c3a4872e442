/** The workers, what they do, and what waits for them. */

import { useQuery } from "@tanstack/react-query";
import { Server } from "lucide-react";
import { lazy, Suspense, useEffect, useMemo, useState } from "react";
import { fleetQuery } from "../api/queries";
import type { Fleet } from "../api/types";
import { ago, duration } from "../lib/format";
import { useNow } from "../lib/now";
import { useTitle } from "../lib/title";
import { Empty, ProblemNotice, SkeletonRows } from "../ui/Feedback";

const Chart = lazy(() => import("../ui/Chart"));
const KEPT_SAMPLES = 150;

interface Sample {
  at: number;
  used: number;
  queued: number;
}

export default function FleetPage() {
  useTitle("Fleet");
  const fleet = useQuery(fleetQuery);
  const now = useNow(1000);
  const samples = useSamples(fleet.data, fleet.dataUpdatedAt);
  if (fleet.isPending && !fleet.error) return <SkeletonRows rows={8} />;
  const workers = fleet.data?.items ?? [];
  const slots = sum(workers.map((worker) => worker.slots));
  const free = sum(workers.map((worker) => worker.free_slots));
  const queue = fleet.data?.queue;
  return (
    <div className="stack">
      <div className="page-head" style={{ marginBottom: 8 }}>
        <div className="titles">
          <h1>Fleet</h1>
        </div>
      </div>
      <ProblemNotice error={fleet.error} retry={() => void fleet.refetch()} />
      {queue && (
        <dl className="tiles">
          <Tile
            name="Slots in use"
            value={`${slots - free} of ${slots}`}
            share={slots ? (slots - free) / slots : 0}
          />
          <Tile
            name="Queued"
            value={queue.queued}
            note={
              queue.oldest_queued_at
                ? `the oldest for ${duration(now - Date.parse(queue.oldest_queued_at))}`
                : "nothing waits for a slot"
            }
          />
          <Tile name="Running" value={queue.running} note="of your organisation" />
          <Tile
            name="Waiting for a person"
            value={queue.waiting}
            note={queue.waiting ? "answer them in Runs" : "nobody is asked"}
          />
        </dl>
      )}
      <section className="card">
        <header>
          <h2>Slots in use and queue</h2>
          <span className="muted small">since you opened this page</span>
        </header>
        <div className="body">
          <Suspense fallback={<div className="chart skeleton" />}>
            <Load samples={samples} />
          </Suspense>
        </div>
      </section>
      {fleet.isSuccess && workers.length === 0 ? (
        <div className="card">
          <Empty icon={Server} title="No worker is there">
            <p>
              Runs stay queued until one comes. Start one with <code>crewmesh up</code>, or scale
              the agent workers up.
            </p>
          </Empty>
        </div>
      ) : (
        <Workers workers={workers} leaseSeconds={fleet.data?.lease_seconds ?? 15} now={now} />
      )}
    </div>
  );
}

const sum = (numbers: number[]) => numbers.reduce((a, b) => a + b, 0);

function Tile({
  name,
  value,
  note,
  share,
}: {
  name: string;
  value: string | number;
  note?: string;
  share?: number;
}) {
  return (
    <div className="card">
      <dt>{name}</dt>
      <dd className="big">{value}</dd>
      {note && <dd className="muted small">{note}</dd>}
      {share !== undefined && (
        <dd style={{ marginTop: 8 }}>
          <div
            className="meter"
            role="meter"
            aria-label={name}
            aria-valuenow={Math.round(share * 100)}
            aria-valuemin={0}
            aria-valuemax={100}
          >
            <div style={{ width: `${share * 100}%` }} />
          </div>
        </dd>
      )}
    </div>
  );
}

function Workers({
  workers,
  leaseSeconds,
  now,
}: {
  workers: Fleet["items"];
  leaseSeconds: number;
  now: number;
}) {
  return (
    <section className="card table-wrap" tabIndex={0}>
      <header>
        <h2>Workers</h2>
      </header>
      <table className="table">
        <thead>
          <tr>
            <th scope="col">Worker</th>
            <th scope="col">Slots in use</th>
            <th scope="col" className="right">
              Running
            </th>
            <th scope="col" className="right">
              Lease age
            </th>
            <th scope="col">Seen</th>
            <th scope="col">Since</th>
            <th scope="col">Version</th>
          </tr>
        </thead>
        <tbody>
          {workers.map((worker) => (
            <tr key={worker.id}>
              <td style={{ whiteSpace: "nowrap" }}>
                <span className="mono">{worker.id.slice(0, 13)}</span>{" "}
                <span className="muted small">{worker.address}</span>
              </td>
              <td style={{ minWidth: 140 }}>
                {worker.slots - worker.free_slots} of {worker.slots}
                <div className="meter" aria-hidden>
                  <div
                    style={{
                      width: `${((worker.slots - worker.free_slots) / Math.max(1, worker.slots)) * 100}%`,
                    }}
                  />
                </div>
              </td>
              <td className="right">{worker.running}</td>
              <td className="right">
                <LeaseAge age={worker.lease_age_seconds} lease={leaseSeconds} />
              </td>
              <td style={{ whiteSpace: "nowrap" }}>{ago(worker.last_seen_at, now)}</td>
              <td style={{ whiteSpace: "nowrap" }}>{ago(worker.started_at, now)}</td>
              <td>{worker.version}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

/** A lease that is half gone wasn't renewed when it should have been. */
function LeaseAge({ age, lease }: { age: number | null; lease: number }) {
  if (age === null) return <span className="muted">none held</span>;
  const late = age > lease / 2;
  return (
    <span style={{ whiteSpace: "nowrap" }}>
      {late && <span className="tag tone-warn">late</span>} {age.toFixed(1)} s of {lease} s
    </span>
  );
}

function useSamples(fleet: Fleet | undefined, at: number): Sample[] {
  const [samples, setSamples] = useState<Sample[]>([]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: one sample for each answer
  useEffect(() => {
    if (!fleet) return;
    const used = sum(fleet.items.map((worker) => worker.slots - worker.free_slots));
    setSamples((before) => [
      ...before.slice(1 - KEPT_SAMPLES),
      { at, used, queued: fleet.queue.queued },
    ]);
  }, [at]);
  return samples;
}

function Load({ samples }: { samples: Sample[] }) {
  const labels = useMemo(
    () => samples.map(({ at }) => new Date(at).toLocaleTimeString("en", { hour12: false })),
    [samples],
  );
  const series = useMemo(
    () => [
      { name: "Slots in use", values: samples.map(({ used }) => used) },
      { name: "Queued runs", values: samples.map(({ queued }) => queued) },
    ],
    [samples],
  );
  const last = samples.at(-1);
  return (
    <Chart
      kind="line"
      labels={labels}
      series={series}
      label={`Slots in use and queued runs over time; now ${last?.used ?? 0} and ${last?.queued ?? 0}`}
    />
  );
}

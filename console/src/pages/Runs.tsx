import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { GitCompareArrows, Play, Rocket, Search, SearchX, X } from "lucide-react";
import { useEffect, useState } from "react";
import { useMay, useMembers, useNameOf } from "../api/me";
import { crewsQuery, meQuery, type RunFilters, runsQuery } from "../api/queries";
import { ENDED, type Run, STATUSES, type Status } from "../api/types";
import { ago, compact, cost, duration, keyValues, moment, shortId } from "../lib/format";
import { fromLocal, toLocal } from "../lib/localTime";
import { useNow } from "../lib/now";
import { useTitle } from "../lib/title";
import { Empty, ProblemNotice, SkeletonRows } from "../ui/Feedback";
import { StatusBadge, statusWords } from "../ui/StatusBadge";

const PERIODS = [
  { label: "Any time", hours: 0 },
  { label: "Last hour", hours: 1 },
  { label: "Last day", hours: 24 },
  { label: "Last 7 days", hours: 168 },
  { label: "Last 30 days", hours: 720 },
];

const BETWEEN = "between";

export default function Runs() {
  useTitle("Runs");
  const filters = useSearch({ from: "/inside/runs" });
  const may = useMay();
  const navigate = useNavigate();
  const runs = useInfiniteQuery(runsQuery(filters));
  const [picked, setPicked] = useState<string[]>([]);
  const items = runs.data?.pages.flatMap((page) => page.items) ?? [];
  const pick = (id: string) =>
    setPicked((before) =>
      before.includes(id) ? before.filter((other) => other !== id) : [...before.slice(-1), id],
    );
  const [a, b] = picked;
  return (
    <>
      <div className="page-head">
        <div className="titles">
          <h1>Runs</h1>
        </div>
        <div className="actions">
          <button
            type="button"
            className="button"
            disabled={!a || !b}
            title="Choose two runs by their boxes"
            onClick={() => void navigate({ to: "/compare", search: { a, b } })}
          >
            <GitCompareArrows size={16} aria-hidden /> Compare
            {picked.length ? ` (${picked.length}/2)` : ""}
          </button>
          {may("runs.start") && (
            <Link to="/runs/new" className="button primary">
              <Play size={16} aria-hidden /> New run
            </Link>
          )}
        </div>
      </div>
      <Filters filters={filters} />
      <ProblemNotice error={runs.error} retry={() => void runs.refetch()} />
      {runs.isPending && !runs.error ? <SkeletonRows rows={8} /> : null}
      {runs.isSuccess && items.length === 0 ? (
        <Nothing filtered={Object.values(filters).some(Boolean)} />
      ) : null}
      {items.length > 0 && (
        <div className="card table-wrap" tabIndex={0}>
          <table className="table runs">
            <caption className="hidden">Runs, newest first</caption>
            <thead>
              <tr>
                <th>
                  <span className="hidden">Compare</span>
                </th>
                <th>Run</th>
                <th>Status</th>
                <th>Started</th>
                <th className="right">Took</th>
                <th className="right">Tokens</th>
                <th className="right">Cost</th>
              </tr>
            </thead>
            <tbody>
              {items.map((run) => (
                <RunRow
                  key={run.id}
                  run={run}
                  picked={picked.includes(run.id)}
                  onPick={() => pick(run.id)}
                />
              ))}
            </tbody>
          </table>
        </div>
      )}
      {runs.hasNextPage && (
        <p style={{ marginTop: 16, textAlign: "center" }}>
          <button
            type="button"
            className="button"
            disabled={runs.isFetchingNextPage}
            onClick={() => void runs.fetchNextPage()}
          >
            {runs.isFetchingNextPage ? "Loading…" : "Show older runs"}
          </button>
        </p>
      )}
    </>
  );
}

function RunRow({ run, picked, onPick }: { run: Run; picked: boolean; onPick: () => void }) {
  const now = useNow(1000, !ENDED.has(run.status));
  const began = run.started_at ? Date.parse(run.started_at) : null;
  const ended = run.finished_at ? Date.parse(run.finished_at) : null;
  return (
    <tr>
      <td className="pick">
        <input
          type="checkbox"
          checked={picked}
          onChange={onPick}
          aria-label={`Choose run ${shortId(run.id)} for comparing`}
        />
      </td>
      <td className="what">
        <Link to="/runs/$id" params={{ id: run.id }} search={{}}>
          {run.crew}
        </Link>{" "}
        <span className="muted small mono">{shortId(run.id)}</span>
        <div className="inputs">{keyValues(run.inputs) || "no inputs"}</div>
      </td>
      <td className="state">
        <StatusBadge status={run.status} />
      </td>
      <td className="when">
        <time dateTime={run.created_at} title={moment(run.created_at)}>
          {ago(run.created_at, now)}
        </time>
      </td>
      <td className="right took">{began ? duration((ended ?? now) - began) : "–"}</td>
      <td className="right tokens">{compact(run.usage.total_tokens)}</td>
      <td className="right cost">{cost(run.usage)}</td>
    </tr>
  );
}

function Filters({ filters }: { filters: RunFilters }) {
  const navigate = useNavigate({ from: "/runs" });
  const crews = useQuery(crewsQuery);
  const [between, setBetween] = useState(Boolean(filters.until));
  const set = (changed: Partial<RunFilters>) =>
    void navigate({ search: (before) => ({ ...before, ...changed }), replace: true });
  const since = (hours: number) =>
    hours ? new Date(Date.now() - hours * 3_600_000).toISOString() : undefined;
  return (
    <search className="filters">
      <SearchBox value={filters.q ?? ""} onChange={(q) => set({ q: q || undefined })} />
      <select
        className="input"
        aria-label="Status"
        value={filters.status ?? ""}
        onChange={(event) =>
          set({ status: (event.target.value || undefined) as Status | undefined })
        }
      >
        <option value="">Any status</option>
        {STATUSES.map((status) => (
          <option key={status} value={status}>
            {statusWords(status)}
          </option>
        ))}
      </select>
      <select
        className="input"
        aria-label="Crew"
        value={filters.crew ?? ""}
        onChange={(event) => set({ crew: event.target.value || undefined })}
      >
        <option value="">Any crew</option>
        {crews.data?.map(({ name }) => (
          <option key={name}>{name}</option>
        ))}
      </select>
      <StartedBy id={filters.by} onChange={(by) => set({ by })} />
      <select
        className="input"
        aria-label="Time"
        value={between ? BETWEEN : periodOf(filters.since)}
        onChange={({ target }) => {
          setBetween(target.value === BETWEEN);
          if (target.value !== BETWEEN)
            set({ since: since(Number(target.value)), until: undefined });
        }}
      >
        {PERIODS.map(({ label, hours }) => (
          <option key={hours} value={hours}>
            {label}
          </option>
        ))}
        <option value={BETWEEN}>Between two times</option>
      </select>
      {filters.session && (
        <button type="button" className="button" onClick={() => set({ session: undefined })}>
          Session {shortId(filters.session) || filters.session} <X size={15} aria-label="any" />
        </button>
      )}
      {between && (
        <div className="between">
          <TimeField label="From" value={filters.since} onChange={(time) => set({ since: time })} />
          <TimeField
            label="Until"
            value={filters.until}
            onChange={(time) => set({ until: time })}
          />
        </div>
      )}
    </search>
  );
}

/** Who has started them: oneself, or whom one may see among the members. */
function StartedBy({
  id,
  onChange,
}: {
  id: string | undefined;
  onChange: (id: string | undefined) => void;
}) {
  const nameOf = useNameOf();
  const { data: me } = useQuery(meQuery);
  const members = useMembers();
  const others = new Set(members?.map((member) => member.id));
  if (id) others.add(id);
  if (me) others.delete(me.user.id);
  return (
    <select
      className="input"
      aria-label="Started by"
      value={id ?? ""}
      onChange={({ target }) => onChange(target.value || undefined)}
    >
      <option value="">Anyone</option>
      {me && <option value={me.user.id}>Me</option>}
      {[...others].map((other) => (
        <option key={other} value={other}>
          {nameOf(other)}
        </option>
      ))}
    </select>
  );
}

function TimeField({
  label,
  value,
  onChange,
}: {
  label: string;
  value: string | undefined;
  onChange: (time: string | undefined) => void;
}) {
  return (
    <label className="check">
      {label}
      <input
        type="datetime-local"
        className="input"
        value={toLocal(value)}
        onChange={(event) => onChange(fromLocal(event.target.value))}
      />
    </label>
  );
}

/** What is typed is looked for once the typing rests. */
function SearchBox({ value, onChange }: { value: string; onChange: (text: string) => void }) {
  const [typed, setTyped] = useState(value);
  useEffect(() => setTyped(value), [value]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: only what is typed starts the clock
  useEffect(() => {
    if (typed.trim() === value) return;
    const timer = setTimeout(() => onChange(typed.trim()), 300);
    return () => clearTimeout(timer);
  }, [typed]);
  return (
    <div className="search">
      <Search size={15} aria-hidden />
      <input
        className="input"
        type="search"
        maxLength={200}
        aria-label="Find runs by words or id"
        placeholder="Find by words in inputs, answers, errors, or by id"
        value={typed}
        onChange={(event) => setTyped(event.target.value)}
      />
    </div>
  );
}

function periodOf(since: string | undefined): number {
  if (!since) return 0;
  const hours = (Date.now() - Date.parse(since)) / 3_600_000;
  return PERIODS.find((period) => period.hours >= hours - 0.5 && period.hours > 0)?.hours ?? 720;
}

function Nothing({ filtered }: { filtered: boolean }) {
  if (filtered) {
    return (
      <div className="card">
        <Empty icon={SearchX} title="No run fits these filters">
          <p>Use fewer words, or another status or time.</p>
          <p>
            <Link to="/runs" search={{}} className="button">
              Show all runs
            </Link>
          </p>
        </Empty>
      </div>
    );
  }
  return (
    <div className="card">
      <Empty icon={Rocket} title="No runs yet">
        <p>A run is one execution of a crew. Choose a crew and say what it should work on.</p>
        <p>
          <Link to="/runs/new" className="button primary">
            Start the first run
          </Link>
        </p>
      </Empty>
    </div>
  );
}

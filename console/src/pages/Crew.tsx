/** A crew: who is in it, what it asks for, its definition, and how that has changed. */

import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link, useNavigate, useParams, useSearch } from "@tanstack/react-router";
import { FileDiff, History, Play, Plus, Trash2 } from "lucide-react";
import { useState } from "react";
import { post, remove } from "../api/client";
import { useMay } from "../api/me";
import { crewDiffQuery, crewQuery, crewVersionsQuery } from "../api/queries";
import type { Crew, JsonObject } from "../api/types";
import { ago, moment } from "../lib/format";
import { useNow } from "../lib/now";
import { useTitle } from "../lib/title";
import { CopyButton } from "../ui/CopyButton";
import { Confirm } from "../ui/Dialog";
import { Diff } from "../ui/Diff";
import { Empty, Notice, ProblemNotice, SkeletonRows } from "../ui/Feedback";
import { Tabs } from "../ui/Tabs";
import { Bring, SOURCES } from "./Crews";

export default function CrewPage() {
  const { name } = useParams({ from: "/inside/crews/$name" });
  const { tab, version } = useSearch({ from: "/inside/crews/$name" });
  const navigate = useNavigate({ from: "/crews/$name" });
  const crew = useQuery(crewQuery(name, version));
  useTitle(name);
  if (crew.error) return <ProblemNotice error={crew.error} retry={() => void crew.refetch()} />;
  if (!crew.data) return <SkeletonRows rows={10} />;
  return (
    <div className="stack">
      <Head crew={crew.data} />
      {crew.data.error && (
        <Notice tone="bad">
          <p>It can't be run: {crew.data.error}</p>
        </Notice>
      )}
      {crew.data.version !== crew.data.current_version && (
        <Notice tone="accent">
          <p>
            This is version {crew.data.version}; runs that start now get {crew.data.current_version}
            .{" "}
            <Link to="/crews/$name" params={{ name }} search={{ tab }}>
              Show that
            </Link>
          </p>
        </Notice>
      )}
      <Tabs
        label="Parts of the crew"
        current={tab ?? "overview"}
        onChange={(chosen) =>
          void navigate({ search: (before) => ({ ...before, tab: chosen }), replace: true })
        }
        tabs={[
          {
            id: "overview",
            label: "Overview",
            content: <Overview crew={crew.data} />,
          },
          {
            id: "definition",
            label: "Definition",
            content: <Definition crew={crew.data} />,
          },
          {
            id: "versions",
            label: "Versions",
            content: <Versions crew={crew.data} />,
          },
          {
            id: "diff",
            label: "Changes",
            content: <Changes crew={crew.data} />,
          },
        ]}
      />
    </div>
  );
}

function Head({ crew }: { crew: Crew }) {
  const may = useMay();
  const client = useQueryClient();
  const navigate = useNavigate();
  const [bringing, setBringing] = useState(false);
  const [asking, setAsking] = useState(false);
  const own = crew.source === "uploaded" && may("crews.write");
  const deleting = useMutation({
    mutationFn: () => remove(`/v1/crews/${encodeURIComponent(crew.name)}`),
    onSuccess: async () => {
      await client.invalidateQueries({ queryKey: ["crews"] });
      await navigate({ to: "/crews" });
    },
    onSettled: () => setAsking(false),
  });
  return (
    <div className="page-head" style={{ marginBottom: 0 }}>
      <div className="titles">
        <h1>{crew.name}</h1>
        <p>{crew.description}</p>
        <div className="tags" style={{ marginTop: 8 }}>
          <span className="tag">{SOURCES[crew.source]}</span>
          <span className="tag">version {crew.version}</span>
        </div>
      </div>
      <div className="actions">
        {own && (
          <>
            <button
              type="button"
              className="button quiet icon"
              aria-label="Delete the crew"
              title="Delete the crew"
              onClick={() => setAsking(true)}
            >
              <Trash2 size={16} aria-hidden />
            </button>
            <button type="button" className="button" onClick={() => setBringing(true)}>
              <Plus size={15} aria-hidden /> New version
            </button>
          </>
        )}
        {may("runs.start") && !crew.error && (
          <Link to="/runs/new" search={{ crew: crew.name }} className="button primary">
            <Play size={15} aria-hidden /> Run it
          </Link>
        )}
      </div>
      <ProblemNotice error={deleting.error} />
      {bringing && <Bring before={crew} onClose={() => setBringing(false)} />}
      {asking && (
        <Confirm
          title={`Delete ${crew.name}?`}
          action="Delete the crew"
          busy={deleting.isPending}
          onClose={() => setAsking(false)}
          onConfirm={() => deleting.mutate()}
        >
          <p>
            Nothing can start it any more. Runs that were accepted go on, and their records stay.
          </p>
        </Confirm>
      )}
    </div>
  );
}

function Definition({ crew }: { crew: Crew }) {
  if (!crew.definition) {
    return <p className="muted">A project has no definition: its code is what it does.</p>;
  }
  const definition = JSON.stringify(crew.definition, null, 2);
  return (
    <section className="card">
      <header>
        <h2>Version {crew.version}</h2>
        <CopyButton text={definition} label="Copy the definition" />
      </header>
      <pre className="code" style={{ border: 0, maxHeight: 720 }} tabIndex={0}>
        {definition}
      </pre>
    </section>
  );
}

function Overview({ crew }: { crew: Crew }) {
  const properties = Object.entries((crew.inputs.properties ?? {}) as Record<string, JsonObject>);
  const required = (crew.inputs.required ?? []) as string[];
  return (
    <div className="stack">
      <section className="card">
        <header>
          <h2>Tasks</h2>
        </header>
        <ol className="body stack" style={{ paddingLeft: 36 }}>
          {crew.tasks.map((task) => (
            <li key={task.name}>
              <h3>
                {task.name}{" "}
                <span className="muted small">{task.agent || "the manager decides who"}</span>
              </h3>
              <details className="more">
                <summary className="small">What it is told</summary>
                <pre className="small">{task.description}</pre>
                <p className="muted small" style={{ marginTop: 8 }}>
                  Expected: {task.expected_output}
                </p>
              </details>
            </li>
          ))}
        </ol>
      </section>
      <div className="columns">
        <section className="card">
          <header>
            <h2>Agents</h2>
          </header>
          <ul className="body stack" style={{ listStyle: "none" }}>
            {crew.agents.map((agent) => (
              <li key={agent.role}>
                <h3>{agent.role}</h3>
                <p className="muted small">{agent.goal}</p>
                <div className="tags" style={{ marginTop: 4 }}>
                  {agent.tools.map((tool) => (
                    <span key={tool} className="tag mono">
                      {tool}
                    </span>
                  ))}
                </div>
              </li>
            ))}
          </ul>
        </section>
        <section className="card table-wrap" tabIndex={0}>
          <header>
            <h2>Inputs</h2>
          </header>
          {properties.length === 0 && <p className="body muted">It asks for none.</p>}
          <table className="table">
            <tbody>
              {properties.map(([name, schema]) => (
                <tr key={name}>
                  <th scope="row" className="mono">
                    {name}
                  </th>
                  <td>
                    {String(schema.description ?? schema.title ?? "")}{" "}
                    <span className="muted small">
                      {String(schema.format ?? schema.type ?? "anything")},{" "}
                      {required.includes(name) ? "required" : "optional"}
                    </span>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </section>
      </div>
    </div>
  );
}

function Versions({ crew }: { crew: Crew }) {
  const versions = useQuery(crewVersionsQuery(crew.name));
  const may = useMay();
  const now = useNow(30_000);
  const client = useQueryClient();
  const rolling = useMutation({
    mutationFn: (version: string) =>
      post(`/v1/crews/${encodeURIComponent(crew.name)}/rollback`, { version }),
    onSuccess: async () => {
      for (const queryKey of [["crew", crew.name], ["crew-versions", crew.name], ["crews"]])
        await client.invalidateQueries({ queryKey });
    },
  });
  if (versions.isPending) return <SkeletonRows />;
  return (
    <div className="stack">
      <ProblemNotice error={versions.error ?? rolling.error} />
      {versions.data?.length === 0 && (
        <div className="card">
          <Empty icon={History} title="No versions are kept">
            <p>This crew comes with the workers as it is.</p>
          </Empty>
        </div>
      )}
      <div className="card table-wrap" tabIndex={0}>
        <table className="table">
          <caption className="hidden">Versions, newest first</caption>
          <thead>
            <tr>
              <th scope="col">Version</th>
              <th scope="col">Made</th>
              <th scope="col">By</th>
              <th scope="col">
                <span className="hidden">Actions</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {versions.data?.map(({ version, current, created_at, ...made }, place, all) => (
              <tr key={version}>
                <td>
                  <Link
                    to="/crews/$name"
                    params={{ name: crew.name }}
                    search={{ tab: "definition", version }}
                  >
                    {version}
                  </Link>{" "}
                  {current && <span className="tag">current</span>}
                </td>
                <td>
                  <time dateTime={created_at ?? undefined} title={moment(created_at)}>
                    {created_at ? ago(created_at, now) : "–"}
                  </time>
                </td>
                <td className="truncate">{made.created_by_email ?? made.created_by ?? "–"}</td>
                <td className="right">
                  <div className="actions" style={{ justifyContent: "end" }}>
                    {all[place + 1] && (
                      <Link
                        to="/crews/$name"
                        params={{ name: crew.name }}
                        search={{ tab: "diff", from: all[place + 1]?.version, to: version }}
                        className="button"
                      >
                        Changes
                      </Link>
                    )}
                    {!current && may("crews.write") && crew.source === "uploaded" && (
                      <button
                        type="button"
                        className="button"
                        disabled={rolling.isPending}
                        onClick={() => rolling.mutate(version)}
                      >
                        Make current
                      </button>
                    )}
                  </div>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </div>
  );
}

function Changes({ crew }: { crew: Crew }) {
  const search = useSearch({ from: "/inside/crews/$name" });
  const navigate = useNavigate({ from: "/crews/$name" });
  const versions = useQuery(crewVersionsQuery(crew.name));
  const names = versions.data?.map(({ version }) => version) ?? [];
  const to = search.to ?? crew.current_version;
  // Of the oldest nothing was changed; what came after it was.
  const at = names.indexOf(to);
  const from = search.from ?? names[at + 1] ?? names[at - 1];
  const diff = useQuery({ ...crewDiffQuery(crew.name, from ?? "", to), enabled: Boolean(from) });
  const choose = (changed: { from?: string; to?: string }) =>
    void navigate({ search: (before) => ({ ...before, ...changed }), replace: true });
  if (versions.isPending) return <SkeletonRows />;
  if (!from) {
    return (
      <div className="card">
        <Empty icon={FileDiff} title="There is one version only">
          <p>Bring another, and what changed is shown here.</p>
        </Empty>
      </div>
    );
  }
  return (
    <div className="stack">
      <div className="filters" style={{ margin: 0, alignItems: "center" }}>
        <VersionChoice
          label="From"
          names={names}
          value={from}
          onChange={(version) => choose({ from: version, to })}
        />
        <VersionChoice
          label="To"
          names={names}
          value={to}
          onChange={(version) => choose({ from, to: version })}
        />
      </div>
      <ProblemNotice error={diff.error} />
      {diff.isPending && <SkeletonRows />}
      {diff.data && (
        <div className="card">
          {diff.data.diff ? (
            <Diff text={diff.data.diff} />
          ) : (
            <p className="body muted">Nothing changed between these.</p>
          )}
        </div>
      )}
    </div>
  );
}

function VersionChoice({
  label,
  names,
  value,
  onChange,
}: {
  label: string;
  names: string[];
  value: string;
  onChange: (version: string) => void;
}) {
  return (
    <label className="check">
      {label}
      <select className="input" value={value} onChange={(event) => onChange(event.target.value)}>
        {names.map((name) => (
          <option key={name}>{name}</option>
        ))}
      </select>
    </label>
  );
}

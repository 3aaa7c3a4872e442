import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link, useNavigate } from "@tanstack/react-router";
import { Plus, Workflow } from "lucide-react";
import { type FormEvent, useRef, useState } from "react";
import { call } from "../api/client";
import { useMay } from "../api/me";
import { crewsQuery } from "../api/queries";
import type { Crew } from "../api/types";
import { useTitle } from "../lib/title";
import { Dialog } from "../ui/Dialog";
import { Empty, ProblemNotice, SkeletonRows } from "../ui/Feedback";

export const SOURCES: Record<Crew["source"], string> = {
  built_in: "with Crewmesh",
  mounted: "with the workers",
  uploaded: "yours",
  project: "CrewAI project",
};

export default function Crews() {
  useTitle("Crews");
  const crews = useQuery(crewsQuery);
  const may = useMay();
  const [bringing, setBringing] = useState(false);
  return (
    <>
      <div className="page-head">
        <div className="titles">
          <h1>Crews</h1>
        </div>
        {may("crews.write") && (
          <button type="button" className="button primary" onClick={() => setBringing(true)}>
            <Plus size={16} aria-hidden /> Bring a crew
          </button>
        )}
      </div>
      <ProblemNotice error={crews.error} retry={() => void crews.refetch()} />
      {crews.isPending && !crews.error ? <SkeletonRows rows={8} /> : null}
      {crews.data?.length === 0 && (
        <div className="card">
          <Empty icon={Workflow} title="No crews yet">
            <p>Bring one as YAML or JSON: agents, tasks, and what it asks for.</p>
          </Empty>
        </div>
      )}
      <div className="crews">
        {crews.data?.map((crew) => (
          <Link
            key={crew.name}
            to="/crews/$name"
            params={{ name: crew.name }}
            search={{}}
            className="card"
          >
            <h2>{crew.name}</h2>
            <p>{crew.error ? `Can't be run: ${crew.error}` : crew.description}</p>
            <div className="tags">
              <span className="tag">{SOURCES[crew.source]}</span>
              <span className="tag">{plural(crew.agents.length, "agent")}</span>
              <span className="tag">{plural(crew.tasks.length, "task")}</span>
              <span className="tag">version {crew.version.split("+")[0]}</span>
            </div>
          </Link>
        ))}
      </div>
      {bringing && <Bring onClose={() => setBringing(false)} />}
    </>
  );
}

const plural = (n: number, word: string) => `${n} ${word}${n === 1 ? "" : "s"}`;

/** Take a definition, from a file or as it is typed; with `before`, a change of that version. */
export function Bring({ before, onClose }: { before?: Crew; onClose: () => void }) {
  const client = useQueryClient();
  const navigate = useNavigate();
  const text = useRef<HTMLTextAreaElement>(null);
  const bringing = useMutation({
    mutationFn: async ({ name, content }: { name: string; content: string }) => {
      const type = content.trimStart().startsWith("{") ? "application/json" : "application/yaml";
      const answer = await call(`/v1/crews/${encodeURIComponent(name)}`, {
        method: "PUT",
        body: content,
        headers: { "Content-Type": type },
      });
      return (await answer.json()) as Crew;
    },
    onSuccess: async (crew) => {
      for (const queryKey of [["crews"], ["crew", crew.name], ["crew-versions", crew.name]])
        await client.invalidateQueries({ queryKey });
      onClose();
      await navigate({ to: "/crews/$name", params: { name: crew.name }, search: {} });
    },
  });
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    bringing.mutate({ name: String(form.get("name")), content: String(form.get("content")) });
  };
  const read = async (file: File | undefined) => {
    if (file && text.current) text.current.value = await file.text();
  };
  return (
    <Dialog title={before ? `A new version of ${before.name}` : "Bring a crew"} onClose={onClose}>
      <form className="form" onSubmit={submit}>
        {before && <p className="muted">It begins as version {before.version}.</p>}
        <div className="field">
          <label htmlFor="crew-name">Name</label>
          <input
            id="crew-name"
            name="name"
            className="input"
            required
            defaultValue={before?.name}
            readOnly={Boolean(before)}
            pattern="[A-Za-z0-9][A-Za-z0-9_.\-]{0,99}"
          />
        </div>
        <div className="field">
          <label htmlFor="crew-file">File</label>
          <input
            id="crew-file"
            type="file"
            accept=".yaml,.yml,.json"
            onChange={(event) => void read(event.target.files?.[0])}
          />
        </div>
        <div className="field">
          <label htmlFor="crew-content">Definition, as YAML or JSON</label>
          <textarea
            id="crew-content"
            name="content"
            ref={text}
            className="input mono small"
            rows={before ? 18 : 10}
            defaultValue={before?.definition ? JSON.stringify(before.definition, null, 2) : ""}
            required
            spellCheck={false}
          />
        </div>
        <ProblemNotice error={bringing.error} />
        <div className="actions" style={{ justifyContent: "end" }}>
          <button type="submit" className="button primary" disabled={bringing.isPending}>
            {bringing.isPending ? "Checking…" : "Bring it"}
          </button>
        </div>
      </form>
    </Dialog>
  );
}

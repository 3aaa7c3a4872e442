/** Start a run: choose a crew, and say what its inputs' schema asks for. */

// Not from the package itself, which brings a helper for tests that needs another validator.
import Form from "@rjsf/core/lib/components/Form.js";
import type { RJSFSchema } from "@rjsf/utils";
import { useMutation, useQuery } from "@tanstack/react-query";
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { Play, Workflow } from "lucide-react";
import { type FormEvent, useMemo, useRef, useState } from "react";
import { isProblem, newIdempotencyKey, post } from "../api/client";
import { crewsQuery, runQuery } from "../api/queries";
import type { Crew, JsonObject, Run } from "../api/types";
import { DatasetWidget } from "../forms/DatasetWidget";
import { JsonField } from "../forms/JsonField";
import { templates, widgets } from "../forms/templates";
import { uiSchemaOf } from "../forms/uiSchema";
import { validator } from "../forms/validator";
import { useTitle } from "../lib/title";
import { Empty, Notice, ProblemNotice, SkeletonRows } from "../ui/Feedback";
import { Limits, limitsOf } from "./StartLimits";

const WIDGETS = { ...widgets, dataset: DatasetWidget };
const FIELDS = { json: JsonField };

export default function Start() {
  useTitle("New run");
  const { crew: name, from } = useSearch({ from: "/inside/runs/new" });
  const crews = useQuery(crewsQuery);
  const before = useQuery({ ...runQuery(from ?? ""), enabled: Boolean(from) });
  const navigate = useNavigate();
  const chosen = name ?? before.data?.crew;
  const crew = crews.data?.find((one) => one.name === chosen);
  if (crews.error) return <ProblemNotice error={crews.error} retry={() => void crews.refetch()} />;
  if (crews.isPending || (from && before.isPending)) return <SkeletonRows rows={8} />;
  return (
    <>
      <div className="page-head">
        <div className="titles">
          <h1>New run</h1>
        </div>
      </div>
      <div className="start">
        <div className="stack">
          <div className="field">
            <label htmlFor="crew">Crew</label>
            <select
              id="crew"
              className="input"
              value={chosen ?? ""}
              onChange={(event) =>
                void navigate({
                  to: "/runs/new",
                  search: { crew: event.target.value || undefined },
                })
              }
            >
              <option value="">Choose a crew…</option>
              {crews.data.map((one) => (
                <option key={one.name} value={one.name} disabled={Boolean(one.error)}>
                  {one.name}
                </option>
              ))}
            </select>
          </div>
          {crew ? <StartForm key={crew.name} crew={crew} before={before.data} /> : <Choose />}
        </div>
        {crew && <About crew={crew} />}
      </div>
    </>
  );
}

function StartForm({ crew, before }: { crew: Crew; before: Run | undefined }) {
  const navigate = useNavigate();
  const schema = crew.inputs as RJSFSchema;
  const uiSchema = useMemo(
    () => ({ ...uiSchemaOf(schema), "ui:submitButtonOptions": { norender: true } }),
    [schema],
  );
  const same = before?.crew === crew.name ? before : undefined;
  const [inputs, setInputs] = useState<JsonObject>(() => known(same?.inputs ?? {}, schema));
  const key = useRef(newIdempotencyKey());
  const limits = useRef<HTMLFormElement>(null);
  const starting = useMutation({
    mutationFn: (): Promise<Run> =>
      post(
        "/v1/runs",
        { crew: crew.name, inputs, ...limitsOf(new FormData(limits.current ?? undefined)) },
        { "Idempotency-Key": key.current },
      ),
    onSuccess: (run) => navigate({ to: "/runs/$id", params: { id: run.id }, search: {} }),
    // The gateway has refused it: the next try is another request. Unheard, it may have been taken.
    onError: (error) => {
      if (isProblem(error) && error.status >= 400 && error.status < 500)
        key.current = newIdempotencyKey();
    },
  });
  const submitLimits = (event: FormEvent) => event.preventDefault();
  return (
    <div className="card padded stack">
      {crew.error && (
        <Notice tone="bad">
          <p>This crew can't be run: {crew.error}</p>
        </Notice>
      )}
      <Form
        id="inputs"
        className="form"
        schema={schema}
        uiSchema={uiSchema}
        validator={validator}
        formData={inputs}
        templates={templates}
        widgets={WIDGETS}
        fields={FIELDS}
        showErrorList={false}
        noHtml5Validate
        experimental_defaultFormStateBehavior={{ arrayMinItems: { populate: "never" } }}
        onChange={({ formData }) => setInputs(formData ?? {})}
        onSubmit={() => starting.mutate()}
        // Said beside the field; without this the library logs it, too.
        onError={() => undefined}
        focusOnFirstError
      />
      {Object.keys(schema.properties ?? {}).length === 0 && (
        <p className="muted">This crew asks for no inputs.</p>
      )}
      <form ref={limits} onSubmit={submitLimits}>
        <Limits before={same} />
      </form>
      <ProblemNotice error={starting.error} />
      <div className="actions">
        <button
          type="submit"
          form="inputs"
          className="button primary"
          disabled={starting.isPending || Boolean(crew.error)}
        >
          <Play size={16} aria-hidden /> {starting.isPending ? "Starting…" : "Start the run"}
        </button>
      </div>
    </div>
  );
}

/** An earlier run's inputs that the crew still asks for. */
function known(inputs: JsonObject, schema: RJSFSchema): JsonObject {
  return Object.fromEntries(
    Object.entries(inputs).filter(([name]) => name in (schema.properties ?? {})),
  );
}

function About({ crew }: { crew: Crew }) {
  return (
    <aside className="stack" aria-label="About the crew">
      <div>
        <h2>
          <Link to="/crews/$name" params={{ name: crew.name }} search={{}}>
            {crew.name}
          </Link>{" "}
          <span className="tag">version {crew.version}</span>
        </h2>
        <p className="muted" style={{ marginTop: 4 }}>
          {crew.description}
        </p>
      </div>
      <ol className="stack tight" style={{ paddingLeft: 18 }}>
        {crew.tasks.map((task) => (
          <li key={task.name}>
            <strong>{task.name}</strong> <span className="muted small">{task.agent}</span>
          </li>
        ))}
      </ol>
    </aside>
  );
}

function Choose() {
  return (
    <div className="card">
      <Empty icon={Workflow} title="Which crew should work?">
        <p>
          Choose one above, or <Link to="/crews">look at what there is</Link>.
        </p>
      </Empty>
    </div>
  );
}

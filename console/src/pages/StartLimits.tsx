/** What may be said of any run beside its inputs. */

import type { Run } from "../api/types";

/** With `before`, an earlier run, its terms are there to be changed. */
export function Limits({ before }: { before?: Run }) {
  return (
    <details className="more" open={Boolean(before)}>
      <summary>Model, budget and limits</summary>
      <div className="form">
        <Text
          name="models"
          label="Models"
          help="Instead of the crew's own: the first, and with commas those to go on with when one fails."
          placeholder="offline"
          defaultValue={before?.models.join(", ")}
        />
        <div className="pair">
          <Numeric
            name="max_tokens"
            label="Budget in tokens"
            min={1}
            defaultValue={before?.budget?.max_tokens}
          />
          <Numeric
            name="max_usd"
            label="Budget in dollars"
            min={0.000001}
            step="any"
            defaultValue={before?.budget?.max_usd}
          />
        </div>
        <div className="pair">
          <Numeric
            name="timeout_seconds"
            label="Time limit in seconds"
            min={1}
            max={86400}
            defaultValue={before?.timeout_seconds}
          />
          <Numeric
            name="max_attempts"
            label="Attempts"
            min={1}
            max={20}
            defaultValue={before?.max_attempts}
          />
          <Numeric
            name="priority"
            label="Priority"
            min={-100}
            max={100}
            defaultValue={before?.priority}
          />
        </div>
        <Text
          name="webhook"
          label="Webhook"
          help={
            before?.webhook
              ? "The run is posted there when it has ended. The earlier run's isn't repeated."
              : "The run is posted there when it has ended."
          }
          placeholder="https://…"
        />
        <Text
          name="webhook_secret"
          label="The webhook's secret"
          help="Signs what is posted; without one it isn't signed."
          placeholder="whsec_…"
          type="password"
        />
      </div>
    </details>
  );
}

function Text({
  name,
  label,
  help,
  ...attributes
}: {
  name: string;
  label: string;
  help: string;
  placeholder: string;
  type?: "password";
  defaultValue?: string;
}) {
  return (
    <div className="field">
      <label htmlFor={`limit-${name}`}>{label}</label>
      <input
        id={`limit-${name}`}
        name={name}
        className="input"
        autoComplete="off"
        {...attributes}
      />
      <p className="help">{help}</p>
    </div>
  );
}

function Numeric({
  name,
  label,
  defaultValue,
  ...bounds
}: {
  name: string;
  label: string;
  min: number;
  max?: number;
  step?: string;
  defaultValue?: number | null;
}) {
  return (
    <div className="field">
      <label htmlFor={`limit-${name}`}>{label}</label>
      <input
        id={`limit-${name}`}
        name={name}
        type="number"
        className="input"
        placeholder="default"
        defaultValue={defaultValue ?? undefined}
        {...bounds}
      />
    </div>
  );
}

/** Return what was filled in, as the API takes it. */
export function limitsOf(form: FormData): Record<string, unknown> {
  const text = (name: string) => String(form.get(name) ?? "").trim();
  const number = (name: string) => (text(name) ? Number(text(name)) : undefined);
  const max_tokens = number("max_tokens");
  const max_usd = number("max_usd");
  const models = text("models")
    .split(",")
    .map((model) => model.trim())
    .filter(Boolean);
  return {
    ...(models.length ? { models } : {}),
    ...(max_tokens !== undefined || max_usd !== undefined
      ? { budget: { max_tokens, max_usd } }
      : {}),
    timeout_seconds: number("timeout_seconds"),
    max_attempts: number("max_attempts"),
    priority: number("priority"),
    ...(text("webhook")
      ? { webhook: { url: text("webhook"), secret: text("webhook_secret") } }
      : {}),
  };
}

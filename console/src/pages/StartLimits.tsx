/** What may be said of any run beside its inputs. */

export function Limits() {
  return (
    <details className="more">
      <summary>Model, budget and limits</summary>
      <div className="form">
        <Text
          name="models"
          label="Models"
          help="Instead of the crew's own: the first, and with commas those to go on with when one fails."
          placeholder="offline"
        />
        <div className="pair">
          <Numeric name="max_tokens" label="Budget in tokens" min={1} />
          <Numeric name="max_usd" label="Budget in dollars" min={0.000001} step="any" />
        </div>
        <div className="pair">
          <Numeric name="timeout_seconds" label="Time limit in seconds" min={1} max={86400} />
          <Numeric name="max_attempts" label="Attempts" min={1} max={20} />
          <Numeric name="priority" label="Priority" min={-100} max={100} />
        </div>
        <Text
          name="webhook"
          label="Webhook"
          help="The run is posted there when it has ended."
          placeholder="https://…"
        />
      </div>
    </details>
  );
}

function Text({
  name,
  label,
  help,
  placeholder,
}: {
  name: string;
  label: string;
  help: string;
  placeholder: string;
}) {
  return (
    <div className="field">
      <label htmlFor={`limit-${name}`}>{label}</label>
      <input id={`limit-${name}`} name={name} className="input" placeholder={placeholder} />
      <p className="help">{help}</p>
    </div>
  );
}

function Numeric({
  name,
  label,
  ...bounds
}: {
  name: string;
  label: string;
  min: number;
  max?: number;
  step?: string;
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
    ...(text("webhook") ? { webhook: text("webhook") } : {}),
  };
}

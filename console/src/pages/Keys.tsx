import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { KeyRound, Plus } from "lucide-react";
import { type FormEvent, useState } from "react";
import { post, put, remove } from "../api/client";
import { useMay, useNameOf } from "../api/me";
import { keysQuery, membersQuery, meQuery } from "../api/queries";
import type { ApiKey } from "../api/types";
import { ago, moment } from "../lib/format";
import { useNow } from "../lib/now";
import { useTitle } from "../lib/title";
import { CopyButton } from "../ui/CopyButton";
import { Confirm, Dialog } from "../ui/Dialog";
import { Empty, Notice, ProblemNotice, SkeletonRows } from "../ui/Feedback";

export default function Keys() {
  useTitle("API keys");
  const keys = useQuery(keysQuery);
  const { data: me } = useQuery(meQuery);
  const nameOf = useNameOf();
  const [creating, setCreating] = useState(false);
  const [revoking, setRevoking] = useState<ApiKey | null>(null);
  const now = useNow(30_000);
  const client = useQueryClient();
  const revocation = useMutation({
    mutationFn: (key: ApiKey) => remove(`/v1/api-keys/${key.id}`),
    onSuccess: () => client.invalidateQueries({ queryKey: keysQuery.queryKey }),
    onSettled: () => setRevoking(null),
  });
  return (
    <div className="stack">
      <div className="page-head" style={{ marginBottom: 8 }}>
        <div className="titles">
          <h1>API keys</h1>
          <p>
            Programs call the API with a key. It permits what its user's role does, within its
            scopes.
          </p>
        </div>
        <button type="button" className="button primary" onClick={() => setCreating(true)}>
          <Plus size={16} aria-hidden /> New key
        </button>
      </div>
      <ProblemNotice
        error={keys.error ?? revocation.error}
        retry={keys.error ? () => void keys.refetch() : undefined}
      />
      {keys.isPending && !keys.error ? <SkeletonRows /> : null}
      {keys.data?.length === 0 && (
        <div className="card">
          <Empty icon={KeyRound} title="No keys yet">
            <p>Make one for each program, so that each can be revoked alone.</p>
          </Empty>
        </div>
      )}
      {keys.data && keys.data.length > 0 && (
        <div className="card table-wrap" tabIndex={0}>
          <table className="table">
            <caption className="hidden">API keys</caption>
            <thead>
              <tr>
                <th scope="col">Name</th>
                <th scope="col">Of</th>
                <th scope="col">Begins with</th>
                <th scope="col">Scopes</th>
                <th scope="col">Last used</th>
                <th scope="col">Expires</th>
                <th scope="col">
                  <span className="hidden">Actions</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {keys.data.map((key) => (
                <tr key={key.id}>
                  <td>
                    {key.name} {me?.key?.id === key.id && <span className="tag">this session</span>}
                  </td>
                  <td className="truncate">
                    {key.user_id === me?.user.id ? "you" : nameOf(key.user_id)}
                  </td>
                  <td className="mono">{key.prefix}…</td>
                  <td>
                    <Scopes scopes={key.scopes} />
                  </td>
                  <td>{ago(key.last_used_at, now)}</td>
                  <td>{key.expires_at ? moment(key.expires_at) : "never"}</td>
                  <td className="right">
                    {key.revoked_at ? (
                      <span className="tag">revoked {ago(key.revoked_at, now)}</span>
                    ) : (
                      <button
                        type="button"
                        className="button danger"
                        onClick={() => setRevoking(key)}
                        aria-label={`Revoke ${key.name}`}
                      >
                        Revoke
                      </button>
                    )}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {me && me.key === null && <Password />}
      {creating && <NewKey onClose={() => setCreating(false)} />}
      {revoking && (
        <Confirm
          title={`Revoke ${revoking.name}?`}
          action="Revoke the key"
          busy={revocation.isPending}
          onClose={() => setRevoking(null)}
          onConfirm={() => revocation.mutate(revoking)}
        >
          <p>What uses it is refused within 10 seconds. It can't be undone.</p>
          {me?.key?.id === revoking.id && (
            <Notice tone="warn">
              <p>You are signed in with this key, and will be signed out.</p>
            </Notice>
          )}
        </Confirm>
      )}
    </div>
  );
}

function Scopes({ scopes }: { scopes: string[] }) {
  if (scopes.length === 0 || scopes.includes("*"))
    return <span className="muted">all of the role</span>;
  return (
    <div className="tags">
      {scopes.map((scope) => (
        <span key={scope} className="tag mono">
          {scope}
        </span>
      ))}
    </div>
  );
}

function NewKey({ onClose }: { onClose: () => void }) {
  const client = useQueryClient();
  const { data: me } = useQuery(meQuery);
  const may = useMay();
  const members = useQuery({ ...membersQuery, enabled: may("users.read") && may("keys.manage") });
  const programs =
    members.data?.filter((member) => member.service_account && !member.disabled_at) ?? [];
  const creation = useMutation({
    mutationFn: (key: object) => post<ApiKey & { secret: string }>("/v1/api-keys", key),
    onSuccess: () => client.invalidateQueries({ queryKey: keysQuery.queryKey }),
  });
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const days = Number(form.get("days"));
    creation.mutate({
      name: form.get("name"),
      scopes: form.getAll("scope"),
      ...(days ? { expires_at: new Date(Date.now() + days * 86_400_000).toISOString() } : {}),
      ...(form.get("user") ? { user_id: form.get("user") } : {}),
    });
  };
  if (creation.data) return <Secret secret={creation.data.secret} onClose={onClose} />;
  return (
    <Dialog title="New API key" onClose={onClose}>
      <form className="form" onSubmit={submit}>
        <div className="field">
          <label htmlFor="key-name">Name</label>
          <input
            id="key-name"
            name="name"
            className="input"
            required
            maxLength={100}
            placeholder="continuous integration"
          />
        </div>
        <div className="pair">
          <div className="field">
            <label htmlFor="key-days">Expires</label>
            <select id="key-days" name="days" className="input" defaultValue="90">
              <option value="30">in 30 days</option>
              <option value="90">in 90 days</option>
              <option value="365">in a year</option>
              <option value="0">never</option>
            </select>
          </div>
          {programs.length > 0 && (
            <div className="field">
              <label htmlFor="key-user">Of</label>
              <select id="key-user" name="user" className="input">
                <option value="">me</option>
                {programs.map((program) => (
                  <option key={program.id} value={program.id}>
                    {program.name || program.email}
                  </option>
                ))}
              </select>
            </div>
          )}
        </div>
        <details className="more">
          <summary>Limit it to some permissions</summary>
          <div className="form">
            <div className="pair">
              {me?.permissions.map((permission) => (
                <label key={permission} className="check small">
                  <input type="checkbox" name="scope" value={permission} />{" "}
                  <span className="mono">{permission}</span>
                </label>
              ))}
            </div>
          </div>
        </details>
        <ProblemNotice error={creation.error} />
        <div className="actions" style={{ justifyContent: "end" }}>
          <button type="submit" className="button primary" disabled={creation.isPending}>
            Make the key
          </button>
        </div>
      </form>
    </Dialog>
  );
}

function Secret({ secret, onClose }: { secret: string; onClose: () => void }) {
  return (
    <Dialog title="Keep this key" onClose={onClose}>
      <div className="stack">
        <p>It is shown this once. Only its hash is stored, so nobody can read it again.</p>
        <div className="copy">
          <code className="code" data-secret>
            {secret}
          </code>
          <CopyButton text={secret} label="Copy the key" />
        </div>
        <div className="actions" style={{ justifyContent: "end" }}>
          <button type="button" className="button primary" onClick={onClose}>
            I have kept it
          </button>
        </div>
      </div>
    </Dialog>
  );
}

/** Of who signed in with one. */
function Password() {
  const changing = useMutation({ mutationFn: (body: object) => put("/v1/me/password", body) });
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    changing.mutate(
      { current_password: form.get("current"), new_password: form.get("new") },
      { onSuccess: () => location.assign("/sign-in") },
    );
  };
  return (
    <section className="card">
      <header>
        <h2>My password</h2>
      </header>
      <form className="body form" onSubmit={submit}>
        <div className="pair">
          <div className="field">
            <label htmlFor="current">Now</label>
            <input
              id="current"
              name="current"
              type="password"
              className="input"
              autoComplete="current-password"
              required
            />
          </div>
          <div className="field">
            <label htmlFor="new">New, 12 characters or more</label>
            <input
              id="new"
              name="new"
              type="password"
              className="input"
              autoComplete="new-password"
              minLength={12}
              required
            />
          </div>
        </div>
        <ProblemNotice error={changing.error} />
        <div className="actions">
          <button type="submit" className="button" disabled={changing.isPending}>
            Change it, and sign out everywhere
          </button>
        </div>
      </form>
    </section>
  );
}

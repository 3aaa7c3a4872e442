import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { type FormEvent, useState } from "react";
import { type Credentials, listProviders, signIn } from "../api/session";
import icon from "../icon.svg";
import { useTitle } from "../lib/title";
import { Notice, ProblemNotice } from "../ui/Feedback";

type Way = "key" | "password";

export function SignIn() {
  useTitle("Sign in");
  const [way, setWay] = useState<Way>("key");
  const { next, fault } = useSearch({ from: "/sign-in" });
  // A gateway that can't say has none: the other ways are there.
  const providers = useQuery({ queryKey: ["providers"], queryFn: listProviders }).data ?? [];
  const navigate = useNavigate();
  const client = useQueryClient();
  const entry = useMutation({
    mutationFn: signIn,
    onSuccess: async () => {
      client.clear();
      await navigate({ href: next ?? "/runs" });
    },
  });
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    entry.mutate(credentials(new FormData(event.currentTarget), way));
  };
  const choose = (other: Way) => {
    setWay(other);
    // What was wrong with the one says nothing of the other.
    entry.reset();
  };
  return (
    <main className="sign-in">
      <div className="card">
        <img src={icon} alt="" />
        <h1>Sign in to Crewmesh</h1>
        <p className="muted">Start crews, watch them live, and see what they cost.</p>
        {fault && (
          <Notice tone="bad">
            <p>{FAULTS[fault] ?? "Signing in has failed. Try again."}</p>
          </Notice>
        )}
        {providers.map((provider) => (
          <a
            key={provider.url}
            className="button provider"
            href={`${provider.url}?${new URLSearchParams({ next: next ?? "/runs" })}`}
          >
            Sign in with {provider.label}
          </a>
        ))}
        {providers.length > 0 && <p className="or">or</p>}
        <form className="form" onSubmit={submit} style={{ marginTop: 24 }}>
          <div className="segments" role="group" aria-label="How to sign in">
            <button type="button" aria-pressed={way === "key"} onClick={() => choose("key")}>
              API key
            </button>
            <button
              type="button"
              aria-pressed={way === "password"}
              onClick={() => choose("password")}
            >
              Password
            </button>
          </div>
          {way === "key" ? <KeyField /> : <PasswordFields />}
          <ProblemNotice error={entry.error} />
          <button type="submit" className="button primary" disabled={entry.isPending}>
            {entry.isPending ? "Signing in…" : "Sign in"}
          </button>
        </form>
      </div>
    </main>
  );
}

/** Why the provider's word signed nobody in, and what to do; the gateway says no more than the code. */
const FAULTS: Record<string, string> = {
  account_conflict:
    "Your account here is disabled, or belongs to somebody else or another organisation. Ask an admin.",
  denied: "You were not signed in there. Try again.",
  email_unverified: "Your provider has not verified your e-mail address. Verify it there first.",
  expired: "That took too long, or was begun in another browser. Try again.",
  no_organisation: "Your provider names no organisation of this mesh for you. Ask an admin.",
  no_role: "Your provider gives you no role here. Ask an admin.",
  refused:
    "What your provider sent can't be trusted. Tell whoever runs this mesh; its log says why.",
  unavailable: "Your provider can't be reached. Try again in a moment.",
};

function KeyField() {
  return (
    <div className="field">
      <label htmlFor="api-key">API key</label>
      <input
        id="api-key"
        name="api_key"
        type="password"
        className="input mono"
        autoComplete="off"
        placeholder="cm_…"
        required
        autoFocus
      />
      <p className="help">
        <code>crewmesh up</code> prints it at its start, and keeps it in <code>api-key</code> of its
        data directory.
      </p>
    </div>
  );
}

function PasswordFields() {
  return (
    <>
      <div className="field">
        <label htmlFor="email">E-mail address</label>
        <input
          id="email"
          name="email"
          type="email"
          className="input"
          autoComplete="username"
          required
          autoFocus
        />
      </div>
      <div className="field">
        <label htmlFor="password">Password</label>
        <input
          id="password"
          name="password"
          type="password"
          className="input"
          autoComplete="current-password"
          required
        />
        <p className="help">No password yet? Ask an admin of your organisation to set one.</p>
      </div>
    </>
  );
}

function credentials(form: FormData, way: Way): Credentials {
  const field = (name: string) => String(form.get(name) ?? "").trim();
  return way === "key"
    ? { api_key: field("api_key") }
    : { email: field("email"), password: String(form.get("password") ?? "") };
}

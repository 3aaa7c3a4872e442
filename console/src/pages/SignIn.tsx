import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { type FormEvent, useState } from "react";
import { type Credentials, signIn } from "../api/session";
import icon from "../icon.svg";
import { useTitle } from "../lib/title";
import { ProblemNotice } from "../ui/Feedback";

type Way = "key" | "password";

export function SignIn() {
  useTitle("Sign in");
  const [way, setWay] = useState<Way>("key");
  const { next } = useSearch({ from: "/sign-in" });
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
  return (
    <main className="sign-in">
      <div className="card">
        <img src={icon} alt="" />
        <h1>Sign in to Crewmesh</h1>
        <p className="muted">Start crews, watch them live, and see what they cost.</p>
        <form className="form" onSubmit={submit} style={{ marginTop: 24 }}>
          <div className="segments" role="group" aria-label="How to sign in">
            <button type="button" aria-pressed={way === "key"} onClick={() => setWay("key")}>
              API key
            </button>
            <button
              type="button"
              aria-pressed={way === "password"}
              onClick={() => setWay("password")}
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

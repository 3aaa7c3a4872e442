/** What is around every page of who is signed in: where one can go, and who one is. */

import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link, Outlet, useNavigate, useRouterState } from "@tanstack/react-router";
import {
  ChartColumn,
  Database,
  KeyRound,
  ListChecks,
  LogOut,
  MessagesSquare,
  Moon,
  Server,
  Sun,
  Users,
  Workflow,
} from "lucide-react";
import { useEffect, useRef } from "react";
import { useMay } from "./api/me";
import { meQuery } from "./api/queries";
import { signOut } from "./api/session";
import icon from "./icon.svg";
import { preloadPages, whenIdle } from "./lib/lazyPage";
import { chooseScheme, useScheme } from "./lib/scheme";
import { Dialog } from "./ui/Dialog";
import { ProblemNotice } from "./ui/Feedback";

const PLACES = [
  { to: "/runs", label: "Runs", icon: ListChecks, takes: "runs.read" },
  { to: "/sessions", label: "Conversations", icon: MessagesSquare, takes: "sessions.read" },
  { to: "/crews", label: "Crews", icon: Workflow, takes: "crews.read" },
  { to: "/datasets", label: "Datasets", icon: Database, takes: "datasets.read" },
  { to: "/fleet", label: "Fleet", icon: Server, takes: "workers.read" },
  { to: "/usage", label: "Usage", icon: ChartColumn, takes: "usage.read" },
  { to: "/keys", label: "API keys", icon: KeyRound, takes: "keys.own" },
  { to: "/members", label: "Members", icon: Users, takes: "users.read" },
] as const;

/** Runs are compared on a page of its own, which is a part of theirs. */
const isWithin = (path: string, place: string) =>
  path.startsWith(place) || (place === "/runs" && path.startsWith("/compare"));

export function Frame() {
  const may = useMay();
  const main = useRef<HTMLElement>(null);
  const path = useRouterState({ select: (state) => state.location.pathname });
  const places = useRef<HTMLElement>(null);
  const shown = useRef(path);
  useEffect(() => whenIdle(() => void preloadPages()), []);
  useEffect(() => {
    // Who goes by keyboard or ear begins at the new page's top, as with a page of its own.
    if (shown.current !== path) main.current?.focus({ preventScroll: true });
    shown.current = path;
    // On a phone not all places fit.
    const here = places.current?.querySelector("[aria-current]");
    here?.scrollIntoView({ inline: "nearest", block: "nearest" });
  }, [path]);
  return (
    <div className="frame">
      <a className="skip" href="#main">
        Skip to the page
      </a>
      <header className="side">
        <Link to="/runs" className="brand" aria-label="Crewmesh">
          <img src={icon} alt="" />
          <span>Crewmesh</span>
        </Link>
        <nav aria-label="Console" ref={places}>
          {PLACES.filter(({ takes }) => may(takes)).map(({ to, label, icon: Icon }) => (
            <Link key={to} to={to} aria-current={isWithin(path, to) ? "page" : undefined}>
              <Icon size={17} aria-hidden />
              <span>{label}</span>
            </Link>
          ))}
        </nav>
        <Foot />
      </header>
      <main id="main" ref={main} tabIndex={-1}>
        <Outlet />
      </main>
    </div>
  );
}

function Foot() {
  const { data: me } = useQuery(meQuery);
  const { scheme } = useScheme();
  const client = useQueryClient();
  const navigate = useNavigate();
  const leaving = useMutation({
    mutationFn: signOut,
    onSuccess: async () => {
      client.clear();
      await navigate({ to: "/sign-in", search: {} });
    },
  });
  const other = scheme === "dark" ? "light" : "dark";
  return (
    <div className="foot">
      {me && (
        <div className="who">
          <strong>{me.user.email}</strong>
          <span className="muted small">
            {me.role} · {me.org.name}
          </span>
        </div>
      )}
      <div className="foot-buttons">
        <button
          type="button"
          className="button quiet icon"
          aria-label={`Use the ${other} scheme`}
          title={`Use the ${other} scheme`}
          onClick={() => chooseScheme(other)}
        >
          {scheme === "dark" ? <Sun size={16} aria-hidden /> : <Moon size={16} aria-hidden />}
        </button>
        <button
          type="button"
          className="button quiet icon"
          aria-label="Sign out"
          title="Sign out"
          disabled={leaving.isPending}
          onClick={() => leaving.mutate()}
        >
          <LogOut size={16} aria-hidden />
        </button>
      </div>
      {leaving.error && (
        <Dialog title="You are still signed in" onClose={leaving.reset}>
          <ProblemNotice error={leaving.error} retry={() => leaving.mutate()} />
        </Dialog>
      )}
    </div>
  );
}

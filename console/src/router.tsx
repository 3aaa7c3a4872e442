/** The console's addresses. The gateway serves the page at each of them (browser/files.py). */

import {
  createRootRoute,
  createRoute,
  createRouter,
  Outlet,
  redirect,
} from "@tanstack/react-router";
import { isSignedIn } from "./api/session";
import { STATUSES, type Status } from "./api/types";
import { Frame } from "./Frame";
import { lazyPage } from "./lib/lazyPage";
import { Fault } from "./pages/Fault";
import { Missing } from "./pages/Missing";
import { SignIn } from "./pages/SignIn";

type Search = Record<string, unknown>;

const text = (value: unknown) => (value === undefined || value === "" ? undefined : String(value));

const root = createRootRoute({ component: Outlet, notFoundComponent: Missing });

const signIn = createRoute({
  getParentRoute: () => root,
  path: "/sign-in",
  validateSearch: (search: Search): { next?: string; fault?: string } => ({
    next: localPath(text(search.next)),
    fault: text(search.fault),
  }),
  component: SignIn,
});

const inside = createRoute({
  getParentRoute: () => root,
  id: "inside",
  component: Frame,
  beforeLoad: async ({ location, preload }) => {
    if (!preload && !(await isSignedIn()))
      throw redirect({ to: "/sign-in", search: { next: location.href } });
  },
});

const home = createRoute({
  getParentRoute: () => inside,
  path: "/",
  beforeLoad: () => {
    throw redirect({ to: "/runs" });
  },
});

const runs = createRoute({
  getParentRoute: () => inside,
  path: "/runs",
  validateSearch: (
    search: Search,
  ): {
    q?: string;
    status?: Status;
    crew?: string;
    session?: string;
    by?: string;
    since?: string;
    until?: string;
  } => ({
    q: text(search.q),
    status: STATUSES.find((status) => status === search.status),
    crew: text(search.crew),
    session: text(search.session),
    by: text(search.by),
    since: text(search.since),
    until: text(search.until),
  }),
  component: lazyPage(() => import("./pages/Runs")),
});

const start = createRoute({
  getParentRoute: () => inside,
  path: "/runs/new",
  validateSearch: (search: Search): { crew?: string; from?: string } => ({
    crew: text(search.crew),
    from: text(search.from),
  }),
  component: lazyPage(() => import("./pages/Start")),
});

const run = createRoute({
  getParentRoute: () => inside,
  path: "/runs/$id",
  validateSearch: (search: Search): { tab?: string } => ({ tab: text(search.tab) }),
  component: lazyPage(() => import("./pages/Run")),
});

const compare = createRoute({
  getParentRoute: () => inside,
  path: "/compare",
  validateSearch: (search: Search): { a?: string; b?: string } => ({
    a: text(search.a),
    b: text(search.b),
  }),
  component: lazyPage(() => import("./pages/Compare")),
});

const crews = createRoute({
  getParentRoute: () => inside,
  path: "/crews",
  component: lazyPage(() => import("./pages/Crews")),
});

const crew = createRoute({
  getParentRoute: () => inside,
  path: "/crews/$name",
  validateSearch: (
    search: Search,
  ): { tab?: string; version?: string; from?: string; to?: string } => ({
    tab: text(search.tab),
    version: text(search.version),
    from: text(search.from),
    to: text(search.to),
  }),
  component: lazyPage(() => import("./pages/Crew")),
});

const sessions = createRoute({
  getParentRoute: () => inside,
  path: "/sessions",
  component: lazyPage(() => import("./pages/Sessions")),
});

const session = createRoute({
  getParentRoute: () => inside,
  path: "/sessions/$id",
  component: lazyPage(() => import("./pages/Session")),
});

const datasets = createRoute({
  getParentRoute: () => inside,
  path: "/datasets",
  component: lazyPage(() => import("./pages/Datasets")),
});

const fleet = createRoute({
  getParentRoute: () => inside,
  path: "/fleet",
  component: lazyPage(() => import("./pages/Fleet")),
});

const usage = createRoute({
  getParentRoute: () => inside,
  path: "/usage",
  validateSearch: (search: Search): { days?: number; by?: "crew" | "model" } => ({
    days: [7, 30, 90].find((days) => days === Number(search.days)),
    by: search.by === "model" ? "model" : undefined,
  }),
  component: lazyPage(() => import("./pages/Usage")),
});

const keys = createRoute({
  getParentRoute: () => inside,
  path: "/keys",
  component: lazyPage(() => import("./pages/Keys")),
});
const members = createRoute({
  getParentRoute: () => inside,
  path: "/members",
  component: lazyPage(() => import("./pages/Members")),
});

const tree = root.addChildren([
  signIn,
  inside.addChildren([
    home,
    runs,
    start,
    run,
    compare,
    sessions,
    session,
    crews,
    crew,
    datasets,
    fleet,
    usage,
    keys,
    members,
  ]),
]);

export function makeRouter() {
  return createRouter({
    routeTree: tree,
    defaultPreload: "intent",
    defaultErrorComponent: Fault,
    scrollRestoration: true,
  });
}

/** A page of ours to go on to, never another site's. */
function localPath(path: string | undefined): string | undefined {
  return path?.startsWith("/") && !path.startsWith("//") ? path : undefined;
}

import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { RouterProvider } from "@tanstack/react-router";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { isProblem } from "./api/client";
import { whenSignedOut } from "./api/session";
import { applyScheme } from "./lib/scheme";
import { makeRouter } from "./router";
import "./styles/index.css";

const client = new QueryClient({
  defaultOptions: {
    queries: {
      // A gateway that restarts is back soon; what it refuses, it refuses again.
      retry: (failures, error) =>
        failures < 5 && isProblem(error) && (error.status === 0 || error.status >= 500),
      retryDelay: (failures) => Math.min(4000, 300 * 2 ** failures),
      refetchOnWindowFocus: true,
    },
  },
});

const router = makeRouter();

// Several calls may find it at once: who is at the sign-in already stays there.
whenSignedOut(() => {
  const { pathname, searchStr } = router.state.location;
  if (pathname !== "/sign-in")
    void router.navigate({ to: "/sign-in", search: { next: pathname + searchStr } });
});

declare module "@tanstack/react-router" {
  interface Register {
    router: typeof router;
  }
}

applyScheme();
const root = document.getElementById("root");
if (root) {
  createRoot(root).render(
    <StrictMode>
      <QueryClientProvider client={client}>
        <RouterProvider router={router} />
      </QueryClientProvider>
    </StrictMode>,
  );
}

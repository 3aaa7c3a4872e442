/** What is asked of the gateway, and how long an answer is good. */

import { infiniteQueryOptions, queryOptions } from "@tanstack/react-query";
import { call, get, query } from "./client";
import type {
  ApiKey,
  Artifact,
  Crew,
  CrewDiff,
  CrewVersion,
  Dataset,
  Fleet,
  Me,
  Member,
  Message,
  Page,
  Run,
  Session,
  Status,
  UsageGroup,
} from "./types";
import { ENDED } from "./types";

export interface RunFilters {
  q?: string;
  status?: Status;
  crew?: string;
  session?: string;
  by?: string;
  since?: string;
  until?: string;
}

export const meQuery = queryOptions({
  queryKey: ["me"],
  queryFn: ({ signal }) => get<Me>("/v1/me", signal),
  staleTime: 60_000,
});

export const runsQuery = (filters: RunFilters) =>
  infiniteQueryOptions({
    queryKey: ["runs", filters],
    queryFn: ({ pageParam, signal }) =>
      get<Page<Run>>(
        `/v1/runs${query({
          q: filters.q,
          status: filters.status,
          crew: filters.crew,
          session_id: filters.session,
          created_by: filters.by,
          created_after: filters.since,
          created_before: filters.until,
          cursor: pageParam,
          limit: 50,
        })}`,
        signal,
      ),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.next_cursor,
    // Someone who has opened further pages reads; the list doesn't move under their eyes.
    refetchInterval: ({ state }) => {
      if ((state.data?.pages.length ?? 0) > 1) return false;
      return state.data?.pages[0]?.items.some((run) => !ENDED.has(run.status)) ? 2000 : 10_000;
    },
  });

export const runQuery = (id: string) =>
  queryOptions({
    queryKey: ["run", id],
    queryFn: ({ signal }) => get<Run>(`/v1/runs/${id}`, signal),
  });

export const artifactsQuery = (id: string) =>
  queryOptions({
    queryKey: ["artifacts", id],
    queryFn: async ({ signal }) =>
      (await get<Page<Artifact>>(`/v1/runs/${id}/artifacts`, signal)).items,
  });

export const artifactTextQuery = (artifact: Artifact) =>
  queryOptions({
    queryKey: ["artifact", artifact.id],
    queryFn: async ({ signal }) => (await call(artifact.url, { signal })).text(),
    staleTime: Number.POSITIVE_INFINITY,
  });

export const crewsQuery = queryOptions({
  queryKey: ["crews"],
  queryFn: ({ signal }) => everything<Crew>("/v1/crews", signal),
  staleTime: 10_000,
});

export const crewQuery = (name: string, version?: string) =>
  queryOptions({
    queryKey: ["crew", name, version ?? null],
    queryFn: ({ signal }) =>
      get<Crew>(`/v1/crews/${encodeURIComponent(name)}${query({ version })}`, signal),
  });

export const crewVersionsQuery = (name: string) =>
  queryOptions({
    queryKey: ["crew-versions", name],
    queryFn: ({ signal }) =>
      everything<CrewVersion>(`/v1/crews/${encodeURIComponent(name)}/versions`, signal),
  });

export const crewDiffQuery = (name: string, from: string, to: string) =>
  queryOptions({
    queryKey: ["crew-diff", name, from, to],
    queryFn: ({ signal }) =>
      get<CrewDiff>(`/v1/crews/${encodeURIComponent(name)}/diff${query({ from, to })}`, signal),
  });

export const datasetsQuery = queryOptions({
  queryKey: ["datasets"],
  queryFn: ({ signal }) => everything<Dataset>("/v1/datasets", signal),
});

export const datasetTextQuery = (id: string) =>
  queryOptions({
    queryKey: ["dataset-text", id],
    queryFn: async ({ signal }) => (await call(`/v1/datasets/${id}/content`, { signal })).text(),
    staleTime: Number.POSITIVE_INFINITY,
  });

export const sessionsQuery = infiniteQueryOptions({
  queryKey: ["sessions"],
  queryFn: ({ pageParam, signal }) =>
    get<Page<Session>>(`/v1/sessions${query({ cursor: pageParam, limit: 50 })}`, signal),
  initialPageParam: null as string | null,
  getNextPageParam: (page) => page.next_cursor,
});

export const sessionQuery = (id: string) =>
  queryOptions({
    queryKey: ["session", id],
    queryFn: ({ signal }) => get<Session>(`/v1/sessions/${id}`, signal),
  });

/** The newest first, as pages go; the page shows them the other way round. */
export const messagesQuery = (sessionId: string) =>
  infiniteQueryOptions({
    queryKey: ["messages", sessionId],
    queryFn: ({ pageParam, signal }) =>
      get<Page<Message>>(
        `/v1/sessions/${sessionId}/messages${query({ order: "desc", cursor: pageParam, limit: 50 })}`,
        signal,
      ),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.next_cursor,
    // Others may say something, too.
    refetchInterval: 5000,
  });

export const fleetQuery = queryOptions({
  queryKey: ["fleet"],
  queryFn: ({ signal }) => get<Fleet>("/v1/workers", signal),
  refetchInterval: 2000,
});

export const usageQuery = (groupBy: string, from: string) =>
  queryOptions({
    queryKey: ["usage", groupBy, from],
    queryFn: async ({ signal }) =>
      (await get<{ items: UsageGroup[] }>(`/v1/usage${query({ group_by: groupBy, from })}`, signal))
        .items,
    refetchInterval: 30_000,
  });

export const keysQuery = queryOptions({
  queryKey: ["keys"],
  queryFn: async ({ signal }) => (await get<Page<ApiKey>>("/v1/api-keys", signal)).items,
});

export const membersQuery = queryOptions({
  queryKey: ["members"],
  queryFn: ({ signal }) => everything<Member>("/v1/users", signal),
});

async function everything<Item>(path: string, signal: AbortSignal): Promise<Item[]> {
  const items: Item[] = [];
  let cursor: string | null = null;
  do {
    const page: Page<Item> = await get(`${path}${query({ limit: 200, cursor })}`, signal);
    items.push(...page.items);
    cursor = page.next_cursor;
  } while (cursor);
  return items;
}

/** The API's shapes, as `/openapi.json` describes them; only what the console reads. */

export type Status =
  | "queued"
  | "running"
  | "waiting"
  | "succeeded"
  | "failed"
  | "cancelled"
  | "timed_out";

export const STATUSES: readonly Status[] = [
  "queued",
  "running",
  "waiting",
  "succeeded",
  "failed",
  "cancelled",
  "timed_out",
];

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type JsonObject = { [key: string]: Json };

export interface Page<Item> {
  items: Item[];
  next_cursor: string | null;
}

export interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
  model_calls: number;
  cost_usd: number;
  unpriced_calls: number;
}

export interface Task {
  name: string;
  agent: string;
  status: "pending" | "running" | "completed" | "failed";
  output: string | null;
  started_at: string | null;
  finished_at: string | null;
}

export interface WebhookState {
  url: string;
  status: "waiting" | "due" | "delivered" | "failed";
  tries: number;
  last_status: number | null;
  last_error: string | null;
}

export interface Run {
  id: string;
  crew: string;
  crew_version: string;
  status: Status;
  inputs: JsonObject;
  output: string | null;
  output_partial: string | null;
  output_json: Json;
  error: { code: string; message: string } | null;
  attempt: number;
  max_attempts: number;
  priority: number;
  timeout_seconds: number;
  session_id: string | null;
  turn: number | null;
  worker_id: string | null;
  created_by: string;
  models: string[];
  budget: { max_tokens: number | null; max_usd: number | null } | null;
  webhook: WebhookState | null;
  usage: Usage;
  tasks: Task[];
  retry_of: string | null;
  last_seq: number;
  created_at: string;
  started_at: string | null;
  finished_at: string | null;
  cancel_requested_at: string | null;
}

export interface RunEvent {
  seq: number;
  run_id: string;
  at: string;
  attempt: number;
  type: string;
  task: string | null;
  agent: string | null;
  payload: JsonObject;
}

export interface Artifact {
  id: string;
  name: string;
  media_type: string;
  size_bytes: number;
  url: string;
  created_at: string;
}

export interface Session {
  id: string;
  crew: string;
  title: string;
  inputs: JsonObject;
  turns: number;
  open_turns: number;
  created_at: string;
  updated_at: string;
}

export interface Message {
  /** The nth posted message is 2n - 1, and its answer 2n. */
  number: number;
  role: "user" | "assistant" | "system";
  content: string;
  run_id: string;
  created_at: string;
}

export interface Dataset {
  id: string;
  name: string;
  media_type: string;
  size_bytes: number;
  created_at: string;
}

export interface Crew {
  name: string;
  description: string;
  version: string;
  kind: "crew" | "flow";
  error: string | null;
  inputs: JsonObject;
  agents: { role: string; goal: string; tools: string[] }[];
  tasks: { name: string; description: string; expected_output: string; agent: string }[];
  source: "built_in" | "mounted" | "uploaded" | "project";
  current_version: string;
  created_at: string | null;
  definition: JsonObject | null;
}

export interface CrewVersion {
  version: string;
  current: boolean;
  created_at: string | null;
  created_by: string | null;
  created_by_email: string | null;
}

export interface CrewDiff {
  name: string;
  from: string;
  to: string;
  diff: string;
}

export interface Worker {
  id: string;
  address: string;
  version: string;
  slots: number;
  free_slots: number;
  running: number;
  lease_age_seconds: number | null;
  started_at: string;
  last_seen_at: string;
}

export interface Fleet extends Page<Worker> {
  queue: { queued: number; running: number; waiting: number; oldest_queued_at: string | null };
  lease_seconds: number;
}

export interface UsageGroup {
  crew: string | null;
  model: string | null;
  day: string | null;
  model_calls: number;
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
  cost_usd: number;
  unpriced_calls: number;
}

export type Role = "owner" | "admin" | "developer" | "operator" | "viewer";
export const ROLES: readonly Role[] = ["owner", "admin", "developer", "operator", "viewer"];

export interface Me {
  user: { id: string; email: string };
  org: { id: string; name: string };
  role: Role;
  key: { id: string; scopes: string[] } | null;
  permissions: string[];
}

export interface ApiKey {
  id: string;
  name: string;
  prefix: string;
  created_at: string;
  last_used_at: string | null;
  expires_at: string | null;
  revoked_at: string | null;
  scopes: string[];
  user_id: string;
}

export interface Member {
  id: string;
  email: string;
  name: string;
  role: Role;
  service_account: boolean;
  created_at: string;
  disabled_at: string | null;
  last_sign_in_at: string | null;
}

export const ENDED: ReadonlySet<Status> = new Set([
  "succeeded",
  "failed",
  "cancelled",
  "timed_out",
]);

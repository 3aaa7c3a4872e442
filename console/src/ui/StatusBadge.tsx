import {
  Ban,
  Check,
  CircleAlert,
  CircleDashed,
  Clock,
  Hourglass,
  LoaderCircle,
  type LucideIcon,
} from "lucide-react";
import type { Status } from "../api/types";

/** Each state has its own icon and words: colour alone says nothing to many. */
const LOOKS: Record<Status, { icon: LucideIcon; words: string; tone: string }> = {
  queued: { icon: CircleDashed, words: "Queued", tone: "" },
  running: { icon: LoaderCircle, words: "Running", tone: "tone-accent" },
  waiting: { icon: Hourglass, words: "Waits for you", tone: "tone-warn" },
  succeeded: { icon: Check, words: "Succeeded", tone: "tone-good" },
  failed: { icon: CircleAlert, words: "Failed", tone: "tone-bad" },
  cancelled: { icon: Ban, words: "Cancelled", tone: "" },
  timed_out: { icon: Clock, words: "Timed out", tone: "tone-warn" },
};

export function StatusBadge({ status }: { status: Status }) {
  const { icon: Icon, words, tone } = LOOKS[status];
  return (
    <span className={`status ${tone}`} data-status={status}>
      <Icon size={14} aria-hidden className={status === "running" ? "spin" : undefined} />
      {words}
    </span>
  );
}

export const statusWords = (status: Status) => LOOKS[status].words;

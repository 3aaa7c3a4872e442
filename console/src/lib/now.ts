import { useEffect, useState } from "react";
import { clockLead } from "../api/client";

/** The gateway's time now, anew every `ms` while `ticking`. */
export function useNow(ms: number, ticking = true): number {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    if (!ticking) return;
    const timer = setInterval(() => setNow(Date.now()), ms);
    return () => clearInterval(timer);
  }, [ms, ticking]);
  return now - clockLead;
}

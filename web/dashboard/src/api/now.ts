/** The server's clock, as far as this page knows it: buckets and "ago" follow it, not this machine's. */

import { signal } from "@preact/signals";
import { useEffect, useState } from "preact/hooks";

import { HOUR_MS } from "../format";

const offset = signal(0);

/** Learn the server's time from an answer that carries it. */
export function learnNow(now: string): void {
  const told = Date.parse(now);
  // Below a second it is the request's own way; a clock that jitters would make every "ago" jitter.
  if (Number.isFinite(told) && Math.abs(told - Date.now() - offset.peek()) > 1000) offset.value = told - Date.now();
}

/** The server's time in milliseconds since the epoch. */
export function serverNow(): number {
  return Date.now() + offset.value;
}

/** The server's time, renewed every `every` milliseconds while the page is seen. */
export function useNow(every = 1000): number {
  const [, tick] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => {
      if (!document.hidden) tick((count) => count + 1);
    }, every);
    return () => clearInterval(timer);
  }, [every]);
  return serverNow();
}

/** The start of the hour after the server's now: where ranges that reach up to now end. Changes once an hour. */
export function useNextHour(): number {
  const now = useNow(10_000);
  return (Math.floor(now / HOUR_MS) + 1) * HOUR_MS;
}

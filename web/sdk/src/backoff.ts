const FIRST_MS = 1000;
const MOST_MS = 60_000;
const MOST_ASKED_MS = 3_600_000;

/**
 * Milliseconds to wait after the n-th failure in a row (from 1): exponential with full jitter, at most 60 s; on top of
 * what the server asked for (at most an hour).
 */
export function delayAfter(failures: number, askedMs: number, random = Math.random()): number {
  return Math.min(askedMs, MOST_ASKED_MS) + random * Math.min(FIRST_MS * 2 ** failures, MOST_MS);
}

/** Milliseconds of a Retry-After header (seconds or a date); 0 when it says nothing. */
export function retryAfterMs(header: string | null, now = Date.now()): number {
  const seconds = Number(header);
  return Math.max(0, (header && Number.isNaN(seconds) ? Date.parse(header) - now : seconds * 1000) || 0);
}

/** What comparing maps with the raw events met. */

import type { Status } from "./types";

/** What a nightly sample met is told for so long, or until the next one. */
const NIGHTS_MS = 2 * 24 * 3_600_000;

/** Buckets whose raw files cannot be read. What was compared once keeps that verdict: then only the last night knows. */
export function unreadable(status: Status): number {
  const known = status.verification?.findings["unreadable"] ?? 0;
  const night = status.rounds?.["verify"];
  const at = night?.did_at ?? null;
  const met = at !== null && Date.parse(status.now) - Date.parse(at) < NIGHTS_MS ? night?.did["unreadable"] : 0;
  return Math.max(known, typeof met === "number" ? met : 0);
}

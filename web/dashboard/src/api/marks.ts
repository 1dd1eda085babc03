/** What the ledger says of many small maps: one question for a page of them, never one for each. */

import { HOUR_MS } from "../format";
import { api, dataOf } from "./client";
import { type Query, useQuery } from "./query";
import type { Mark, Marks } from "./types";

/** As many screens, and hours, as the server answers at once. */
const MOST_SCREENS = 50;
const MOST_HOURS = 10_000;

export interface MarksQuestion {
  readonly client: string;
  readonly screens: readonly string[];
  /** Milliseconds since the epoch, on the hour; `to` is excluded. */
  readonly from: number;
  readonly to: number;
}

/** A mark, with whether the client's own sums do not close. */
export type Marked = Mark & { readonly differences: readonly string[] };

/** The same question in parts that the server answers at once. */
export function partsOf({ client, screens, from, to }: MarksQuestion): readonly MarksQuestion[] {
  const parts: MarksQuestion[] = [];
  for (let first = 0; first < screens.length; first += MOST_SCREENS) {
    for (let start = from; start < to; start += MOST_HOURS * HOUR_MS) {
      const end = Math.min(to, start + MOST_HOURS * HOUR_MS);
      parts.push({ client, screens: screens.slice(first, first + MOST_SCREENS), from: start, to: end });
    }
  }
  return parts;
}

/** The answers of the parts as one: a map is complete when it is in every part of its time. */
export function joined(answers: readonly Pick<Marks, "marks" | "differences">[]): ReadonlyMap<string, Marked> {
  const found = new Map<string, Marked>();
  for (const { marks, differences } of answers) {
    for (const mark of marks) {
      const before = found.get(mark.screen_id);
      const sum = (name: "late" | "rejected" | "pending" | "dead"): number => mark[name] + (before?.[name] ?? 0);
      found.set(mark.screen_id, {
        screen_id: mark.screen_id,
        complete: mark.complete && (before?.complete ?? true),
        late: sum("late"),
        rejected: sum("rejected"),
        pending: sum("pending"),
        dead: sum("dead"),
        differences: [...(before?.differences ?? []), ...differences],
      });
    }
  }
  return found;
}

async function fetchMarks(question: MarksQuestion, abort: AbortSignal): Promise<ReadonlyMap<string, Marked>> {
  const answers = partsOf(question).map(({ client, screens, from, to }) => {
    const query = { client_id: client, screen_id: [...screens], from: String(from), to: String(to) };
    return dataOf(api.GET("/v1/ledger/marks", { params: { query }, signal: abort }));
  });
  return joined(await Promise.all(answers));
}

/** Marks by screen; `null` asks nothing. `version` is of the client's maps: with a new one they are asked for again. */
export function useMarks(question: MarksQuestion | null, version: number | undefined): Query<ReadonlyMap<string, Marked>> {
  const asked = question !== null && question.screens.length > 0 ? question : null;
  const key = asked === null ? null : `marks ${JSON.stringify([asked, version])}`;
  const nothing: ReadonlyMap<string, Marked> = new Map();
  return useQuery(key, async (abort) => (asked === null ? nothing : fetchMarks(asked, abort)), { keep: true, every: 60_000 });
}

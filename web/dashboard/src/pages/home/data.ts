/** What the overview asks for: activity of all clients at once, and what is on its way. */

import { fetchActivity, fetchFreshness } from "../../api/queries";
import { type Query, useQuery } from "../../api/query";
import type { Activity, ClientRow, Status } from "../../api/types";
import { DAY_MS, HOUR_MS } from "../../format";

export type Span = "24h" | "30d";

/** So many clients are added up; more are said to be left out. */
export const MOST_CLIENTS = 24;

/** Start and end of a span that reaches up to now; `nextHour` ends the current hour. */
export function edgesOf(span: Span, nextHour: number): { from: number; to: number; step: "hour" | "day" } {
  if (span === "24h") return { from: nextHour - 24 * HOUR_MS, to: nextHour, step: "hour" };
  const to = Math.ceil(nextHour / DAY_MS) * DAY_MS;
  return { from: to - 30 * DAY_MS, to, step: "day" };
}

/** The busiest clients, as many as are added up. */
export function busiest(clients: readonly ClientRow[]): readonly ClientRow[] {
  return clients.toSorted((a, b) => b.events - a.events).slice(0, MOST_CLIENTS);
}

export type Activities = ReadonlyMap<string, Activity>;

/** Activity of each of these clients. */
export function useActivities(clients: readonly ClientRow[] | undefined, span: Span, nextHour: number): Query<Activities> {
  const ids = clients?.map((client) => client.client_id) ?? [];
  const edges = edgesOf(span, nextHour);
  const key = ids.length === 0 ? null : `activities ${span} ${edges.to} ${ids.toSorted().join(" ")}`;
  const ask = async (abort: AbortSignal): Promise<Activities> => {
    const answers = await Promise.all(ids.map((client) => fetchActivity({ client, ...edges }, abort)));
    return new Map(answers.map((answer) => [answer.client_id, answer]));
  };
  return useQuery(key, ask, { every: 10_000, keep: true });
}

export interface Bar {
  readonly start: number;
  readonly end: number;
  /** Events of people. */
  readonly real: number;
  readonly simulated: number;
}

/** All clients' activity, step by step, people and simulation apart. */
export function barsOf(activities: Activities, clients: readonly ClientRow[]): readonly Bar[] {
  const simulated = new Set(clients.filter((client) => client.simulated).map((client) => client.client_id));
  const bars = new Map<number, Bar>();
  for (const [id, activity] of activities) {
    const length = activity.step === "day" ? DAY_MS : HOUR_MS;
    for (const { start, events } of activity.steps) {
      const at = Date.parse(start);
      const { real, simulated: made } = bars.get(at) ?? { real: 0, simulated: 0 };
      const counts = simulated.has(id) ? { real, simulated: made + events } : { real: real + events, simulated: made };
      bars.set(at, { start: at, end: at + length, ...counts });
    }
  }
  return [...bars.values()].toSorted((a, b) => a.start - b.start);
}

export interface Waiting {
  /** Events that were accepted and are in no map yet; null when it is only known that there are some. */
  readonly events: number | null;
  /** Age in milliseconds of what waits longest for the lake. */
  readonly oldest: number;
}

/** What is on its way to the maps; null when everything has arrived. */
export function useWaiting(status: Status | undefined, clients: readonly ClientRow[] | undefined): Waiting | null {
  const busy = status !== undefined && ((status.lander?.lag ?? 0) > 0 || (status.dirty["hour"] ?? 0) > 0);
  const ids = busiest(clients ?? []).map((client) => client.client_id);
  const ask = async (abort: AbortSignal): Promise<number> => {
    const answers = await Promise.all(ids.map((id) => fetchFreshness(id, abort)));
    return answers.reduce((sum, { waiting }) => sum + (waiting.lander ?? 0) + waiting.tiles, 0);
  };
  const { data } = useQuery(`waiting ${ids.join(" ")}`, ask, { every: 2000, enabled: busy && ids.length > 0 });
  if (!busy) return null;
  const known = data !== undefined && data > 0 && (clients?.length ?? 0) <= MOST_CLIENTS;
  return { events: known ? data : null, oldest: status.lander?.oldest_unlanded_ms ?? 0 };
}

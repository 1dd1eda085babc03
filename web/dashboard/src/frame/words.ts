/** How fresh the maps are, in words. */

import type { Freshness } from "../api/types";
import { ago, clockSeconds, MINUTE_MS, ms, plural } from "../format";

export interface Words {
  readonly short: string;
  readonly long: string;
  readonly tone: "ok" | "neutral" | "warn";
}

/** Events that were accepted and are in no map yet. */
export function waitingEvents(freshness: Freshness | undefined): number {
  return freshness ? (freshness.waiting.lander ?? 0) + freshness.waiting.tiles : 0;
}

/** While people are there, some events are always on their way; that is no news until the maps are so far behind. */
export const USUAL_LAG_MS = MINUTE_MS;

/** Whether the maps lag by more than they do in normal traffic. */
export function isBehind(freshness: Freshness): boolean {
  if (waitingEvents(freshness) === 0) return false;
  // Before anything was counted it is the last arrival that tells for how long something has waited at least.
  const since = freshness.tiled_until ?? freshness.last_received_at;
  return since !== null && ms(freshness.now) - ms(since) > USUAL_LAG_MS;
}

/** "Everything is in the maps", or how many events are on their way. */
export function freshnessWords(freshness: Freshness): Words {
  const { now, received, last_received_at: last, tiled_until: until } = freshness;
  const onTheirWay = waitingEvents(freshness);
  if (received === 0) {
    return { short: "No events yet", long: "This client has not sent an event yet.", tone: "neutral" };
  }
  if (onTheirWay > 0) {
    const mapped = until === null ? "" : ` The maps have everything received up to ${clockSeconds(ms(until))} UTC.`;
    return {
      short: `${plural(onTheirWay, "event")} on ${onTheirWay === 1 ? "its" : "their"} way`,
      long: `${plural(onTheirWay, "event")} received and not in the maps yet.${mapped}`,
      tone: isBehind(freshness) ? "warn" : "ok",
    };
  }
  const lastOne = last === null ? "" : ` The last event came ${ago(ms(last), ms(now))}.`;
  return { short: "Up to date", long: `Everything received is in the maps.${lastOne}`, tone: "ok" };
}

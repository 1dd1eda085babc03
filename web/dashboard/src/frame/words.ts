/** How fresh the maps are, in words. */

import type { Freshness } from "../api/types";
import { ago, clockSeconds, ms, plural } from "../format";

export interface Words {
  readonly short: string;
  readonly long: string;
  readonly tone: "ok" | "neutral" | "warn";
}

/** "Everything is in the maps", or how many events are on their way. */
export function freshnessWords({ now, received, last_received_at: last, tiled_until: until, waiting }: Freshness): Words {
  const onTheirWay = (waiting.lander ?? 0) + waiting.tiles;
  if (received === 0) {
    return { short: "No events yet", long: "This client has not sent an event yet.", tone: "neutral" };
  }
  if (onTheirWay > 0) {
    const mapped = until === null ? "" : ` The maps have everything received up to ${clockSeconds(ms(until))} UTC.`;
    return {
      short: `${plural(onTheirWay, "event")} on ${onTheirWay === 1 ? "its" : "their"} way`,
      long: `${plural(onTheirWay, "event")} received and not in the maps yet.${mapped}`,
      tone: "warn",
    };
  }
  const lastOne = last === null ? "" : ` The last event came ${ago(ms(last), ms(now))}.`;
  return { short: "Up to date", long: `Everything received is in the maps.${lastOne}`, tone: "ok" };
}

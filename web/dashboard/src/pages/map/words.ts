/** What the page says of how fresh and how whole a map is. */

import type { Freshness, ScreenRow } from "../../api/types";
import { clockSeconds, exact, ms } from "../../format";
import { isBehind, waitingEvents } from "../../frame/words";
import type { Shape } from "../../heat/types";
import type { Scene } from "./model";
import { contains } from "./time";

export interface Said {
  readonly tone: "ok" | "warn" | "neutral";
  readonly text: string;
  /** Events are on their way, as it should be. */
  readonly moving: boolean;
}

/** How far a client's events have come into the maps. */
export function freshnessSaid(freshness: Freshness | undefined): Said | null {
  if (!freshness) return null;
  const waiting = waitingEvents(freshness);
  const until = freshness.tiled_until === null ? null : clockSeconds(ms(freshness.tiled_until));
  if (freshness.received === 0) return { tone: "neutral", text: "No events received yet", moving: false };
  if (waiting === 0) return { tone: "ok", text: until === null ? "Up to date" : `Tiled up to ${until}, nothing on its way`, moving: false };
  const events = `${exact(waiting)} ${waiting === 1 ? "event" : "events"} on ${waiting === 1 ? "its" : "their"} way`;
  const tone = isBehind(freshness) ? "warn" : "ok";
  return { tone, text: until === null ? events : `Tiled up to ${until}, ${events}`, moving: true };
}

/** What the blank canvas is the shape of. */
export function canvasSaid(known: ScreenRow["shape"], { w, h }: Shape): string {
  if (known === null) return `The size of this screen is unknown: ${w} × ${h} px are assumed`;
  const size = `${w} × ${h} px (${known.device})`;
  if (known.source === "viewport") return `Blank canvas of the window, ${size}: the page did not say its length`;
  return known.source === "region" ? `Blank canvas of the region, ${size}` : `Blank canvas, ${size}`;
}

/** A screenshot of other proportions than the screen is stretched, and then heat and picture drift apart. */
export function stretchSaid(picture: Shape, known: ScreenRow["shape"]): string | null {
  if (known === null || known.source === "viewport") return null;
  const off = picture.h / picture.w / (known.h / known.w) - 1;
  if (Math.abs(off) < 0.03) return null;
  const percent = Math.round(Math.abs(off) * 100);
  return `It is ${percent} % ${off > 0 ? "longer" : "shorter"} than the screen and is stretched to fit: a screenshot of the whole page at ${known.w} px wide lies exactly.`;
}

/**
 * What a map does not hold yet, or cannot tell any more; null when it is whole. The running hour is counted again every
 * few seconds while people are there: that it waits is told by the freshness, unless it takes too long.
 */
export function wholenessSaid({ answer, range }: Scene, freshness: Freshness | undefined): string | null {
  const said: string[] = [];
  const running = freshness !== undefined && contains(range, ms(freshness.now)) && !isBehind(freshness);
  if (running && answer.pending <= 1 && !answer.stale) return null;
  if (answer.pending > (running ? 1 : 0)) {
    const hours = answer.pending === 1 ? "1 hour of this range waits" : `${exact(answer.pending)} hours of this range wait`;
    said.push(`${hours} to be counted again; until then the map is what it was before.`);
  }
  if (answer.stale) {
    said.push("Events came after the finer tiles of this range had expired: isotherm rollup rebuilds it from raw.");
  }
  if (said.length === 0 && !answer.complete) said.push("Not everything that landed is counted yet.");
  return said.length === 0 ? null : said.join(" ");
}

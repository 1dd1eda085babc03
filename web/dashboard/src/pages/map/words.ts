/** What the page says of how fresh and how whole a map is. */

import type { Freshness, ScreenRow } from "../../api/types";
import { clockSeconds, exact, ms } from "../../format";
import type { Shape } from "../../heat/types";
import type { Scene } from "./model";

export interface Said {
  readonly tone: "ok" | "warn" | "neutral";
  readonly text: string;
}

/** How far a client's events have come into the maps. */
export function freshnessSaid(freshness: Freshness | undefined): Said | null {
  if (!freshness) return null;
  const waiting = (freshness.waiting.lander ?? 0) + freshness.waiting.tiles;
  const until = freshness.tiled_until === null ? null : clockSeconds(ms(freshness.tiled_until));
  if (freshness.received === 0) return { tone: "neutral", text: "No events received yet" };
  if (waiting === 0) return { tone: "ok", text: until === null ? "Up to date" : `Tiled up to ${until}, nothing on its way` };
  const events = `${exact(waiting)} ${waiting === 1 ? "event" : "events"} on ${waiting === 1 ? "its" : "their"} way`;
  return { tone: "warn", text: until === null ? events : `Tiled up to ${until}, ${events}` };
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

/** What a map does not hold yet, or cannot tell any more; null when it is whole. */
export function wholenessSaid({ answer }: Scene): string | null {
  const said: string[] = [];
  if (answer.pending > 0) {
    const hours = answer.pending === 1 ? "1 hour of this range waits" : `${exact(answer.pending)} hours of this range wait`;
    said.push(`${hours} to be counted again; until then the map is what it was before.`);
  }
  if (answer.stale) {
    said.push("Events came after the finer tiles of this range had expired: isotherm rollup rebuilds it from raw.");
  }
  if (said.length === 0 && !answer.complete) said.push("Not everything that landed is counted yet.");
  return said.length === 0 ? null : said.join(" ");
}

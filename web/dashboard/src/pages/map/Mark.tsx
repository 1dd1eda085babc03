/** A small mark beside a map: whether it holds all there is, and what is not on it. It leads to the ledger. */

import { fetchLedger } from "../../api/queries";
import { useQuery } from "../../api/query";
import type { Ledger } from "../../api/types";
import { compact, plural } from "../../format";
import { Dot, type Tone } from "../../ui";
import { href } from "../../url";
import type { MapModel } from "./model";
import { isoHour } from "./time";

export interface Said {
  readonly tone: Tone;
  readonly short: string;
  readonly long: string;
}

type Facts = Pick<Ledger, "complete" | "late" | "rejected" | "pending" | "differences" | "events">;

const count = (events: number): string => plural(events, "event");

/** What the ledger says of a map in a few words, the most pressing first. */
export function markOf({ complete, late, rejected, pending, differences, events }: Facts): Said {
  const asides = [...(late > 0 ? [`${compact(late)} late`] : []), ...(rejected > 0 ? [`${compact(rejected)} rejected`] : [])];
  const dead = events.totals["dead"] ?? 0;
  const more = [
    ...(late > 0 ? [`${count(late)} came late and ${late === 1 ? "is" : "are"} on it.`] : []),
    ...(rejected > 0 ? [`${count(rejected)} ${rejected === 1 ? "was" : "were"} rejected at the door.`] : []),
  ];
  const told = (tone: Tone, first: string, long: string): Said => ({
    tone,
    short: [first, ...asides].join(" · "),
    long: [long, ...more].join(" "),
  });
  if (differences.length > 0) return told("bad", "Sums differ", "The ledger's sums do not close in this range: see the ledger.");
  if (pending > 0) return told("accent", `${compact(pending)} ${pending === 1 ? "waits" : "wait"} to be counted`, `${count(pending)} in the lake wait to be counted.`);
  if (dead > 0) return told("warn", plural(dead, "dead letter"), `${count(dead)} could not be used and ${dead === 1 ? "is" : "are"} kept as dead letters.`);
  if (!complete) return told("neutral", "Not complete", "Not everything is on this map yet.");
  return told("ok", "Complete", "Everything accepted for this map is on it.");
}

/** Asked for when the map is there, never before: a map is not to wait for its mark. */
export function LedgerMark({ model }: { readonly model: MapModel }) {
  const { client, screen, range, scene, freshness } = model;
  const shown = scene !== null && scene.screen === screen;
  const key = shown ? `ledger/mark ${JSON.stringify([client, screen, range.from, range.to, freshness?.version])}` : null;
  const question = { client, screen, ...range, hours: false };
  const { data } = useQuery(key, (abort) => fetchLedger(question, abort), { keep: true, every: 30_000 });
  if (data === undefined || data.screen_id !== screen) return null;
  const { tone, short, long } = markOf(data);
  const to = href.ledger(client, { screen, from: isoHour(range.from), to: isoHour(range.to) });
  return (
    <a class="map-mark tabular" href={to} title={`${long} Open the ledger.`} data-mark={tone}>
      <Dot tone={tone} />
      <span>{short}</span>
    </a>
  );
}

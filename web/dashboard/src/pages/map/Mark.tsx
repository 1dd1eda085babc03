/** A small mark beside a map: whether it holds all there is, and what is not on it. It leads to the ledger. */

import { fetchLedger } from "../../api/queries";
import { useQuery } from "../../api/query";
import { markOf, type Said } from "../../frame/mark";
import { Dot } from "../../ui";
import { href } from "../../url";
import type { MapModel } from "./model";
import { isoHour } from "./time";

/** Asked for when the map is there, never before: a map is not to wait for its mark. */
export function useMark(model: MapModel): Said | null {
  const { client, screen, range, scene, freshness } = model;
  const shown = scene !== null && scene.screen === screen;
  const key = shown ? `ledger/mark ${JSON.stringify([client, screen, range.from, range.to, freshness?.version])}` : null;
  const question = { client, screen, ...range, hours: false };
  const { data } = useQuery(key, (abort) => fetchLedger(question, abort), { keep: true, every: 30_000 });
  if (data === undefined || data.screen_id !== screen) return null;
  return markOf({ ...data, dead: data.events.totals["dead"] ?? 0 });
}

export function LedgerMark({ model, said }: { readonly model: MapModel; readonly said: Said | null }) {
  if (said === null) return null;
  const { client, screen, range } = model;
  const { tone, short, long } = said;
  const to = href.ledger(client, { screen, from: isoHour(range.from), to: isoHour(range.to) });
  return (
    <a class="map-mark tabular" href={to} title={`${long} Open the ledger.`} data-mark={tone}>
      <Dot tone={tone} />
      <span>{short}</span>
    </a>
  );
}

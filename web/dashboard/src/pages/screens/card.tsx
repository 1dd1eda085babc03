import type { Device, ScreenRow } from "../../api/types";
import { type MarkFacts, SmallMark } from "../../frame/mark";
import { ago, exact, instant, kinds, ms, share } from "../../format";
import { Count, Icon, ScreenName, Skeleton } from "../../ui";
import { href } from "../../url";
import { devicesOf, type Edges, type Period } from "./data";
import { Picture } from "./picture";

/** Kinds that fit on a card; the rest is counted together. */
const SHOWN = 3;

function Kinds({ types }: { readonly types: Readonly<Record<string, number>> }) {
  const all = Object.entries(types).toSorted(([, a], [, b]) => b - a);
  const title = all.map(([type, count]) => `${exact(count)} × ${type}`).join(", ");
  const rest = all.length - SHOWN;
  return (
    <span class="screen-kinds" title={title}>
      {all
        .slice(0, SHOWN)
        .map(([type, count]) => kinds(type, count))
        .join(" · ")}
      {rest > 0 && ` · ${rest} more`}
    </span>
  );
}

const NAMES: Readonly<Record<Device, string>> = { desktop: "desktop", tablet: "tablet", phone: "phone" };

function Devices({ row }: { readonly row: ScreenRow }) {
  const devices = devicesOf(row);
  const total = devices.reduce((sum, { events }) => sum + events, 0);
  return (
    <span class="screen-devices tabular">
      {devices.map(({ device, events }) => (
        <span key={device} title={`${share(events, total)} of all events came from a ${NAMES[device]}`}>
          <Icon name={device} size={16} />
          <span class="sr-only">{NAMES[device]} </span>
          {share(events, total)}
        </span>
      ))}
    </span>
  );
}

/** 2026-02-02T10:00Z */
function hour(at: number): string {
  return `${new Date(at).toISOString().slice(0, 16)}Z`;
}

/** What the map page is asked for, so that it opens on the same period. */
function queryOf(period: Period, edges: Edges | null): Record<string, string> {
  if (period === "7d" || edges === null) return {};
  return { from: hour(edges.from), to: hour(edges.to) };
}

export function ScreenCard({
  client,
  row,
  period,
  edges,
  now,
  mark,
}: {
  readonly client: string;
  readonly row: ScreenRow;
  readonly period: Period;
  readonly edges: Edges | null;
  readonly now: number;
  /** What the ledger says of the map; undefined until it has. */
  readonly mark: MarkFacts | undefined;
}) {
  const last = ms(row.last_event);
  return (
    <li class="screen-item">
      <a class="screen" href={href.map(client, row.screen_id, queryOf(period, edges))}>
        <Picture client={client} row={row} edges={edges} />
        {mark !== undefined && (
          <span class="screen-mark">
            <SmallMark facts={mark} />
          </span>
        )}
        <span class="screen-facts">
          <span class="screen-line">
            <span class="screen-id" title={row.screen_id}>
              <ScreenName id={row.screen_id} />
            </span>
            <span class="screen-events">
              <Count value={row.events} />
              <span class="sr-only"> events</span>
            </span>
          </span>
          <Kinds types={row.event_types} />
          <span class="screen-line screen-foot">
            <Devices row={row} />
            <time dateTime={row.last_event} title={instant(last)}>
              {ago(last, now)}
            </time>
          </span>
        </span>
      </a>
    </li>
  );
}

/** A card's own layout before its screen is known. */
export function CardSkeleton() {
  return (
    <li class="screen-item" aria-hidden="true">
      <span class="screen">
        <span class="picture">
          <Skeleton width="84%" height="100%" radius="6px 6px 0 0" />
        </span>
        <span class="screen-facts">
          <span class="screen-line">
            <Skeleton width="55%" height="1.25em" />
            <Skeleton width="12%" height="1.25em" />
          </span>
          <Skeleton width="75%" height="1.2em" />
          <span class="screen-line screen-foot">
            <Skeleton width="25%" height="1.2em" />
            <Skeleton width="20%" height="1.2em" />
          </span>
        </span>
      </span>
    </li>
  );
}

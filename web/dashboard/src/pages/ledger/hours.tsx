/** The sums of each hour as a table. */

import { useState } from "preact/hooks";

import type { Ledger, LedgerHour } from "../../api/types";
import { clock, exact, weekday } from "../../format";
import { Badge, Button, type Column, Table } from "../../ui";

/** One hour: what came in it, and what happened in it. */
export interface Row {
  readonly hour: number;
  readonly came: LedgerHour | undefined;
  readonly happened: LedgerHour | undefined;
}

const byHour = (hours: readonly LedgerHour[]): Map<number, LedgerHour> =>
  new Map(hours.map((one) => [Date.parse(String(one["hour"])), one]));

/** Hours in which anything came or happened, the newest first. */
export function rowsOf(ledger: Ledger): readonly Row[] {
  const [came, happened] = [byHour(ledger.receipt.hours), byHour(ledger.events.hours)];
  const hours = [...new Set([...came.keys(), ...happened.keys()])].toSorted((a, b) => b - a);
  return hours.map((hour) => ({ hour, came: came.get(hour), happened: happened.get(hour) }));
}

function figure(of: LedgerHour | undefined, measure: string) {
  const events = Number(of?.[measure] ?? 0);
  return events === 0 ? <span class="ledger-nought">0</span> : exact(events);
}

function State({ row }: { readonly row: Row }) {
  const state = row.happened?.["state"];
  if (state === "waiting") return <Badge tone="accent">waits</Badge>;
  if (state === "gone") return <Badge>expired</Badge>;
  return state === undefined ? null : <Badge>counted</Badge>;
}

const when = (at: number): string => `${weekday(at)}, ${clock(at)}`;

const came = (key: string, head: string): Column<Row> => ({ key, head, numeric: true, cell: (row) => figure(row.came, key) });
const happened = (key: string, head: string): Column<Row> => ({
  key: `happened ${key}`,
  head,
  numeric: true,
  cell: (row) => figure(row.happened, key),
});

const HOUR: Column<Row> = { key: "hour", head: "Hour (UTC)", cell: (row) => when(row.hour) };
const AT_THE_DOOR = [came("rejected", "Rejected"), came("duplicate", "Sent again")];
const ON_THE_MAPS = [
  happened("landed", "Landed"),
  happened("tiled", "On maps"),
  happened("no_position", "No place"),
  happened("late", "Late"),
  happened("pending", "Wait"),
  { key: "state", head: "Maps", cell: (row: Row) => <State row={row} /> },
];
const COLUMNS = [HOUR, came("received", "Received"), came("accepted", "Accepted"), ...AT_THE_DOOR, ...ON_THE_MAPS];
const OF_SCREEN = [HOUR, ...AT_THE_DOOR, ...ON_THE_MAPS];

const SHOWN = 24;

export function Hours({ ledger }: { readonly ledger: Ledger }) {
  const [all, setAll] = useState(false);
  const rows = rowsOf(ledger);
  const left = rows.length - SHOWN;
  return (
    <div class="ledger-table ledger-hours">
      <Table
        caption="Events by hour"
        hideCaption
        columns={ledger.screen_id === null ? COLUMNS : OF_SCREEN}
        rows={all ? rows : rows.slice(0, SHOWN)}
        rowKey={(row) => String(row.hour)}
      />
      {left > 0 && !all && (
        <div class="ledger-more">
          <Button onClick={() => setAll(true)}>Show {exact(left)} more hours</Button>
        </div>
      )}
    </div>
  );
}

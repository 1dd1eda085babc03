/** Four figures at one glance: what comes in, how fresh the maps are, the lake, and all of it. */

import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";

import type { ClientRow, Status } from "../../api/types";
import { bytes, duration, plural, rate } from "../../format";
import { USUAL_LAG_MS } from "../../frame/words";
import { Count, Dot, Skeleton } from "../../ui";
import { useWaiting } from "./data";
import { Pulse } from "./spark";

const PULSE = 45;

function Figure({
  label,
  value,
  says,
  extra,
}: {
  readonly label: string;
  readonly value: ComponentChildren;
  readonly says: ComponentChildren;
  readonly extra?: ComponentChildren;
}) {
  return (
    <div class="figure">
      <dt>{label}</dt>
      <dd>
        <span class="figure-value tabular">
          {value}
        </span>
        <span class="figure-says">{says}</span>
        {extra}
      </dd>
    </div>
  );
}

function usePulse(status: Status | undefined): readonly number[] {
  const [values, setValues] = useState<readonly number[]>([]);
  const now = status?.now;
  const perSecond = status?.intake?.events_per_second;
  useEffect(() => {
    if (now !== undefined && perSecond !== undefined) setValues((before) => [...before.slice(1 - PULSE), perSecond]);
  }, [now, perSecond]);
  return values;
}

function sizes(status: Status): { rows: number; bytes: number; files: number } {
  const total = { rows: 0, bytes: 0, files: 0 };
  for (const format of Object.values(status.lake)) {
    total.rows += format["rows"] ?? 0;
    total.bytes += format["bytes"] ?? 0;
    total.files += format["files"] ?? 0;
  }
  return total;
}

function Fresh({ status, clients }: { readonly status: Status; readonly clients: readonly ClientRow[] | undefined }) {
  const waiting = useWaiting(status, clients);
  if (waiting === null) {
    return (
      <Figure
        label="Maps"
        value={
          <span class="figure-state">
            <Dot tone="ok" /> Up to date
          </span>
        }
        says="Everything is in the maps"
      />
    );
  }
  const oldest = waiting.oldest > 0 ? `oldest ${duration(waiting.oldest)}` : "being counted now";
  return (
    <Figure
      label="Maps"
      value={
        <span class="figure-state">
          <Dot tone={waiting.oldest > USUAL_LAG_MS ? "warn" : "ok"} pulse={waiting.oldest <= USUAL_LAG_MS} /> {waiting.events === null ? "Catching up" : <Count value={waiting.events} />}
        </span>
      }
      says={waiting.events === null ? `Events are on their way, ${oldest}` : `${waiting.events === 1 ? "event" : "events"} on their way, ${oldest}`}
    />
  );
}

export function Figures({
  status,
  clients,
}: {
  readonly status: Status | undefined;
  readonly clients: readonly ClientRow[] | undefined;
}) {
  const pulse = usePulse(status);
  if (status === undefined || clients === undefined) return <FiguresSkeleton />;
  const perSecond = status.intake?.events_per_second ?? 0;
  const lake = sizes(status);
  const events = clients.reduce((sum, client) => sum + client.events, 0);
  const screens = clients.reduce((sum, client) => sum + client.screens, 0);
  return (
    <dl class="card figures">
      <Figure
        label="Events per second"
        value={rate(perSecond)}
        says={perSecond > 0 ? "Mean of the last ten seconds" : "Nothing in the last ten seconds"}
        extra={pulse.some((value) => value > 0) && <Pulse values={pulse} length={PULSE} />}
      />
      <Fresh status={status} clients={clients} />
      <Figure
        label="Lake"
        value={bytes(lake.bytes)}
        says={
          lake.rows === 0 ? "No events landed yet" : (
            <>
              <Count value={lake.rows} /> rows, {(lake.bytes / lake.rows).toFixed(1)} bytes each
            </>
          )
        }
      />
      <Figure
        label="All events"
        value={<Count value={events} />}
        says={`${plural(screens, "screen")}, ${plural(clients.length, "client")}`}
      />
    </dl>
  );
}

function FiguresSkeleton() {
  return (
    <div class="card figures" aria-hidden="true">
      {["Events per second", "Maps", "Lake", "All events"].map((label) => (
        <div key={label} class="figure">
          <span class="figure-label">{label}</span>
          <span class="figure-value">
            <Skeleton width="6ch" height="1.15em" />
          </span>
          <span class="figure-says">
            <Skeleton width="16ch" height="1em" />
          </span>
        </div>
      ))}
    </div>
  );
}

/** The clients: whose data is here, how much, and when it last came. */

import { useNow } from "../../api/now";
import type { ClientRow } from "../../api/types";
import { ago, instant, ms, plural } from "../../format";
import { Count, Icon, SimulatedBadge, Skeleton } from "../../ui";
import { href } from "../../url";
import type { Activities, Span } from "./data";
import { Spark } from "./spark";

function Row({
  client,
  values,
  now,
}: {
  readonly client: ClientRow;
  readonly values: readonly number[] | undefined;
  readonly now: number;
}) {
  const last = client.last_event === null ? null : ms(client.last_event);
  return (
    <li>
      <a class="client" href={href.screens(client.client_id)}>
        <span class="client-name">
          <span class="client-id">{client.client_id}</span>
          {client.simulated && <SimulatedBadge />}
        </span>
        <span class={`client-spark${client.simulated ? " client-spark-simulated" : ""}`}>
          {values !== undefined && <Spark values={values} />}
        </span>
        <span class="client-fact">
          <span class="client-figure">
            <Count value={client.screens} />
          </span>{" "}
          <span class="client-word">{client.screens === 1 ? "screen" : "screens"}</span>
        </span>
        <span class="client-fact">
          <span class="client-figure">
            <Count value={client.events} />
          </span>{" "}
          <span class="client-word">{client.events === 1 ? "event" : "events"}</span>
        </span>
        <span class="client-last" title={last === null ? undefined : instant(last)}>
          {last === null ? "no events in maps" : <time dateTime={client.last_event ?? ""}>{ago(last, now)}</time>}
        </span>
        <Icon name="chevronRight" size={16} />
      </a>
    </li>
  );
}

export function ClientList({
  clients,
  activities,
  span,
  more,
}: {
  readonly clients: readonly ClientRow[] | undefined;
  readonly activities: Activities | undefined;
  readonly span: Span;
  readonly more: boolean;
}) {
  const now = useNow(5000);
  const rows = clients?.toSorted((a, b) => Number(a.simulated) - Number(b.simulated) || b.events - a.events);
  return (
    <section class="card clients" aria-labelledby="clients-title">
      <header class="card-head">
        <h2 id="clients-title">Clients</h2>
        <p class="card-says">
          {rows !== undefined && `${plural(rows.length, "client")}${more ? " and more" : ""} · `}
          activity of {span === "24h" ? "24 hours" : "30 days"}
        </p>
      </header>
      <ul>
        {rows === undefined
          ? [0, 1].map((each) => (
              <li key={each} class="client">
                <Skeleton width="12ch" height="1.1em" />
                <Skeleton width="100%" height="28px" />
                <Skeleton width="8ch" />
                <Skeleton width="8ch" />
                <Skeleton width="8ch" />
              </li>
            ))
          : rows.map((client) => (
              <Row
                key={client.client_id}
                client={client}
                now={now}
                values={activities?.get(client.client_id)?.steps.map((step) => step.events)}
              />
            ))}
      </ul>
    </section>
  );
}

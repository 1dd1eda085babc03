/** The overview: one glance says whether all is well and where the heat is. */

import { useNextHour } from "../../api/now";
import { useClients, useStatus } from "../../api/queries";
import { ErrorNote, Loading, Page, Segmented } from "../../ui";
import { oneOf, useSearch } from "../../url";
import { EventsChart } from "./chart";
import { ClientList } from "./clients";
import { barsOf, busiest, MOST_CLIENTS, type Span, useActivities } from "./data";
import { Figures } from "./figures";
import { FirstSteps } from "./first";
import "./home.css";

const SPEC = { span: oneOf(["24h", "30d"], "24h") };
const SPANS = [
  { value: "24h", label: "24 hours" },
  { value: "30d", label: "30 days" },
] as const;

export function HomePage() {
  const [{ span }, setSearch] = useSearch(SPEC);
  const status = useStatus();
  const clients = useClients(5000);
  const rows = clients.data?.clients;
  const counted = rows === undefined ? undefined : busiest(rows);
  const activities = useActivities(counted, span, useNextHour());
  if (clients.error !== undefined && rows === undefined) {
    return (
      <Page title="Overview">
        <ErrorNote error={clients.error} onRetry={clients.refetch} />
      </Page>
    );
  }
  if (rows?.length === 0) {
    return (
      <Page title="Overview" heading="Waiting for the first event" lead="Isotherm is running. Nothing has been sent to it yet.">
        <FirstSteps />
      </Page>
    );
  }
  const left = (rows?.length ?? 0) - MOST_CLIENTS;
  return (
    <Page title="Overview">
      {rows === undefined && <Loading what="the overview" />}
      <div class="home">
        <Figures status={status.data} clients={rows} />
        {activities.error !== undefined && activities.data === undefined ? (
          <ErrorNote error={activities.error} onRetry={activities.refetch} />
        ) : (
          <EventsChart
            bars={activities.data === undefined ? undefined : barsOf(activities.data, rows ?? [])}
            stale={activities.stale}
            controls={
              <Segmented<Span> label="Span" value={span} options={SPANS} onChange={(next) => setSearch({ span: next })} />
            }
            note={left > 0 ? `The ${MOST_CLIENTS} busiest clients are added up; ${left} more are not.` : undefined}
          />
        )}
        <ClientList
          clients={rows}
          activities={activities.data}
          span={span}
          more={clients.data !== undefined && clients.data.next_cursor !== null}
        />
      </div>
    </Page>
  );
}

/** Waits for the first event of a client and says when it is there. */

import { useNow } from "../../api/now";
import { useFreshness } from "../../api/queries";
import { ago, clockSeconds, ms } from "../../format";
import { Button, Count, Dot, ErrorNote, Icon } from "../../ui";
import { href } from "../../url";

export function Live({ client }: { readonly client: string | null }) {
  const { data, error, refetch } = useFreshness(client);
  const now = useNow();
  if (client === null) {
    return (
      <section class="card live-panel" aria-live="polite">
        <Dot tone="neutral" />
        <h2>Nothing to wait for yet</h2>
        <p>Choose a client id: this panel then waits for its first event.</p>
      </section>
    );
  }
  if (error !== undefined && data === undefined) return <ErrorNote error={error} onRetry={refetch} />;
  if (data === undefined || data.received === 0) {
    return (
      <section class="card live-panel" data-state="waiting" aria-live="polite">
        <Dot tone="accent" pulse />
        <h2>Waiting for the first event of {client}</h2>
        <p>Put the snippet on a page, open the page and move the mouse. This panel looks every two seconds.</p>
      </section>
    );
  }
  const last = data.last_received_at === null ? null : ms(data.last_received_at);
  return (
    <section class="card live-panel live-panel-ok" data-state="received" aria-live="polite">
      <span class="live-check">
        <Icon name="check" size={16} />
      </span>
      <h2>{client} is sending</h2>
      <p>
        <Count value={data.received} /> {data.received === 1 ? "event" : "events"} received
        {last !== null && (
          <>
            , the last at <time dateTime={data.last_received_at ?? ""}>{clockSeconds(last)} UTC</time> ({ago(last, now)})
          </>
        )}
        .
      </p>
      <Button variant="primary" iconAfter="arrowRight" href={href.screens(client)}>
        See its screens
      </Button>
    </section>
  );
}

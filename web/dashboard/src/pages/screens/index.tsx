/** A client's screens as a gallery of their heat. */

import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import { offline, ProblemError } from "../../api/client";
import { useMarks } from "../../api/marks";
import { useNextHour, useNow } from "../../api/now";
import { useFreshness } from "../../api/queries";
import type { Query } from "../../api/query";
import type { Freshness } from "../../api/types";
import { exact } from "../../format";
import { freshnessWords } from "../../frame/words";
import { Button, Dot, EmptyState, ErrorNote, Loading, Page, SimulatedBadge } from "../../ui";
import { href, oneOf, text, useSearch } from "../../url";
import { CardSkeleton, ScreenCard } from "./card";
import { edgesOf, type Listed, MOST_SORTED, PAGE, sorted, useScreens } from "./data";
import { Toolbar } from "./toolbar";
import "./screens.css";

const SPEC = {
  q: text(),
  period: oneOf(["24h", "7d", "30d", "all"], "7d"),
  sort: oneOf(["events", "latest", "name"], "events"),
};

/** Ask again when a map of the client has changed, rather than every so often. */
function useRenewal(freshness: Freshness | undefined, refetch: () => void): void {
  const version = freshness?.version;
  const seen = useRef(version);
  useEffect(() => {
    if (seen.current !== undefined && version !== undefined && version !== seen.current) refetch();
    seen.current = version ?? seen.current;
  }, [version, refetch]);
}

function Lead({ freshness }: { readonly freshness: Query<Freshness> }) {
  if (freshness.data === undefined) return <span class="fresh">&nbsp;</span>;
  const { long, tone } = freshnessWords(freshness.data);
  return (
    <span class="fresh">
      <Dot tone={offline.value ? "neutral" : tone} /> {long}
    </span>
  );
}

export function ScreensPage({ client }: { readonly client: string }) {
  const [search, setSearch] = useSearch(SPEC);
  const { q, period, sort } = search;
  const asked = `${client} ${q} ${period} ${sort}`;
  const [open, setOpen] = useState({ asked, pages: 1 });
  const pages = open.asked === asked ? open.pages : 1;
  const freshness = useFreshness(client);
  // A client without maps would be answered by 404: that is known before it is asked.
  const mapped = freshness.data === undefined ? freshness.error !== undefined : freshness.data.version > 0;
  const listed = useScreens({ client, q, edges: edgesOf(period, useNextHour()), sort, pages }, mapped);
  useRenewal(freshness.data, listed.refetch);
  const simulated = freshness.data?.simulated === true;
  const refused = listed.error instanceof ProblemError && listed.error.status === 404;
  const unknown = refused || (freshness.data !== undefined && !mapped);
  return (
    <Page
      title={`Screens of ${client}`}
      heading={
        <>
          <span class="sr-only">Screens of </span>
          {client}
          {simulated && <SimulatedBadge />}
        </>
      }
      lead={<Lead freshness={freshness} />}
    >
      {unknown ? (
        <Unknown client={client} received={freshness.data?.received ?? 0} />
      ) : (
        <>
          <Toolbar {...search} onChange={setSearch} />
          <Gallery client={client} listed={listed} search={search} pages={pages} version={freshness.data?.version}>
            <Nothing client={client} search={search} onChange={setSearch} />
          </Gallery>
          <More
            listed={listed}
            byEvents={sort === "events"}
            shown={pages * PAGE}
            onMore={() => setOpen({ asked, pages: pages + 1 })}
          />
        </>
      )}
    </Page>
  );
}

type Search = Parameters<typeof Toolbar>[0] extends infer T ? Omit<T, "onChange"> : never;

function Gallery({
  client,
  listed,
  search,
  pages,
  version,
  children,
}: {
  readonly client: string;
  readonly listed: Query<Listed>;
  readonly search: Search;
  readonly pages: number;
  readonly version: number | undefined;
  readonly children: ComponentChildren;
}) {
  const now = useNow(10_000);
  const shown = sorted(listed.data?.rows ?? [], search.sort).slice(0, pages * PAGE);
  // Sorted, so that another order is no other question.
  const screens = shown.map((row) => row.screen_id).toSorted();
  const range = listed.data?.edges ?? null;
  const marks = useMarks(range === null ? null : { client, screens, ...range }, version);
  if (listed.error !== undefined && listed.data === undefined) {
    return <ErrorNote error={listed.error} onRetry={listed.refetch} />;
  }
  if (listed.data === undefined) {
    return (
      <>
        <Loading what="screens" />
        <ul class="gallery">
          {[0, 1, 2, 3, 4, 5].map((each) => (
            <CardSkeleton key={each} />
          ))}
        </ul>
      </>
    );
  }
  const { rows, edges } = listed.data;
  if (rows.length === 0) return <>{children}</>;
  return (
    <>
      <p class="sr-only" role="status">
        {exact(shown.length)} screens shown
      </p>
      <ul class={`gallery${listed.stale ? " gallery-stale" : ""}`}>
        {shown.map((row) => (
          <ScreenCard key={row.screen_id} client={client} row={row} period={search.period} edges={edges} now={now} mark={marks.data?.get(row.screen_id)} />
        ))}
      </ul>
    </>
  );
}

function More({
  listed,
  byEvents,
  shown,
  onMore,
}: {
  readonly listed: Query<Listed>;
  readonly byEvents: boolean;
  readonly shown: number;
  readonly onMore: () => void;
}) {
  const { data } = listed;
  if (data === undefined) return null;
  const more = byEvents ? data.more : data.rows.length > shown;
  return (
    <div class="more">
      {more && (
        <Button onClick={onMore} disabled={listed.stale}>
          {listed.stale ? "Loading…" : "Show more screens"}
        </Button>
      )}
      {!byEvents && data.more && (
        <p class="more-note">Sorted among the {exact(MOST_SORTED)} screens with most events; search finds the others.</p>
      )}
    </div>
  );
}

const PERIOD_WORDS = { "24h": "the last 24 hours", "7d": "the last 7 days", "30d": "the last 30 days", all: "all time" };

function Nothing({
  client,
  search,
  onChange,
}: {
  readonly client: string;
  readonly search: Search;
  readonly onChange: (patch: { q?: string; period?: "all" }) => void;
}) {
  if (search.q !== "") {
    return (
      <EmptyState
        title={`No screen matches “${search.q}”`}
        icon="search"
        actions={
          <>
            <Button variant="primary" onClick={() => onChange({ q: "" })}>
              Clear the search
            </Button>
            {search.period !== "all" && <Button onClick={() => onChange({ period: "all" })}>Search all time</Button>}
          </>
        }
      >
        <p>The search looks for a part of the screen’s name, in {PERIOD_WORDS[search.period]}.</p>
      </EmptyState>
    );
  }
  if (search.period !== "all") {
    return (
      <EmptyState
        title={`No events in ${PERIOD_WORDS[search.period]}`}
        icon="clock"
        actions={
          <Button variant="primary" onClick={() => onChange({ period: "all" })}>
            Show all time
          </Button>
        }
      >
        <p>Nobody was seen on a screen of {client} in this period, or its first events are still on their way.</p>
      </EmptyState>
    );
  }
  return <Unknown client={client} received={1} />;
}

function Unknown({ client, received }: { readonly client: string; readonly received: number }) {
  if (received > 0) {
    return (
      <EmptyState title="The first events are on their way" icon="clock">
        <p>They are safe on disk and will be here in some seconds. This page looks again by itself.</p>
      </EmptyState>
    );
  }
  return (
    <EmptyState
      title={`Nothing has come from ${client} yet`}
      icon="code"
      actions={
        <>
          <Button variant="primary" iconAfter="arrowRight" href={href.setup(client)}>
            Get its snippet
          </Button>
          <Button href={href.home()}>All clients</Button>
        </>
      }
    >
      <p>Put the snippet on a page, or check that the client’s name is the one in the snippet.</p>
    </EmptyState>
  );
}

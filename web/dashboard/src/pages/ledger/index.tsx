/** What became of every event of a client: the flow from browser to cell, whether its sums close, and each hour. */

import { useId, useState } from "preact/hooks";

import { ProblemError } from "../../api/client";
import { useNextHour } from "../../api/now";
import { fetchLedger } from "../../api/queries";
import { type Query, useQuery } from "../../api/query";
import type { Ledger } from "../../api/types";
import { exact, range as rangeWords, screenWords } from "../../format";
import { Button, type Column, EmptyState, ErrorNote, Icon, IconButton, Loading, Page, Segmented, SimulatedBadge, Skeleton, Table } from "../../ui";
import { href, useSearch } from "../../url";
import { type Flow, flowOf, isEmpty, type Loss, MOST_REASONS, of, reasonsOf, shareWords, type Stage, verdictOf } from "./flow";
import { Hours } from "./hours";
import { FlowPicture } from "./picture";
import { fixedOf, followed, neighbour, type Period, type Range, SPEC } from "./range";
import "./ledger.css";

const PERIODS = [
  { value: "24h", label: "24 h" },
  { value: "7d", label: "7 d" },
  { value: "30d", label: "30 d" },
  { value: "365d", label: "1 year" },
] as const;

/** Sums move as events come: asked for again this often. */
const EVERY = 10_000;

export function LedgerPage({ client }: { readonly client: string }) {
  const [search, set] = useSearch(SPEC);
  const nextHour = useNextHour();
  const fixed = fixedOf(search);
  const range = fixed ?? followed(search.period, nextHour);
  const screen = search.screen === "" ? null : search.screen;
  const question = { client, screen, ...range, hours: true };
  const ledger = useQuery(`ledger ${JSON.stringify(question)}`, (abort) => fetchLedger(question, abort), { every: EVERY, keep: true });
  const move = (to: Range | null): void => set(to ?? { from: null, to: null }, "push");
  return (
    <Page
      title={`Ledger of ${client}`}
      heading={
        <>
          <span>Ledger of {client}</span>
          {client.endsWith("-simulated") && <SimulatedBadge />}
        </>
      }
      lead="What became of every event, from the browser to the cell."
    >
      <div class="ledger">
        <div class="ledger-tools">
          {fixed === null ? (
            <Segmented<Period> label="Period" value={search.period} options={PERIODS} onChange={(period) => set({ period })} />
          ) : (
            <div class="ledger-range">
              <IconButton label="The range before" icon="chevronLeft" onClick={() => move(neighbour(fixed, -1))} />
              <IconButton label="The range after" icon="chevronRight" onClick={() => move(neighbour(fixed, 1))} />
              <Button icon="reset" onClick={() => move(null)}>
                Follow the clock
              </Button>
            </div>
          )}
          <span class="ledger-when">{rangeWords(range.from, range.to)}</span>
          {screen !== null && (
            <span class="ledger-screen">
              <span>
                Only <strong>{screenWords(screen)}</strong>
              </span>
              <Button icon="close" onClick={() => set({ screen: "" }, "push")}>
                All screens
              </Button>
            </span>
          )}
        </div>
        <Body client={client} ledger={ledger} fixed={fixed} onPeriod={() => set({ from: null, to: null, period: "365d" }, "push")} />
      </div>
    </Page>
  );
}

interface BodyProps {
  readonly client: string;
  readonly ledger: Query<Ledger>;
  readonly fixed: Range | null;
  onPeriod(): void;
}

function Body({ client, ledger, fixed, onPeriod }: BodyProps) {
  const { data, error } = ledger;
  if (error instanceof ProblemError && error.status === 404) return <Nothing client={client} />;
  if (error !== undefined && data === undefined) return <ErrorNote error={error} onRetry={ledger.refetch} />;
  if (data === undefined) {
    return (
      <>
        <Loading what="the ledger" />
        <div class="card ledger-wait" aria-hidden="true">
          <Skeleton width="24ch" height="1.4em" />
          <Skeleton height="260px" radius="var(--radius-sm)" />
        </div>
      </>
    );
  }
  if (isEmpty(data)) {
    return (
      <EmptyState
        title="Nothing came in this range"
        icon="clock"
        actions={
          <Button variant="primary" onClick={onPeriod}>
            {fixed === null ? "Look at a year" : "Look at the last year"}
          </Button>
        }
      >
        <p>
          Here every event is followed from the page that sent it to the cell it is counted in, and whatever does not get there
          has a name: rejected with its reason, sent twice, without a place, or still on its way.
        </p>
      </EmptyState>
    );
  }
  return <Found ledger={data} stale={ledger.stale} />;
}

function Nothing({ client }: { readonly client: string }) {
  return (
    <EmptyState
      title={`Nothing of ${client} has landed yet`}
      icon="layers"
      actions={
        <>
          <Button variant="primary" iconAfter="arrowRight" href={href.setup(client)}>
            Get its snippet
          </Button>
          <Button href={href.home()}>All clients</Button>
        </>
      }
    >
      <p>
        With its first event this page shows the way of each from the browser to the map: what was sent, received, accepted,
        landed and counted, and by name what was lost on the way. The sums must close in every hour.
      </p>
    </EmptyState>
  );
}

type View = "picture" | "table";
const VIEWS = [
  { value: "picture", label: "Picture", icon: "bars" },
  { value: "table", label: "Table", icon: "table" },
] as const;

function Found({ ledger, stale }: { readonly ledger: Ledger; readonly stale: boolean }) {
  const [view, setView] = useState<View>("picture");
  const [flowId, hoursId] = [useId(), useId()];
  const flow = flowOf(ledger);
  return (
    <div class={`ledger${stale ? " is-stale" : ""}`}>
      <VerdictCard ledger={ledger} />
      <section class="card" aria-labelledby={flowId}>
        <header class="card-head">
          <h2 id={flowId}>From browser to cell</h2>
          <div class="card-controls">
            <Segmented<View> label="Show as" value={view} options={VIEWS} onChange={setView} iconsOnly />
          </div>
        </header>
        {view === "picture" ? (
          <div class="ledger-picture">
            <FlowPicture flow={flow} />
          </div>
        ) : (
          <FlowTable flow={flow} />
        )}
        <Reasons ledger={ledger} />
      </section>
      <section class="card" aria-labelledby={hoursId}>
        <header class="card-head">
          <div>
            <h2 id={hoursId}>By hour</h2>
            <p class="card-says">
              {ledger.screen_id === null
                ? "Received to sent again by the hour in which events came, landed to wait by the hour in which they happened."
                : "Rejected and sent again by the hour in which events came, the others by the hour in which they happened."}
            </p>
          </div>
        </header>
        <Hours ledger={ledger} />
      </section>
    </div>
  );
}

function VerdictCard({ ledger }: { readonly ledger: Ledger }) {
  const { closes, title, text } = verdictOf(ledger);
  return (
    <section class={`card ledger-verdict${closes ? "" : " ledger-differs"}`} role="status" data-closes={closes}>
      <Icon name={closes ? "check" : "warning"} size={22} />
      <div>
        <h2>{title}</h2>
        <p>{text}</p>
        {!closes && (
          <ul>
            {ledger.differences.map((difference) => (
              <li key={difference}>{difference}</li>
            ))}
          </ul>
        )}
      </div>
    </section>
  );
}

interface Line {
  readonly part: Stage | Loss;
  readonly branch: boolean;
}

const FATES = { waiting: "waits", kept: "kept, on no map", gone: "not here" } as const;

/** Stages with what leaves them below, also what was none. */
function linesOf(flow: Flow): readonly Line[] {
  return flow.stages.flatMap((stage, index) => [
    { part: stage, branch: false },
    ...flow.losses.filter((loss) => loss.after === index).map((loss) => ({ part: loss, branch: true })),
  ]);
}

function FlowTable({ flow }: { readonly flow: Flow }) {
  const columns: readonly Column<Line>[] = [
    { key: "what", head: "What", cell: ({ part, branch }) => <span class={branch ? "ledger-branch" : "ledger-stage"}>{part.label}</span> },
    { key: "events", head: "Events", numeric: true, cell: ({ part }) => exact(part.events) },
    { key: "share", head: "Share", numeric: true, cell: ({ part }) => shareWords(flow, part) },
    { key: "fate", head: "Where", cell: ({ part }) => ("fate" in part ? FATES[part.fate] : "") },
    { key: "says", head: "Meaning", cell: ({ part }) => <span class="ledger-meaning">{part.says}</span> },
  ];
  return (
    <div class="ledger-table">
      <Table caption="From browser to cell" hideCaption columns={columns} rows={linesOf(flow)} rowKey={({ part }) => part.key} />
    </div>
  );
}

/** All reasons, where the picture has not room for each; and what the door knows of one screen. */
function Reasons({ ledger }: { readonly ledger: Ledger }) {
  const { totals, sender_dropped: dropped } = ledger.receipt;
  const said: string[] = [];
  const reasons = reasonsOf(ledger);
  if (reasons.length > MOST_REASONS) said.push(`Rejected: ${reasons.map(([words, events]) => `${exact(events)} ${words}`).join(", ")}.`);
  if (ledger.screen_id !== null) {
    said.push(`At the door in these hours: ${exact(of(totals, "rejected"))} rejected, ${exact(of(totals, "duplicate"))} sent again.`);
  }
  const own = Object.entries(dropped).filter(([, events]) => events > 0);
  if (own.length > 0) {
    const words = own.map(([reason, events]) => `${exact(events)} ${reason.replaceAll("_", " ")}`).join(", ");
    said.push(`Senders say that they dropped themselves, outside these sums: ${words}.`);
  }
  if (said.length === 0) return null;
  return <p class="ledger-reasons">{said.join(" ")}</p>;
}

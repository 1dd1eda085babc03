/** What stands over the stage when there is no map to see: why, and the next thing to do. */

import type { ComponentChildren } from "preact";

import { exact, screenParts } from "../../format";
import { waitingEvents } from "../../frame/words";
import { href } from "../../url";
import { Button, ErrorNote } from "../../ui";
import { kindName, kindWords } from "./Panel";
import { type MapModel, isUnknown, offeredRange } from "./model";
import { nearestWithEvents } from "./strip";
import { type Range, contains, rangeText } from "./time";
import type { StripModel } from "./useStrip";
import { patchOf } from "./state";

export interface NoticeProps {
  readonly model: MapModel;
  readonly strip: StripModel;
  /** A time-lapse is on: an empty frame is no empty map. */
  readonly playing: boolean;
}

export function Notice({ model, strip, playing }: NoticeProps) {
  const { heat, scene, row } = model;
  const error = heat.error ?? row.error;
  if (error !== undefined) {
    const offer = offeredRange(error);
    if (offer) return <Expired model={model} offer={offer} />;
    if (isUnknown(error)) return isFirst(model) ? <OnTheirWay model={model} /> : <Unknown model={model} />;
    // With a map in sight an error that passes is told by the frame.
    if (heat.data !== undefined) return null;
    return (
      <Card>
        <ErrorNote error={error} onRetry={model.refetch} />
      </Card>
    );
  }
  if (scene === null || heat.stale || playing || scene.map.total > 0) return null;
  return <Empty model={model} strip={strip} />;
}

/** Nothing of this client is counted yet, and something is on its way: what comes is what is waited for. */
function isFirst({ freshness }: MapModel): boolean {
  return freshness !== undefined && freshness.version === 0 && waitingEvents(freshness) > 0;
}

function Card({ children }: { readonly children: ComponentChildren }) {
  return (
    <div class="notice">
      <div class="notice-card">{children}</div>
    </div>
  );
}

function OnTheirWay({ model }: { readonly model: MapModel }) {
  const waiting = waitingEvents(model.freshness);
  return (
    <Card>
      <h2>
        {exact(waiting)} {waiting === 1 ? "event is" : "events are"} on {waiting === 1 ? "its" : "their"} way
      </h2>
      <p role="status">The map appears by itself in a few seconds. Each event is on disk already; it is being counted.</p>
      <progress aria-label="Waiting for the events to be counted" />
    </Card>
  );
}

/** The demo shop's pages, whose maps are looked for before anybody moved in them. */
const DEMO = { client: "demo", folder: "/demo/" };

function Unknown({ model }: { readonly model: MapModel }) {
  const waiting = waitingEvents(model.freshness);
  if (model.client === DEMO.client && model.screen.startsWith(DEMO.folder)) return <Untouched model={model} />;
  return (
    <Card>
      <h2>No such screen here</h2>
      <p>
        Isotherm has never counted an event of <strong>{model.screen}</strong> for <strong>{model.client}</strong>. A screen
        appears with its first event, under the name that the page sends.
      </p>
      {waiting > 0 && (
        <p role="status">
          {exact(waiting)} events of {model.client} are on their way; if this screen is among them, it appears by itself.
        </p>
      )}
      <div class="notice-actions">
        <Button variant="primary" href={href.screens(model.client)}>
          All screens of {model.client}
        </Button>
        <Button href={href.setup(model.client)}>Set up a page</Button>
      </div>
    </Card>
  );
}

function Untouched({ model }: { readonly model: MapModel }) {
  return (
    <Card>
      <h2>Your heat goes here</h2>
      <p>
        Nobody has moved on this page of the demo shop yet. Open it beside this window, move the mouse and click: the
        map appears here within seconds, by itself.
      </p>
      <div class="notice-actions">
        <Button variant="primary" iconAfter="external" href={screenParts(model.screen).name}>
          Open the shop
        </Button>
        <Button href={href.screens("demo-simulated")}>See simulated visitors</Button>
      </div>
    </Card>
  );
}

function Expired({ model, offer }: { readonly model: MapModel; readonly offer: Range }) {
  return (
    <Card>
      <h2>The tiles of this range have expired</h2>
      <p>
        Hours are kept for a while, then only the days and weeks they add up to. This is the nearest range that can still be
        counted exactly:
      </p>
      <div class="notice-actions">
        <Button variant="primary" onClick={() => model.set(patchOf(offer), "push")}>
          Show {rangeText(offer)}
        </Button>
      </div>
    </Card>
  );
}

function Empty({ model, strip }: { readonly model: MapModel; readonly strip: StripModel }) {
  const { kinds, range, counts, now } = model;
  const here = Object.entries(counts.data?.event_types ?? {}).toSorted(([, a], [, b]) => b - a);
  const withoutPlace = here.filter(([kind]) => kinds.includes(kind)).reduce((sum, [, events]) => sum + events, 0);
  const others = here.filter(([kind, events]) => !kinds.includes(kind) && events > 0 && kind !== "pageview");
  const nearest = nearestRange(model, strip);
  const waiting = contains(range, now) ? waitingEvents(model.freshness) : 0;
  return (
    <Card>
      <h2>{withoutPlace > 0 ? "These events have no place" : `No ${kindWords(kinds).toLowerCase()} in this range`}</h2>
      <p>
        {withoutPlace > 0
          ? `${exact(withoutPlace)} events were counted, but they carry no position, so there is nothing to draw.`
          : `Nothing was recorded on this screen, ${rangeText(range)} (UTC).`}
        {waiting > 0 ? ` ${exact(waiting)} events of this client are on their way.` : ""}
      </p>
      <div class="notice-actions">
        {nearest && withoutPlace === 0 && (
          <Button variant="primary" onClick={() => model.set(patchOf(nearest), "push")}>
            Go to {rangeText(nearest)}
          </Button>
        )}
        {others.slice(0, 2).map(([kind, events]) => (
          <Button key={kind} onClick={() => model.set({ kind: [kind] }, "push")}>
            Show {kindName(kind).toLowerCase()} ({exact(events)})
          </Button>
        ))}
      </div>
    </Card>
  );
}

/** The nearest range with events: from the strip's fine steps, else from all time; null until both are known. */
function nearestRange(model: MapModel, strip: StripModel): Range | null {
  // All time comes first, and in weeks: an hour that is offered later would be another button under the same finger.
  if (strip.loading) return null;
  const fine = strip.steps.steps.some((step) => step.events > 0) ? strip.steps : model.history;
  return fine ? nearestWithEvents(fine.steps, fine.step, model.range) : null;
}

/** Above the strip: which range, its period, steps to its neighbours, zoom, and the time-lapse. */

import { useState } from "preact/hooks";

import { exact, plural } from "../../format";
import { Button, IconButton, Popover, Segmented } from "../../ui";
import { Glyph } from "./glyphs";
import type { MapModel } from "./model";
import type { When } from "./state";
import {
  DAY,
  type Follow,
  HOUR,
  type Period,
  type Range,
  type Unit,
  contains,
  floorTo,
  followed,
  isoHour,
  lengthText,
  neighbour,
  periodOf,
  rangeText,
  sameRange,
  unitAt,
  wholeHours,
} from "./time";
import type { StripModel } from "./useStrip";

export interface StripBarProps {
  readonly model: MapModel;
  readonly strip: StripModel;
  readonly onPlay: () => void;
  onWhen(when: When): void;
}

const PERIODS = [
  { value: "hour", label: "Hour" },
  { value: "day", label: "Day" },
  { value: "week", label: "Week" },
  { value: "range", label: "Range" },
] as const;

export function StripBar({ model, strip, onPlay, onWhen }: StripBarProps) {
  const { range, when, now, limits } = model;
  const period = periodOf(range);
  const live = followOf(when, range, now);
  const back = neighbour(range, -1);
  const forth = neighbour(range, 1);
  return (
    <div class="strip-bar">
      <div class="strip-when">
        <IconButton label="Earlier" icon="chevronLeft" tip="above" onClick={() => onWhen(back)} disabled={back.to <= limits.from} />
        <RangePicker model={model} strip={strip} onWhen={onWhen} />
        <IconButton label="Later" icon="chevronRight" tip="above" onClick={() => onWhen(forth)} disabled={forth.from > now} />
        <button
          type="button"
          class={`now-button${live === null ? "" : " now-on"}`}
          aria-pressed={live !== null}
          onClick={() => onWhen(live === null ? nowOf(period) : range)}
          title={live === null ? "Follow the running hour, day or week" : "It follows the clock; press to stop here"}
        >
          <span class="now-dot" aria-hidden="true" />
          Now
        </button>
      </div>
      <Segmented
        label="Period"
        value={period}
        options={PERIODS}
        onChange={(next: Period) => onWhen(changed(next, model, strip))}
      />
      <div class="strip-tools">
        <Button small icon="play" onClick={onPlay} disabled={range.to - range.from <= HOUR}>
          Time-lapse
        </Button>
        <span class="strip-zoom" role="group" aria-label="Zoom of the time strip">
          <IconButton label="Zoom out of time" icon="minus" tip="above" onClick={() => strip.zoom(2)} disabled={sameRange(strip.view, limits)} />
          <IconButton label="Zoom into time" icon="plus" tip="above" onClick={() => strip.zoom(0.5)} disabled={strip.view.to - strip.view.from <= 8 * HOUR} />
          <button type="button" class="icon-button" aria-label="Show all time" data-tip="Show all time" data-tip-side="above" onClick={strip.showAll} disabled={sameRange(strip.view, limits)}>
            <Glyph name="span" />
          </button>
        </span>
      </div>
    </div>
  );
}

/** What the range follows: what the address says, or nothing. */
function followOf(when: When, range: Range, now: number): Follow | null {
  return typeof when === "string" && contains(range, now) ? when : null;
}

function nowOf(period: Period): Follow {
  return period === "range" ? "hour" : period;
}

/** Another period in place of this range: around its latest events, or the clock where the range already holds it. */
function changed(period: Period, { range, when, now, data }: MapModel, strip: StripModel): When {
  if (period === "range") return "7d";
  if (typeof when === "string" && period !== "hour") return period;
  const last = strip.bars.findLast((bar) => bar.events > 0 && bar.from >= range.from && bar.from < range.to);
  const anchor = last ? lastHour(last, strip) : Math.min(range.to - HOUR, data ? data.to - HOUR : now);
  const found = unitAt(period as Unit, anchor);
  return sameRange(found, followed(period as Unit, now)) ? (period as Unit) : found;
}

/** The latest hour with events of a bar that is longer than an hour. */
function lastHour(bar: Range, strip: StripModel): number {
  for (let at = bar.to - HOUR; at > bar.from; at -= HOUR) {
    if ((strip.eventsIn({ from: at, to: at + HOUR }) ?? 0) > 0) return at;
  }
  return bar.from;
}

function RangePicker({ model, strip, onWhen }: { readonly model: MapModel; readonly strip: StripModel; onWhen(when: When): void }) {
  const { range } = model;
  const events = strip.eventsIn(range);
  return (
    <Popover
      label="Choose a range"
      trigger={({ buttonRef, ...props }) => (
        <button type="button" class="strip-range" ref={buttonRef} {...props}>
          <strong class="tabular">{rangeText(range)}</strong>
          <span class="tabular">
            {lengthText(range)}
            <span class="strip-utc"> UTC</span>
            {events !== null && <span class="strip-count" title={exact(events)}> · {plural(events, "event")}</span>}
          </span>
        </button>
      )}
    >
      {(close) => (
        <RangeForm
          model={model}
          onWhen={(when) => {
            close();
            onWhen(when);
          }}
        />
      )}
    </Popover>
  );
}

function RangeForm({ model, onWhen }: { readonly model: MapModel; onWhen(when: When): void }) {
  const { range, data, now } = model;
  const [from, setFrom] = useState(isoHour(range.from).slice(0, 16));
  const [to, setTo] = useState(isoHour(range.to).slice(0, 16));
  const start = Date.parse(`${from}Z`);
  const end = Date.parse(`${to}Z`);
  const wrong = Number.isNaN(start) || Number.isNaN(end) ? "Give both a date and an hour." : start >= end ? "The end must be after the start." : null;
  const hours = (count: number): Range => ({ from: floorTo("hour", now) - (count - 1) * HOUR, to: floorTo("hour", now) + HOUR });
  const days = (count: number): Range => ({ from: floorTo("day", now) - (count - 1) * DAY, to: floorTo("day", now) + DAY });
  const presets: readonly (readonly [string, When])[] = [
    ["Last 24 hours", hours(24)],
    ["Last 7 days", "7d"],
    ["Last 30 days", days(30)],
    ...(data ? [["All there is", data] as const] : []),
  ];
  return (
    <form
      class="range-form"
      onSubmit={(event) => {
        event.preventDefault();
        if (wrong === null) onWhen(wholeHours(start, end));
      }}
    >
      <div class="range-presets">
        {presets.map(([name, when]) => (
          <Button key={name} small onClick={() => onWhen(when)}>
            {name}
          </Button>
        ))}
      </div>
      <label class="field">
        <span class="field-label">From (UTC, included)</span>
        <input class="text" type="datetime-local" step={3600} value={from} onInput={(event) => setFrom(event.currentTarget.value)} />
      </label>
      <label class="field">
        <span class="field-label">To (UTC, excluded)</span>
        <input class="text" type="datetime-local" step={3600} value={to} onInput={(event) => setTo(event.currentTarget.value)} />
      </label>
      <p class={wrong === null ? "field-hint" : "field-error"} role={wrong === null ? undefined : "alert"}>
        {wrong ?? "Tiles are whole hours: what lies between two hours is widened."}
      </p>
      <Button variant="primary" type="submit" disabled={wrong !== null}>
        Show this range
      </Button>
    </form>
  );
}

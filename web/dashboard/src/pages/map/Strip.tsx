/** The time strip: activity as bars, and the brush that is the time picker. */

import { useEffect, useId, useMemo } from "preact/hooks";

import { exact, plural } from "../../format";
import { type Tick, nudged, ticks, xAt } from "./strip";
import { DAY, HOUR, type Range, dayText, floorTo, length, lengthText, rangeText } from "./time";
import { type Brush, useBrush } from "./useBrush";
import type { StripModel } from "./useStrip";

const PLOT = 64;

export interface StripProps {
  readonly strip: StripModel;
  readonly selected: Range;
  readonly now: number;
  /** The frame that a time-lapse shows. */
  readonly frame: Range | null;
  /** `tweak` for a step of many, such as a key press. */
  onSelect(range: Range, tweak: boolean): void;
}

export function Strip({ strip, selected, now, frame, onSelect }: StripProps) {
  const brush = useBrush(strip, selected, (range) => onSelect(range, false));
  const shown = brush.draft ?? selected;
  const { view, width } = strip;
  const x = (time: number): number => xAt(time, view, width);
  const left = x(shown.from);
  const right = Math.max(x(shown.to), left + 2);
  useWheel(strip);
  return (
    <div class="strip-plot">
      <div
        ref={strip.setBox}
        class={`strip-box${brush.draft ? " strip-dragging" : ""}${right - left < 28 ? " strip-narrow" : ""}`}
        onPointerDown={brush.down}
        onPointerMove={brush.move}
        onPointerUp={brush.up}
        onPointerCancel={brush.cancel}
        onPointerLeave={brush.leave}
      >
        {width > 0 && !strip.pending && (
          <>
            <Picture strip={strip} now={now} left={left} right={right} frame={frame} hover={brush.hover} />
            <BrushHandles strip={strip} shown={shown} selected={selected} left={left} right={right} onSelect={onSelect} />
            <Tip strip={strip} brush={brush} left={left} right={right} />
          </>
        )}
        {strip.loading && <span class="strip-wait" aria-hidden="true" />}
      </div>
      <Axis ticks={width > 0 && !strip.pending ? ticks(view, width) : []} x={x} width={width} />
    </div>
  );
}

function Picture({
  strip,
  now,
  left,
  right,
  frame,
  hover,
}: {
  readonly strip: StripModel;
  readonly now: number;
  readonly left: number;
  readonly right: number;
  readonly frame: Range | null;
  readonly hover: Brush["hover"];
}) {
  const clip = useId();
  const { view, width } = strip;
  const x = (time: number): number => xAt(time, view, width);
  const { barWidth, filled, gaps } = usePaths(strip, now);
  const future = Math.min(Math.max(x(now), 0), width);
  return (
    <svg class="strip-picture" width={width} height={PLOT} aria-hidden="true" focusable="false">
      <clipPath id={clip}>
        <rect x={left} y={0} width={right - left} height={PLOT} />
      </clipPath>
      {future < width && <rect class="strip-future" x={future} y={0} width={width - future} height={PLOT} />}
      <rect class="strip-brush" x={left} y={0} width={right - left} height={PLOT} />
      {hover && <rect class="strip-hover" x={x(hover.bar.from)} y={0} width={barWidth} height={PLOT} />}
      <path class="strip-gaps" d={gaps} />
      <path class="strip-bars" d={filled} />
      <path class="strip-bars strip-bars-in" d={filled} clip-path={`url(#${clip})`} />
      {frame && <rect class="strip-frame" x={x(frame.from)} y={0} width={Math.max(2, x(frame.to) - x(frame.from))} height={PLOT} />}
      {future > 0 && future < width && <path class="strip-now" d={`M${future.toFixed(1)} 0v${PLOT}`} />}
    </svg>
  );
}

/** All bars as one path, and a dot where there was none; made anew only when they change, not while the map moves. */
function usePaths({ bars, bin, view, width }: StripModel, now: number): { barWidth: number; filled: string; gaps: string } {
  const hour = floorTo("hour", now);
  return useMemo(() => {
    const x = (time: number): number => xAt(time, view, width);
    const top = bars.reduce((most, bar) => Math.max(most, bar.events), 0);
    const between = bin * width >= 4 * length(view) ? 1 : 0;
    const barWidth = Math.max(1, x(view.from + bin) - between);
    const paths = bars.map(({ from, events }) => {
      if (events > 0) return `M${x(from).toFixed(1)} ${PLOT}v${-height(events, top)}h${barWidth.toFixed(1)}V${PLOT}z`;
      return from > hour ? "" : `M${(x(from) + barWidth / 2 - 1).toFixed(1)} ${PLOT - 2}h2v2h-2z`;
    });
    const join = (some: boolean): string => paths.filter((_, at) => (bars[at]?.events ?? 0) > 0 === some).join("");
    return { barWidth, filled: join(true), gaps: join(false) };
  }, [bars, bin, view.from, view.to, width, hour]);
}

function height(events: number, top: number): string {
  return Math.max(2, (events / top) * (PLOT - 6)).toFixed(1);
}

function BrushHandles({
  strip,
  shown,
  selected,
  left,
  right,
  onSelect,
}: {
  readonly strip: StripModel;
  readonly shown: Range;
  readonly selected: Range;
  readonly left: number;
  readonly right: number;
  onSelect(range: Range, tweak: boolean): void;
}) {
  const { limits } = strip;
  const events = strip.eventsIn(shown);
  const onKeyDown = (event: KeyboardEvent): void => {
    const next = keyed(event, selected, strip);
    if (next === null) return;
    event.preventDefault();
    event.stopPropagation();
    if (next !== "view") onSelect(next, true);
  };
  return (
    <>
      <div
        class="strip-thumb"
        data-grip="move"
        style={{ left: `${left}px`, width: `${right - left}px` }}
        role="slider"
        tabIndex={0}
        aria-label="Time range"
        aria-describedby="strip-hint"
        aria-valuemin={limits.from / HOUR}
        aria-valuemax={(limits.to - length(shown)) / HOUR}
        aria-valuenow={shown.from / HOUR}
        aria-valuetext={`${rangeText(shown)} UTC, ${lengthText(shown)}${events === null ? "" : `, ${exact(events)} events`}`}
        onKeyDown={onKeyDown}
      />
      <span class="strip-edge" data-grip="from" style={{ left: `${left}px` }} />
      <span class="strip-edge strip-edge-end" data-grip="to" style={{ left: `${right}px` }} />
    </>
  );
}

/** What a key does to the range; "view" when it only changed what the strip shows, null when it means nothing here. */
function keyed(event: KeyboardEvent, selected: Range, strip: StripModel): Range | "view" | null {
  if (event.ctrlKey || event.metaKey || event.altKey) return null;
  const { limits } = strip;
  // Whole days stay whole days.
  const wholeDays = length(selected) % DAY === 0 && floorTo("day", selected.from) === selected.from;
  const step = wholeDays ? "day" : "hour";
  const size = length(selected);
  const at = (from: number): Range => ({ from, to: from + size });
  switch (event.key) {
    case "ArrowLeft":
    case "ArrowDown":
      return nudged(selected, -1, event.shiftKey, step, limits);
    case "ArrowRight":
    case "ArrowUp":
      return nudged(selected, 1, event.shiftKey, step, limits);
    case "PageDown":
      return at(Math.max(limits.from, selected.from - size));
    case "PageUp":
      return at(Math.min(limits.to - size, selected.from + size));
    case "Home":
      return at(limits.from);
    case "End":
      return at(limits.to - size);
    case "+":
    case "=":
      strip.zoom(0.5);
      return "view";
    case "-":
      strip.zoom(2);
      return "view";
    case "0":
      strip.showAll();
      return "view";
    default:
      return null;
  }
}

function Tip({
  strip,
  brush,
  left,
  right,
}: {
  readonly strip: StripModel;
  readonly brush: Brush;
  readonly left: number;
  readonly right: number;
}) {
  const { draft, hover } = brush;
  if (draft === null && hover === null) return null;
  const range = draft ?? (hover as NonNullable<Brush["hover"]>).bar;
  const events = draft ? strip.eventsIn(draft) : (hover?.bar.events ?? null);
  const middle = draft ? (left + right) / 2 : (hover?.x ?? 0);
  const place = Math.min(Math.max(middle, 110), Math.max(110, strip.width - 110));
  return (
    <div class="strip-tip" style={{ left: `${place}px` }} aria-hidden="true">
      <strong class="tabular">{events === null ? lengthText(range) : plural(events, "event")}</strong>
      <span>{rangeText(range)}</span>
    </div>
  );
}

const HOURS = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", timeZone: "UTC" });
const MONTH = new Intl.DateTimeFormat("en-GB", { month: "short", timeZone: "UTC" });

function Axis({ ticks: marks, x, width }: { readonly ticks: readonly Tick[]; x(time: number): number; readonly width: number }) {
  const between = marks.length > 1 ? (marks[1]?.time ?? 0) - (marks[0]?.time ?? 0) : 0;
  return (
    <div class="strip-axis" aria-hidden="true">
      {marks.map((tick) => (
        <span
          key={tick.time}
          class={`strip-tick tabular${tick.major ? " strip-tick-major" : ""}${x(tick.time) > width - 64 ? " strip-tick-last" : ""}`}
          style={{ left: `${x(tick.time)}px` }}
        >
          {label(tick, between)}
        </span>
      ))}
    </div>
  );
}

function label({ time }: Tick, between: number): string {
  if (between > 20 * DAY) {
    const january = new Date(time).getUTCMonth() === 0;
    return january ? String(new Date(time).getUTCFullYear()) : MONTH.format(time);
  }
  return floorTo("day", time) === time ? dayText(time) : HOURS.format(time);
}

/** A sideways wheel pans; with ctrl (also: a pinch on a touch pad) it zooms. The page keeps its own wheel. */
function useWheel(strip: StripModel): void {
  useEffect(() => {
    const { box } = strip;
    if (!box) return undefined;
    const onWheel = (event: WheelEvent): void => {
      const { view, width } = strip;
      if (event.ctrlKey || event.metaKey) {
        event.preventDefault();
        const x = event.clientX - box.getBoundingClientRect().left;
        strip.zoom(Math.exp(event.deltaY / 200), view.from + (x / width) * length(view));
      } else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
        event.preventDefault();
        const by = event.shiftKey && event.deltaX === 0 ? event.deltaY : event.deltaX;
        strip.pan((by / width) * length(view));
      }
    };
    // Preact's listeners are passive for wheels in some browsers, and then nothing can be prevented.
    box.addEventListener("wheel", onWheel, { passive: false });
    return () => box.removeEventListener("wheel", onWheel);
  });
}


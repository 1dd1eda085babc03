/** Events over time as bars: values on hover, by arrow keys, and as a table. */

import { useId, useState } from "preact/hooks";

import { clock, compact, DAY_MS, dayMonth, exact, weekday } from "../../format";
import { type Column, Count, Icon, Segmented, Skeleton, Table } from "../../ui";
import type { Bar } from "./data";
import "./chart.css";

/** When a bar is: "Fri 21 Nov, 10:00 – 11:00 UTC" or "Fri 21 Nov". */
export function whenOf({ start, end }: Bar): string {
  if (end - start >= DAY_MS) return `${weekday(start)}, UTC`;
  return `${weekday(start)}, ${clock(start)} – ${clock(end)} UTC`;
}

const sumOf = (bar: Bar): number => bar.real + bar.simulated;

/** The smallest round number that is not below `most`: the top of the scale. */
export function ceiling(most: number): number {
  if (most <= 4) return 4;
  const power = 10 ** Math.floor(Math.log10(most));
  const factor = [1, 2, 3, 4, 5, 6, 8, 10].find((each) => each * power >= most) ?? 10;
  return factor * power;
}

/** The share of the width that a bar takes from its step. */
const FILL = 0.68;
const HEIGHT = 100;

function Shapes({ bars, top, at }: { readonly bars: readonly Bar[]; readonly top: number; readonly at: number | null }) {
  const gap = (1 - FILL) / 2;
  return (
    <svg class="chart-bars" viewBox={`0 0 ${bars.length} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true">
      {bars.map((bar, index) => {
        const real = (bar.real / top) * HEIGHT;
        const simulated = (bar.simulated / top) * HEIGHT;
        const dim = at !== null && at !== index ? " chart-dim" : "";
        return (
          <g key={bar.start} class={`chart-bar${dim}`}>
            {bar.simulated > 0 && (
              <rect class="chart-simulated" x={index + gap} y={HEIGHT - real - simulated} width={FILL} height={simulated} />
            )}
            {bar.real > 0 && <rect class="chart-real" x={index + gap} y={HEIGHT - real} width={FILL} height={real} />}
          </g>
        );
      })}
    </svg>
  );
}

/** Which bars have their time written below: every sixth hour, every fifth day, so that none touch. */
function isMarked({ start, end }: Bar, index: number, count: number): boolean {
  if (end - start >= DAY_MS) return (count - 1 - index) % 7 === 0;
  return new Date(start).getUTCHours() % 6 === 0;
}

function Axis({ bars }: { readonly bars: readonly Bar[] }) {
  const last = bars.length - 1;
  return (
    <div class="chart-axis tabular" aria-hidden="true">
      {bars.map((bar, index) => {
        if (!isMarked(bar, index, bars.length)) return null;
        const daily = bar.end - bar.start >= DAY_MS;
        const midnight = !daily && new Date(bar.start).getUTCHours() === 0;
        const side = index === last ? " chart-tick-end" : index === 0 ? " chart-tick-start" : "";
        return (
          <span key={bar.start} class={`chart-tick${side}`} style={{ left: `${(100 * (index + 0.5)) / bars.length}%` }}>
            {daily || midnight ? dayMonth(bar.start) : clock(bar.start)}
          </span>
        );
      })}
    </div>
  );
}

function Reading({ bar, count, index }: { readonly bar: Bar; readonly count: number; readonly index: number }) {
  const place = (100 * (index + 0.5)) / count;
  const side = place < 18 ? "start" : place > 82 ? "end" : "middle";
  return (
    <div class={`chart-reading chart-reading-${side}`} style={{ left: `${place}%` }} aria-hidden="true">
      <strong class="tabular">
        {exact(sumOf(bar))} {sumOf(bar) === 1 ? "event" : "events"}
      </strong>
      <span>{whenOf(bar)}</span>
      {bar.simulated > 0 && <span>{exact(bar.simulated)} of them simulated</span>}
    </div>
  );
}

function Plot({ bars, top }: { readonly bars: readonly Bar[]; readonly top: number }) {
  const [at, setAt] = useState<number | null>(null);
  const last = bars.length - 1;
  const shown = at === null ? undefined : bars[Math.min(at, last)];
  const says = bars[at ?? last];
  const step = (key: string): number | undefined => {
    if (key === "ArrowLeft" || key === "ArrowDown") return Math.max(0, (at ?? last + 1) - 1);
    if (key === "ArrowRight" || key === "ArrowUp") return Math.min(last, (at ?? last) + 1);
    if (key === "Home") return 0;
    return key === "End" ? last : undefined;
  };
  return (
    <div
      class="chart-plot"
      role="slider"
      tabIndex={0}
      aria-label="Events over time; arrow keys read the values"
      aria-valuemin={0}
      aria-valuemax={last}
      aria-valuenow={at ?? last}
      aria-valuetext={says === undefined ? "" : `${whenOf(says)}: ${exact(sumOf(says))} events`}
      onPointerMove={(event) => {
        const box = event.currentTarget.getBoundingClientRect();
        const index = Math.floor(((event.clientX - box.left) / box.width) * bars.length);
        setAt(Math.min(last, Math.max(0, index)));
      }}
      onPointerLeave={() => setAt(null)}
      onBlur={() => setAt(null)}
      onKeyDown={(event) => {
        const next = step(event.key);
        if (event.key === "Escape") setAt(null);
        if (next === undefined) return;
        event.preventDefault();
        setAt(next);
      }}
    >
      {[1, 0.5].map((part) => (
        <span key={part} class="chart-line" style={{ bottom: `${part * 100}%` }} aria-hidden="true">
          <span class="chart-level tabular">{compact(top * part)}</span>
        </span>
      ))}
      <Shapes bars={bars} top={top} at={at} />
      {shown !== undefined && at !== null && <Reading bar={shown} index={Math.min(at, last)} count={bars.length} />}
    </div>
  );
}

const COLUMNS: readonly Column<Bar>[] = [
  { key: "when", head: "When (UTC)", cell: (bar) => whenOf(bar).replace(/,? UTC$/, "") },
  { key: "real", head: "Events", numeric: true, cell: (bar) => exact(bar.real) },
  { key: "simulated", head: "Simulated", numeric: true, cell: (bar) => exact(bar.simulated) },
];

type View = "chart" | "table";
const VIEWS = [
  { value: "chart", label: "Chart", icon: "bars" },
  { value: "table", label: "Table", icon: "table" },
] as const;

/** `bars` is undefined while they are on their way. */
export function EventsChart({
  bars,
  stale,
  controls,
  note,
}: {
  readonly bars: readonly Bar[] | undefined;
  readonly stale: boolean;
  readonly controls: preact.ComponentChildren;
  readonly note?: string | undefined;
}) {
  const [view, setView] = useState<View>("chart");
  const id = useId();
  const total = bars?.reduce((sum, bar) => sum + sumOf(bar), 0) ?? 0;
  const simulated = bars?.some((bar) => bar.simulated > 0) === true;
  const top = ceiling(Math.max(0, ...(bars ?? []).map(sumOf)));
  return (
    <section class="card chart" aria-labelledby={id}>
      <header class="card-head">
        <div>
          <h2 id={id}>Events over time</h2>
          <p class="card-figure">
            {bars === undefined ? (
              <Skeleton width="9ch" height="1.2em" />
            ) : (
              <>
                <span>
                  <Count value={total} /> {total === 1 ? "event" : "events"}
                </span>
                {simulated && <Legend />}
              </>
            )}
          </p>
        </div>
        <div class="card-controls">
          {controls}
          <Segmented<View> label="Show as" value={view} options={VIEWS} onChange={setView} iconsOnly />
        </div>
      </header>
      {view === "table" && bars !== undefined ? (
        <div class="chart-table">
          <Table caption="Events over time" hideCaption columns={COLUMNS} rows={bars.toReversed()} rowKey={(bar) => String(bar.start)} />
        </div>
      ) : (
        <div class={`chart-frame${stale ? " is-stale" : ""}`}>
          {bars === undefined ? <Skeleton height="200px" radius="var(--radius-sm)" /> : <Plot bars={bars} top={top} />}
          {bars === undefined ? <div class="chart-axis" /> : <Axis bars={bars} />}
        </div>
      )}
      {note !== undefined && (
        <p class="chart-note">
          <Icon name="info" size={16} /> {note}
        </p>
      )}
    </section>
  );
}

function Legend() {
  return (
    <span class="chart-legend">
      <span>
        <i class="chart-key chart-key-real" /> visitors
      </span>
      <span>
        <i class="chart-key chart-key-simulated" /> simulated
      </span>
    </span>
  );
}

/** Beside the map: what is counted, how it is drawn, what the colours mean, and the cells with most events. */

import { type ComponentChildren } from "preact";
import { useMemo, useState } from "preact/hooks";

import { topCells } from "../../heat/columns";
import { cssGradient } from "../../heat/palettes";
import { legendTicks } from "../../heat/scale";
import type { Cell, HeatMap, PaletteName, Scale, Shape } from "../../heat/types";
import { compact, exact } from "../../format";
import { Button, CopyButton, Count, Icon, type IconName, Segmented, Skeleton, Slider, Switch } from "../../ui";
import { cellFacts, cellsHit, shareText, toCsv } from "./cells";
import type { MapModel } from "./model";
import { MAX_RADIUS, PALETTES } from "./state";
import { wholenessSaid } from "./words";

export function Section({ id, title, aside, children }: { readonly id: string; readonly title: string; readonly aside?: ComponentChildren; readonly children: ComponentChildren }) {
  return (
    <section class="panel-section" aria-labelledby={id}>
      <div class="panel-title">
        <h2 id={id}>{title}</h2>
        {aside}
      </div>
      {children}
    </section>
  );
}

const ICONS: Readonly<Record<string, IconName>> = { mousemove: "cursor", click: "click", touch: "touch", scroll: "chevronUpDown", pageview: "eye" };
const NAMES: Readonly<Record<string, string>> = { mousemove: "Mouse moves", click: "Clicks", touch: "Touches", scroll: "Scrolls", pageview: "Page views" };

export function kindName(kind: string): string {
  return NAMES[kind] ?? kind;
}

/** Kinds in words: `Mouse moves and clicks`. */
export function kindWords(kinds: readonly string[]): string {
  const names = kinds.map((kind, index) => (index === 0 ? kindName(kind) : kindName(kind).toLowerCase()));
  return names.length < 2 ? (names[0] ?? "") : `${names.slice(0, -1).join(", ")} and ${names.at(-1) ?? ""}`;
}

export function KindSection({ model }: { readonly model: MapModel }) {
  const { kinds, row, counts } = model;
  // While another range or screen is on its way, the last figures stand.
  const all = row.data?.event_types ?? {};
  const here = counts.data?.event_types ?? {};
  const names = [...new Set([...Object.keys(all), ...kinds])].toSorted((a, b) => (all[b] ?? 0) - (all[a] ?? 0) || (a < b ? -1 : 1));
  const toggle = (kind: string, on: boolean): void => {
    const next = on ? [...kinds, kind] : kinds.filter((each) => each !== kind);
    if (next.length > 0) model.set({ kind: next.toSorted() }, "push");
  };
  return (
    <Section id="panel-kinds" title="Kinds" aside={<span class="panel-aside">events in the range</span>}>
      <ul class="kinds">
        {names.map((kind) => (
          <li key={kind}>
            <label class="kind">
              <input
                type="checkbox"
                checked={kinds.includes(kind)}
                onClick={(event) => {
                  // A map of no kind says nothing: the last one stays.
                  if (kinds.length === 1 && kinds[0] === kind) event.preventDefault();
                }}
                onChange={(event) => toggle(kind, event.currentTarget.checked)}
              />
              <Icon name={ICONS[kind] ?? "layers"} size={16} />
              <span class="kind-name">{kindName(kind)}</span>
              <span class="kind-count">{counts.loading ? <Skeleton width="4ch" /> : <Count value={here[kind] ?? 0} />}</span>
            </label>
          </li>
        ))}
      </ul>
      {kinds.length > 1 && <p class="panel-hint">The map shows the sum of {kinds.length} kinds.</p>}
    </Section>
  );
}

/** In place of all sections until the first answer: then each appears where it stays. */
export function PanelSkeleton() {
  return (
    <div class="panel-skeleton">
      {[96, 150, 260, 340].map((height) => (
        <Skeleton key={height} height={`${height}px`} />
      ))}
    </div>
  );
}

const PALETTE_NAMES: Readonly<Record<PaletteName, string>> = {
  inferno: "Inferno",
  viridis: "Viridis",
  cividis: "Cividis",
  magma: "Magma",
  classic: "Classic",
};

export function DisplaySection({ model }: { readonly model: MapModel }) {
  const { values, set } = model;
  return (
    <Section id="panel-display" title="Display">
      <fieldset class="palettes">
        <legend class="field-label">Palette</legend>
        {PALETTES.map((name) => (
          <label key={name} class="palette">
            <input type="radio" class="sr-only" name="palette" value={name} checked={values.palette === name} onChange={() => set({ palette: name })} />
            <span class="palette-face">
              <span class="palette-ramp" style={{ backgroundImage: cssGradient(name) }} />
              <span>{PALETTE_NAMES[name]}</span>
            </span>
          </label>
        ))}
      </fieldset>
      {values.palette === "classic" && <p class="panel-hint">Classic is hard to read for colour-blind people; the others are not.</p>}
      <Segmented
        label="Scale"
        hideLabel={false}
        value={values.scale}
        options={[
          { value: "log", label: "Logarithmic" },
          { value: "linear", label: "Linear" },
        ]}
        onChange={(scale: Scale) => set({ scale })}
      />
      <Slider
        label="Radius"
        value={values.radius}
        min={0}
        max={MAX_RADIUS}
        step={0.25}
        format={(value) => (value === 0 ? "raw cells" : `${value} cells`)}
        onInput={(radius) => set({ radius })}
      />
      <Slider
        label="Opacity"
        value={Math.round(values.opacity * 100)}
        min={0}
        max={100}
        step={5}
        format={(value) => `${value} %`}
        onInput={(value) => set({ opacity: value / 100 })}
      />
      <Switch label="Isotherms (lines of equal count)" checked={values.contours} disabled={values.radius === 0} onChange={(contours) => set({ contours })} />
    </Section>
  );
}

/** Stands for a figure: on its way, or not to be had. */
function Absent({ model }: { readonly model: MapModel }) {
  return model.heat.error ? <span>–</span> : <Skeleton width="5ch" />;
}

/** The ramp with true counts. */
export function Legend({ map, top, model }: { readonly map: HeatMap | null; readonly top: number; readonly model: MapModel }) {
  const { palette, scale, radius } = model.values;
  // The last label stands at the right end: what would run into it is left out.
  const marks = legendTicks(top, scale, 5).filter((mark) => mark.count === top || mark.at < 0.84);
  const missing = model.scene && !model.heat.error ? wholenessSaid(model.scene, model.freshness) : null;
  const hit = useMemo(() => (map ? cellsHit(map) : 0), [map]);
  const cells = map ? map.gridW * map.gridH : 0;
  return (
    <Section id="panel-legend" title="Legend" aside={<span class="panel-aside">events per cell</span>}>
      <div class="legend" role="img" aria-label={`Colours from 1 to ${exact(top)} events per cell, ${scale === "log" ? "logarithmic" : "linear"}`}>
        <span class="legend-ramp" style={{ backgroundImage: cssGradient(palette) }} />
        {marks.map((mark) => (
          <span key={mark.count} class={`legend-mark tabular${mark.at > 0.94 ? " legend-mark-last" : ""}`} style={{ left: `${mark.at * 100}%` }}>
            {compact(mark.count)}
          </span>
        ))}
      </div>
      <dl class="facts" id="map-facts">
        <div>
          <dt>Events on the map</dt>
          <dd data-fact="total">{map ? <Exact value={map.total} /> : <Absent model={model} />}</dd>
        </div>
        <div>
          <dt>Hottest cell</dt>
          <dd data-fact="max">{map ? <Exact value={map.max} /> : <Absent model={model} />}</dd>
        </div>
        <div>
          <dt>Cells hit</dt>
          <dd data-fact="hit">
            {map ? (
              <>
                <Exact value={hit} /> <span class="facts-of">of {exact(cells)}</span>
              </>
            ) : (
              <Absent model={model} />
            )}
          </dd>
        </div>
      </dl>
      {missing !== null && (
        <p class="panel-warn" role="status">
          {missing}
        </p>
      )}
      <p class="panel-hint">
        Every event is counted in its cell: nothing is sampled, nothing is capped.
        {radius > 0 ? " The blur is only drawn; counts are of single cells." : ""}
      </p>
    </Section>
  );
}

function Exact({ value }: { readonly value: number }) {
  return <span class="tabular">{exact(value)}</span>;
}

const FEW = 10;
const MANY = 100;

export interface TopCellsProps {
  /** null: not there yet, or, when `failed`, not to be had. */
  readonly map: HeatMap | null;
  readonly failed: boolean;
  readonly shape: Shape;
  readonly fileName: string;
  onPoint(cell: Cell | null): void;
  onCentre(cell: Cell): void;
}

export function TopCells({ map, failed, shape, fileName, onPoint, onCentre }: TopCellsProps) {
  const [all, setAll] = useState(false);
  const rows = useMemo(() => (map ? topCells(map, all ? MANY : FEW) : []), [map, all]);
  const more = useMemo(() => (map ? Math.min(MANY, cellsHit(map)) : 0), [map]);
  return (
    <Section id="panel-cells" title="Top cells">
      <table class="cells" aria-labelledby="panel-cells">
        <thead>
          <tr>
            <th scope="col" class="numeric">
              <span class="sr-only">Rank</span>
              <span aria-hidden="true">#</span>
            </th>
            <th scope="col">Cell</th>
            <th scope="col">Page, px</th>
            <th scope="col" class="numeric">
              Count
            </th>
            <th scope="col" class="numeric">
              Share
            </th>
          </tr>
        </thead>
        <tbody onPointerLeave={() => onPoint(null)}>
          {rows.map(({ cell, count }, index) => {
            const facts = cellFacts(map as HeatMap, shape, cell);
            return (
              <tr key={`${cell.x},${cell.y}`} onPointerEnter={() => onPoint(cell)} onClick={() => onCentre(cell)}>
                <td class="numeric cells-rank">{index + 1}</td>
                <td>
                  <button
                    type="button"
                    class="cells-button tabular"
                    aria-label={`Cell ${cell.x}, ${cell.y}: show it on the map`}
                    onFocus={() => onPoint(cell)}
                    onBlur={() => onPoint(null)}
                  >
                    {cell.x}, {cell.y}
                  </button>
                </td>
                <td class="cells-place tabular">
                  {Math.round((facts.left + facts.right) / 2)}, {Math.round((facts.top + facts.bottom) / 2)}
                </td>
                <td class="numeric tabular">{exact(count)}</td>
                <td class="numeric tabular cells-share">{shareText(facts.share)}</td>
              </tr>
            );
          })}
          {(failed || (map !== null && rows.length === 0)) && (
            <tr>
              <td colSpan={5} class="cells-none">
                {failed ? "There is no map." : "No cell has an event."}
              </td>
            </tr>
          )}
          {map === null &&
            !failed &&
            Array.from({ length: FEW }, (_, index) => (
              <tr key={index}>
                <td colSpan={5}>
                  <Skeleton height="1.1em" />
                </td>
              </tr>
            ))}
        </tbody>
      </table>
      <div class="panel-buttons">
        {more > FEW && (
          <Button small variant="quiet" aria-expanded={all} onClick={() => setAll(!all)}>
            {all ? `Only ${FEW}` : `${more} cells`}
          </Button>
        )}
        <Button
          small
          icon="download"
          disabled={map === null || map.total === 0}
          onClick={() => map && save(new Blob([toCsv(map, shape)], { type: "text/csv" }), `${fileName}.csv`)}
        >
          CSV
        </Button>
        {map !== null && map.total > 0 && <LazyCopy map={map} shape={shape} />}
      </div>
    </Section>
  );
}

/** All cells as text: made when the pointer or the focus comes near, not with every map. */
function LazyCopy({ map, shape }: { readonly map: HeatMap; readonly shape: Shape }) {
  const [near, setNear] = useState(false);
  const text = useMemo(() => (near ? toCsv(map, shape) : ""), [near, map, shape]);
  return (
    <span onPointerEnter={() => setNear(true)} onPointerDownCapture={() => setNear(true)} onFocusCapture={() => setNear(true)}>
      <CopyButton text={text} label="Copy CSV" />
    </span>
  );
}

/** Hand a file to the browser. */
export function save(content: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  // The download has its own hold of the blob once it has begun.
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** The map itself, what floats over it, and what stands in its place. */

import { type RefObject } from "preact";
import { useEffect, useState } from "preact/hooks";

import { HeatStage, type HeatStageHandle } from "../../heat/HeatStage";
import type { Cell, HeatMap } from "../../heat/types";
import { exact, plural } from "../../format";
import { Icon, IconButton, Loading } from "../../ui";
import { type BackgroundModel, FileButton } from "./Background";
import { Glyph } from "./glyphs";
import { Notice } from "./Notice";
import { kindWords } from "./Panel";
import { cellFacts, shareText } from "./cells";
import { type MapModel, UNKNOWN_SHAPE } from "./model";
import { canvasSaid } from "./words";
import { styleOf } from "./state";
import { rangeText } from "./time";
import type { Playback } from "./usePlayback";
import type { StripModel } from "./useStrip";

export interface StageProps {
  readonly model: MapModel;
  readonly strip: StripModel;
  readonly background: BackgroundModel;
  readonly playback: Playback;
  readonly handle: RefObject<HeatStageHandle | null>;
  /** A cell that the table points at. */
  readonly pointed: Cell | null;
  /** A file is held over the page. */
  readonly dropping: boolean;
}

export function Stage({ model, strip, background, playback, handle, pointed, dropping }: StageProps) {
  const { scene, values, set, heat } = model;
  const [cell, setCell] = useState<Cell | null>(null);
  const pointer = usePointer();
  const frame = playback.frame;
  const failed = heat.error !== undefined && heat.data === undefined;
  const map = failed ? null : (frame?.map ?? scene?.map ?? null);
  // Without a map nothing of the screen that was seen before may shine through.
  const covered = scene === null || failed;
  const shape = scene?.shape ?? UNKNOWN_SHAPE;
  const shown = pointed ?? cell;
  const label = scene
    ? `Heatmap of ${scene.screen}: ${exact(map?.total ?? 0)} events (${kindWords(scene.kinds)}), ${rangeText(frame?.range ?? scene.range)} UTC`
    : "Heatmap";
  return (
    <div
      class={`map-stage${heat.stale ? " map-waits" : ""}`}
      onPointerMoveCapture={pointer.moved}
      onPointerDownCapture={pointer.moved}
      onKeyDownCapture={pointer.keyed}
    >
      {/* There from the start, under the skeleton: a painter takes its time to get ready, and so does the answer. */}
      <div class="stage-map" inert={covered}>
        <HeatStage
          map={map}
          shape={shape}
          style={styleOf(values)}
          background={background.url}
          dim={values.dim}
          camera={values.at}
          max={frame?.top}
          highlight={shown}
          label={label}
          handle={handle}
          onCamera={(at) => set({ at })}
          onHover={setCell}
          onPick={setCell}
        />
      </div>
      {covered && <StageSkeleton failed={failed || model.row.error !== undefined} />}
      {heat.stale && <span class="map-progress" aria-hidden="true" />}
      {map && shown && <Readout map={map} shape={shape} cell={shown} at={pointed ? null : pointer.at} />}
      <Announcer map={map} shape={shape} cell={shown} quiet={pointer.at !== null && pointed === null} />
      {frame && (
        <p class="frame-time tabular">
          {rangeText(frame.range)}
          <span>
            {plural(frame.map.total, "event")}
            {playback.mode === "cumulative" ? " so far" : ""}
          </span>
        </p>
      )}
      <Notice model={model} strip={strip} playing={frame !== null} />
      {scene && !failed && <Corner model={model} background={background} handle={handle} />}
      {dropping && (
        <div class="drop-here">
          <Icon name="upload" size={28} />
          <strong>Drop the screenshot here</strong>
          <span>PNG, JPEG or WebP of the whole page, at most 12 MB</span>
        </div>
      )}
    </div>
  );
}

function StageSkeleton({ failed }: { readonly failed: boolean }) {
  return (
    <div class="stage-skeleton">
      {!failed && (
        <>
          <Loading what="the map" />
          <span class="skeleton" aria-hidden="true" />
        </>
      )}
    </div>
  );
}

interface Pointer {
  /** Where a mouse is, in pixels of the stage; null after a key or a touch. */
  readonly at: { readonly x: number; readonly y: number; readonly w: number; readonly h: number } | null;
  moved(event: PointerEvent): void;
  keyed(): void;
}

function usePointer(): Pointer {
  const [at, setAt] = useState<Pointer["at"]>(null);
  return {
    at,
    moved(event) {
      if (event.pointerType !== "mouse") {
        setAt(null);
        return;
      }
      const box = (event.currentTarget as Element).getBoundingClientRect();
      setAt({ x: event.clientX - box.left, y: event.clientY - box.top, w: box.width, h: box.height });
    },
    keyed: () => setAt(null),
  };
}

interface ReadoutProps {
  readonly map: HeatMap;
  readonly shape: { readonly w: number; readonly h: number };
  readonly cell: Cell;
  readonly at: Pointer["at"];
}

const CARD_W = 196;
const CARD_H = 84;
const AWAY = 18;

/** Beside a mouse; in the corner for keys, touches and the table. */
function Readout({ map, shape, cell, at }: ReadoutProps) {
  const facts = cellFacts(map, shape, cell);
  const place = at && {
    left: `${at.x + AWAY + CARD_W > at.w ? Math.max(8, at.x - AWAY - CARD_W) : at.x + AWAY}px`,
    top: `${at.y + AWAY + CARD_H > at.h ? Math.max(8, at.y - AWAY - CARD_H) : at.y + AWAY}px`,
  };
  return (
    <div class={`readout${place ? " readout-near" : ""}`} style={place ?? {}} data-readout aria-hidden="true">
      <p class="readout-count tabular">
        <strong>{exact(facts.count)}</strong> {facts.count === 1 ? "event" : "events"}
        <span>{shareText(facts.share)}</span>
      </p>
      <p class="readout-place tabular">
        Cell {cell.x}, {cell.y}
        <span>
          x {facts.left}–{facts.right}, y {facts.top}–{facts.bottom} px
        </span>
      </p>
    </div>
  );
}

/** The cell in words for screen readers, when it was reached by keys or touch and the hand rests. */
function Announcer({
  map,
  shape,
  cell,
  quiet,
}: {
  readonly map: HeatMap | null;
  readonly shape: { readonly w: number; readonly h: number };
  readonly cell: Cell | null;
  readonly quiet: boolean;
}) {
  const [said, setSaid] = useState("");
  useEffect(() => {
    if (quiet || !map || !cell) return undefined;
    const timer = setTimeout(() => {
      const facts = cellFacts(map, shape, cell);
      const events = `${exact(facts.count)} ${facts.count === 1 ? "event" : "events"}, ${shareText(facts.share)}`;
      setSaid(`Cell ${cell.x}, ${cell.y}: ${events} of all, at ${facts.left}, ${facts.top} pixels`);
    }, 250);
    return () => clearTimeout(timer);
  }, [map, cell?.x, cell?.y, quiet]);
  return (
    <p class="sr-only" aria-live="polite" data-announcer>
      {said}
    </p>
  );
}

/** In the corners: the whole screen at once, and what is behind the heat. */
function Corner({ model, background, handle }: { readonly model: MapModel; readonly background: BackgroundModel; readonly handle: RefObject<HeatStageHandle | null> }) {
  const row = model.scene?.row ?? null;
  const shape = model.scene?.shape ?? UNKNOWN_SHAPE;
  const known = row?.shape ?? null;
  return (
    <>
      <div class="stage-tools" role="group" aria-label="Zoom of the map">
        <IconButton label="Zoom in" icon="plus" tip="left" onClick={() => handle.current?.zoomBy(1.5)} />
        <IconButton label="Zoom out" icon="minus" tip="left" onClick={() => handle.current?.zoomBy(1 / 1.5)} />
        <button type="button" class="icon-button" aria-label="Fit the map" data-tip="Fit: whole screen, then its width" data-tip-side="left" onClick={() => handle.current?.fit()}>
          <Glyph name="fit" />
        </button>
      </div>
      {background.stored === null && background.sending === null && (
        <div class="stage-blank">
          <span>{canvasSaid(known, shape)}</span>
          <FileButton label="Add a screenshot" onFile={background.send} />
        </div>
      )}
    </>
  );
}


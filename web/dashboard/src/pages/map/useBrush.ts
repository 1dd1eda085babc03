/** Drags on the time strip: draw a range, move it, pull at its edges; a press without a drag takes the bar. */

import { useRef, useState } from "preact/hooks";

import { type Bar, drawn, moved, resized, snapUnit, timeAt } from "./strip";
import type { StripModel } from "./useStrip";
import { type Range, sameRange } from "./time";

type Grip = "draw" | "move" | "from" | "to";

interface Drag {
  readonly grip: Grip;
  readonly pointer: number;
  readonly startX: number;
  readonly start: Range;
  far: boolean;
}

/** A hand that only presses moves a pointer by less than this, in pixels. */
const SLIP = 4;

export interface Brush {
  /** The range while it is dragged; null at rest. */
  readonly draft: Range | null;
  /** The bar under the pointer, and where that is. */
  readonly hover: { readonly bar: Bar; readonly x: number } | null;
  down(event: PointerEvent): void;
  move(event: PointerEvent): void;
  up(event: PointerEvent): void;
  cancel(): void;
  leave(): void;
}

export function useBrush(strip: StripModel, selected: Range, commit: (range: Range) => void): Brush {
  const drag = useRef<Drag | null>(null);
  const [draft, setDraft] = useState<Range | null>(null);
  const [hover, setHover] = useState<Brush["hover"]>(null);
  const { view, width, limits } = strip;

  const xOf = (event: PointerEvent): number => event.clientX - (strip.box?.getBoundingClientRect().left ?? 0);
  const barAt = (x: number): Bar | undefined => {
    const time = timeAt(x, view, width);
    return strip.bars.find((bar) => bar.from <= time && time < bar.to);
  };
  const dragged = ({ grip, startX, start }: Drag, x: number): Range => {
    const unit = snapUnit(view, width);
    const time = timeAt(x, view, width);
    if (grip === "draw") return clipped(drawn(timeAt(startX, view, width), time, unit), limits);
    if (grip === "move") return moved(start, time - timeAt(startX, view, width), unit, limits);
    return resized(start, grip, time, unit, limits);
  };
  const end = (): void => {
    drag.current = null;
    setDraft(null);
  };

  return {
    draft,
    hover,
    down(event) {
      if (event.button !== 0 || width === 0) return;
      const grip = (event.target as Element).closest<HTMLElement>("[data-grip]")?.dataset["grip"] as Grip | undefined;
      strip.box?.setPointerCapture(event.pointerId);
      drag.current = { grip: grip ?? "draw", pointer: event.pointerId, startX: xOf(event), start: selected, far: false };
    },
    move(event) {
      const x = xOf(event);
      const now = drag.current;
      if (now === null) {
        const bar = event.pointerType === "touch" ? undefined : barAt(x);
        setHover(bar ? { bar, x } : null);
        return;
      }
      if (now.pointer !== event.pointerId) return;
      now.far ||= Math.abs(x - now.startX) >= SLIP;
      if (!now.far) return;
      setHover(null);
      setDraft(dragged(now, x));
    },
    up(event) {
      const now = drag.current;
      if (now === null || now.pointer !== event.pointerId) return;
      const bar = barAt(now.startX);
      const found = now.far ? dragged(now, xOf(event)) : now.grip === "draw" || now.grip === "move" ? bar : undefined;
      end();
      if (found && !sameRange(found, selected)) commit({ from: found.from, to: found.to });
    },
    cancel: end,
    leave: () => setHover(null),
  };
}

function clipped(range: Range, limits: Range): Range {
  const from = Math.max(range.from, limits.from);
  const to = Math.min(range.to, limits.to);
  return from < to ? { from, to } : range;
}

/** Where the flow's parts stand. Lengths are CSS pixels; `along` is the way events go, `across` stands on it. */

import type { Flow, Loss } from "./flow";

export interface Node {
  readonly along: number;
  /** Width of the stream where it comes in, and where it goes on: they differ where two counts meet. */
  readonly thick: number;
  readonly onward: number;
}

export interface Branch {
  readonly loss: Loss;
  /** Where it leaves: the stage's end, and the two edges of its part of the stream. */
  readonly from: number;
  readonly near: number;
  readonly far: number;
  /** Where it has turned: its two edges along, and how far out it ends. */
  readonly turn: number;
  readonly thin: number;
  readonly end: number;
}

export interface Layout {
  readonly nodes: readonly Node[];
  readonly branches: readonly Branch[];
  /** Room that all of it takes, along and across. */
  readonly length: number;
  readonly depth: number;
}

/** A stage's bar. */
export const BAR = 8;
/** A part that is there is seen, however small. */
const LEAST = 2;
/** A branch is no wider than this once it has turned: its width where it leaves is what counts. */
const MOST_TURNED = 14;

export interface Room {
  /** Length of the whole way; the last stage's bar ends there. */
  readonly length: number;
  /** Width of the stream at its widest. */
  readonly widest: number;
}

interface Sized {
  readonly widths: readonly Pick<Node, "thick" | "onward">[];
  readonly parts: readonly (readonly { readonly loss: Loss; readonly thick: number }[])[];
}

/** Widths in proportion to events; from the last stage back, so that the parts of a stage add up to it. */
function sized({ stages, losses }: Flow, widest: number): Sized {
  const most = Math.max(1, ...stages.flatMap((stage) => [stage.events, stage.onward ?? 0]));
  const width = (events: number): number => (events > 0 ? Math.max(LEAST, (events / most) * widest) : 0);
  const parts = stages.map((_, index) =>
    losses.flatMap((loss) => (loss.after === index && loss.events > 0 ? [{ loss, thick: width(loss.events) }] : [])),
  );
  const widths = stages.map(({ events }) => ({ thick: width(events), onward: width(events) }));
  let next = 0;
  for (let index = stages.length - 1; index >= 0; index -= 1) {
    const leaves = (parts[index] ?? []).reduce((sum, part) => sum + part.thick, 0);
    const { events, onward: goesOn } = stages[index] as Flow["stages"][number];
    const onward = index === stages.length - 1 ? width(events) : next + leaves;
    const thick = goesOn === undefined || goesOn === events ? onward : width(events);
    widths[index] = { thick, onward };
    next = thick;
  }
  return { widths, parts };
}

/** Rows of labels under the stream, and from where on its branches may turn. */
const ROW = 46;
const GAP = 12;
const FIRST = 14;

/** Left to right: the stream at the top, branches turn down, the first to leave ends lowest, labels beside the ends. */
export function across(flow: Flow, { length, widest }: Room): Layout {
  const { widths, parts } = sized(flow, widest);
  const step = (length - BAR) / Math.max(1, flow.stages.length - 1);
  const nodes = widths.map((each, index) => ({ along: Math.round(index * step), ...each }));
  const broad = Math.max(...widths.map(({ thick, onward }) => Math.max(thick, onward)));
  const base = broad + 30;
  const branches = parts.flatMap((of, index) => {
    const from = Math.round(index * step) + BAR;
    let far = widths[index]?.onward ?? 0;
    let turn = from + FIRST;
    // The part at the edge turns first, else branches would cross: so the list is walked from its end.
    return of.toReversed().map(({ loss, thick: wide }, at): Branch => {
      const thin = Math.min(wide, MOST_TURNED);
      const branch = { loss, from, near: far - wide, far, turn, thin, end: base + (of.length - 1 - at) * ROW };
      far -= wide;
      turn += thin + GAP;
      return branch;
    });
  });
  const lowest = Math.max(base, ...branches.map((branch) => branch.end));
  return { nodes, branches, length, depth: branches.length === 0 ? broad : lowest + ROW - 12 };
}

/** Top to bottom, for narrow windows: the stream at the left, branches turn right, every label has a row of its own. */
export const STAGE_ROW = 64;
export const LOSS_ROW = 52;

export function down(flow: Flow, widest: number): Layout {
  const { widths, parts } = sized(flow, widest);
  const nodes: Node[] = [];
  const branches: Branch[] = [];
  const end = Math.max(...widths.map(({ thick, onward }) => Math.max(thick, onward))) + 26;
  let along = 0;
  for (const [index, of] of parts.entries()) {
    const width = widths[index] ?? { thick: 0, onward: 0 };
    nodes.push({ along, ...width });
    const from = along + BAR;
    let far = width.onward;
    along += STAGE_ROW;
    for (const { loss, thick: wide } of of.toReversed()) {
      const thin = Math.min(wide, MOST_TURNED);
      branches.push({ loss, from, near: far - wide, far, turn: along + (LOSS_ROW - thin) / 2 - 6, thin, end });
      far -= wide;
      along += LOSS_ROW;
    }
  }
  return { nodes, branches, length: along, depth: end };
}

type Turned = (along: number, across: number) => string;

const horizontal: Turned = (along, across_) => `${along.toFixed(1)} ${across_.toFixed(1)}`;
const vertical: Turned = (along, across_) => `${across_.toFixed(1)} ${along.toFixed(1)}`;

/** The outline of a branch: along the stream, a quarter turn, and out. */
export function branchPath({ from, near, far, turn, thin, end }: Branch, way: "across" | "down"): string {
  const at = way === "across" ? horizontal : vertical;
  const inner = Math.min(10, turn - from);
  const outer = Math.min(inner + thin, inner + (far - near), end - near);
  return [
    `M${at(from, near)}`,
    `L${at(turn + thin - outer, near)}`,
    `Q${at(turn + thin, near)} ${at(turn + thin, near + outer)}`,
    `L${at(turn + thin, end)}`,
    `L${at(turn, end)}`,
    `L${at(turn, far + inner)}`,
    `Q${at(turn, far)} ${at(turn - inner, far)}`,
    `L${at(from, far)}Z`,
  ].join("");
}

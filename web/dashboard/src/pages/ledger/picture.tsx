/** The flow as a picture: a stream from stage to stage, what leaves it turns away to its name and count. */

import { useEffect, useId, useRef, useState } from "preact/hooks";

import { exact } from "../../format";
import { type Flow, type Loss, type Stage, shareWords } from "./flow";
import { across, BAR, type Branch, branchPath, down, type Layout, type Node } from "./layout";

/** Below this width the stream goes down the page. */
const NARROW = 760;
const WIDEST = 84;
const WIDEST_NARROW = 56;

type Way = "across" | "down";
type Part = Stage | Loss;

function useWidth() {
  const box = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(0);
  useEffect(() => {
    const element = box.current;
    if (element === null) return undefined;
    const observer = new ResizeObserver(() => setWidth(element.clientWidth));
    observer.observe(element);
    setWidth(element.clientWidth);
    return () => observer.disconnect();
  }, []);
  return { box, width };
}

export function FlowPicture({ flow }: { readonly flow: Flow }) {
  const { box, width } = useWidth();
  const [pointed, setPointed] = useState<string | null>(null);
  const [chosen, setChosen] = useState<string | null>(null);
  const reading = useId();
  const way: Way = width >= NARROW ? "across" : "down";
  const layout = way === "across" ? across(flow, { length: width, widest: WIDEST }) : down(flow, WIDEST_NARROW);
  const parts: readonly Part[] = [...flow.stages, ...flow.losses];
  const active = pointed ?? chosen;
  const shown = parts.find((part) => part.key === active);
  const hands = (key: string) => ({
    onPointerEnter: () => setPointed(key),
    onPointerLeave: () => setPointed(null),
    onFocus: () => setPointed(key),
    onBlur: () => setPointed(null),
    onClick: () => setChosen(chosen === key ? null : key),
    "aria-pressed": chosen === key,
  });
  const classOf = (key: string): string => (active === null || active === key ? "" : " flow-dim");
  const room = way === "across" ? { height: `${layout.depth + HEAD}px` } : { height: `${layout.length}px` };
  return (
    <figure class="flow">
      <div ref={box} class={`flow-box flow-${way}`} style={width === 0 ? {} : room}>
        {width > 0 && (
          <>
            <Streams flow={flow} layout={layout} way={way} width={width} classOf={classOf} />
            <ol class="flow-parts" aria-label="From browser to cell" aria-describedby={reading}>
              {flow.stages.map((stage, index) => (
                <li key={stage.key}>
                  <button
                    type="button"
                    class={`flow-stage${index === flow.stages.length - 1 ? " flow-stage-last" : ""}${classOf(stage.key)}`}
                    style={stagePlace(layout, index, way, width)}
                    data-stage={stage.key}
                    {...hands(stage.key)}
                  >
                    <span class="flow-name">{stage.label}</span>
                    <span class="flow-count tabular">{exact(stage.events)}</span>
                    {stage.onward !== undefined && stage.onward !== stage.events && (
                      <span class="flow-also tabular">{exact(stage.onward)} happened then</span>
                    )}
                  </button>
                  <Losses flow={flow} layout={layout} after={index} way={way} width={width} classOf={classOf} hands={hands} />
                </li>
              ))}
            </ol>
          </>
        )}
      </div>
      <figcaption class="flow-reading" id={reading} aria-live="polite">
        {shown === undefined ? (
          <Rest flow={flow} />
        ) : (
          <>
            <strong>
              {shown.label}: {exact(shown.events)}
            </strong>
            {shareWords(flow, shown) !== "" && `, ${shareWords(flow, shown)}`}. {shown.says}
            {"onward" in shown && shown.onward !== shown.events && ` ${SEAM}`}
          </>
        )}
      </figcaption>
    </figure>
  );
}

/** Names over the stream, where it goes across. */
const HEAD = 74;

const SEAM =
  "Up to Accepted, events count by the hour in which they came, from there on by the hour in which they happened: what came late is in an earlier hour then.";

function stagePlace(layout: Layout, index: number, way: Way, width: number): Record<string, string> {
  const node = layout.nodes[index] as Node;
  if (way === "down") return { top: `${node.along - 6}px`, left: `${widest(layout) + 26}px` };
  const step = (width - BAR) / (layout.nodes.length - 1);
  const last = index === layout.nodes.length - 1;
  return last ? { top: "0", right: "0" } : { top: "0", left: `${node.along}px`, maxWidth: `${step - 8}px` };
}

const widest = (layout: Layout): number => Math.max(...layout.nodes.map((node) => Math.max(node.thick, node.onward)));

interface LossesProps {
  readonly flow: Flow;
  readonly layout: Layout;
  readonly after: number;
  readonly way: Way;
  readonly width: number;
  readonly classOf: (key: string) => string;
  readonly hands: (key: string) => object;
}

function Losses({ flow, layout, after, way, width, classOf, hands }: LossesProps) {
  const own = layout.branches.filter((branch) => branch.loss.after === after);
  if (own.length === 0) return null;
  return (
    <ul>
      {own.map((branch) => (
        <li key={branch.loss.key}>
          <button
            type="button"
            class={`flow-loss${classOf(branch.loss.key)}`}
            style={lossPlace(layout, branch, way, width)}
            data-loss={branch.loss.key}
            {...hands(branch.loss.key)}
          >
            <span class="flow-name">{branch.loss.label}</span>
            <span class="flow-figure tabular">
              <b>{exact(branch.loss.events)}</b> <span>{shareWords(flow, branch.loss)}</span>
            </span>
          </button>
        </li>
      ))}
    </ul>
  );
}

function lossPlace(layout: Layout, branch: Branch, way: Way, width: number): Record<string, string> {
  const { turn, thin, end } = branch;
  if (way === "down") return { left: `${end + 4}px`, top: `${turn + thin / 2 - 22}px`, maxWidth: `${width - end - 4}px` };
  const left = turn + thin + 4;
  const next = layout.nodes[branch.loss.after + 1]?.along ?? width;
  return { left: `${left}px`, top: `${HEAD + end - 36}px`, maxWidth: `${next + BAR - left}px` };
}

interface StreamsProps {
  readonly flow: Flow;
  readonly layout: Layout;
  readonly way: Way;
  readonly width: number;
  readonly classOf: (key: string) => string;
}

function Streams({ flow, layout, way, width, classOf }: StreamsProps) {
  const [hatch, warm] = [useId(), useId()];
  const box = (along: number, length: number, thick: number) =>
    way === "across" ? { x: along, y: 0, width: length, height: thick } : { x: 0, y: along, width: thick, height: length };
  const size = way === "across" ? { width, height: layout.depth } : { width: layout.depth, height: layout.length };
  return (
    <svg class="flow-picture" {...size} style={way === "across" ? { top: `${HEAD}px` } : {}} aria-hidden="true" focusable="false">
      <defs>
        {/* The stream warms towards the maps. */}
        <linearGradient
          id={warm}
          gradientUnits="userSpaceOnUse"
          {...(way === "across" ? { x1: 0, x2: width, y1: 0, y2: 0 } : { x1: 0, x2: 0, y1: 0, y2: layout.length })}
        >
          <stop class="flow-cool" offset="0" />
          <stop class="flow-warm" offset="1" />
        </linearGradient>
        <pattern id={hatch} width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
          <rect class="flow-hatch-ground" width="5" height="5" />
          <rect class="flow-hatch" width="2" height="5" />
        </pattern>
      </defs>
      {layout.nodes.slice(1).map((node, index) => {
        const before = layout.nodes[index] as Node;
        const key = flow.stages[index + 1]?.key ?? "";
        const from = before.along + BAR;
        return <rect key={key} class={`flow-stream${classOf(key)}`} fill={`url(#${warm})`} {...box(from, node.along - from, node.thick)} />;
      })}
      {layout.branches.map((branch) => (
        <path
          key={branch.loss.key}
          class={`flow-branch flow-${branch.loss.fate}${classOf(branch.loss.key)}`}
          d={branchPath(branch, way)}
          {...(branch.loss.fate === "waiting" ? { fill: `url(#${hatch})` } : {})}
        />
      ))}
      {layout.nodes.map((node, index) => {
        const key = flow.stages[index]?.key ?? "";
        const { along, thick, onward } = node;
        return (
          <g key={key} class={`flow-bar${classOf(key)}`}>
            <rect {...box(along, thick === onward ? BAR : BAR / 2, Math.max(thick, 1))} />
            {thick !== onward && <rect {...box(along + BAR / 2, BAR / 2, Math.max(onward, 1))} />}
          </g>
        );
      })}
    </svg>
  );
}

/** What stands under the picture while nothing is pointed at: what did not happen at all. */
function Rest({ flow }: { readonly flow: Flow }) {
  const none = flow.losses.filter((loss) => loss.events === 0).map((loss) => loss.label.toLowerCase());
  return (
    <>
      <span class="flow-keys">
        <span>
          <i class="flow-key flow-key-stream" /> on its way to the maps
        </span>
        <span>
          <i class="flow-key flow-key-kept" /> kept or counted already, on no map
        </span>
        <span>
          <i class="flow-key flow-key-waiting" /> waits
        </span>
        <span>
          <i class="flow-key flow-key-gone" /> not here
        </span>
      </span>
      {none.length > 0 && <span class="flow-none">None: {none.join(", ")}.</span>}
      {flow.stages.some(({ events, onward }) => onward !== undefined && onward !== events) && <span class="flow-none">{SEAM}</span>}
    </>
  );
}

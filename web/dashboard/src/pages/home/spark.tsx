/** A word-sized picture of activity: bars without an axis. Its meaning stands in the row beside it. */

const W = 3;
const GAP = 1;

export function Spark({ values, height = 28 }: { readonly values: readonly number[]; readonly height?: number }) {
  const top = Math.max(1, ...values);
  const width = values.length * (W + GAP) - GAP;
  return (
    <svg class="spark" viewBox={`0 0 ${width} ${height}`} preserveAspectRatio="none" aria-hidden="true">
      {values.map((value, index) => {
        const tall = value === 0 ? 1 : Math.max(2, (value / top) * height);
        // The order of the values is all there is to tell them apart.
        // eslint-disable-next-line react/no-array-index-key
        return <rect key={index} class={value === 0 ? "spark-none" : ""} x={index * (W + GAP)} y={height - tall} width={W} height={tall} />;
      })}
    </svg>
  );
}

/** A line through the last values, newest at the right; `length` values fill the width. */
export function Pulse({ values, length }: { readonly values: readonly number[]; readonly length: number }) {
  const top = Math.max(1, ...values);
  const shift = length - values.length;
  const points = values.map((value, index) => `${index + shift},${23 - (value / top) * 21}`);
  return (
    <svg class="pulse" viewBox={`0 0 ${length - 1} 24`} preserveAspectRatio="none" aria-hidden="true">
      {points.length > 1 && <polyline points={points.join(" ")} vector-effect="non-scaling-stroke" />}
    </svg>
  );
}

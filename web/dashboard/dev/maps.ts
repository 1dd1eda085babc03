import type { HeatMap } from "../src/heat/types";

/** Made-up maps for looking at the renderer; no part of the product. */
export function madeUp(kind: string): HeatMap {
  const random = mulberry(7);
  const gridW = 100;
  const gridH = 200;
  const counts = new Float64Array(gridW * gridH);
  const normal = (): number => Math.sqrt(-2 * Math.log(random() || 1e-9)) * Math.cos(2 * Math.PI * random());
  const hit = (x: number, y: number, n = 1): void => {
    if (x < 0 || y < 0 || x >= 1 || y >= 1) return;
    const index = Math.floor(y * gridH) * gridW + Math.floor(x * gridW);
    counts[index] = (counts[index] ?? 0) + n;
  };
  const spots: [number, number, number, number, number][] = [
    [0.5, 0.06, 0.25, 0.008, 2],
    [0.28, 0.2, 0.06, 0.012, 6],
    [0.7, 0.24, 0.1, 0.03, 3],
    [0.5, 0.45, 0.2, 0.05, 3],
    [0.2, 0.62, 0.05, 0.02, 2],
    [0.82, 0.71, 0.03, 0.01, 2],
    [0.5, 0.9, 0.3, 0.04, 1],
  ];
  const weight = spots.reduce((sum, spot) => sum + spot[4], 0);
  const visit = (): void => {
    if (random() < 0.12) {
      hit(random(), random() ** 1.6);
      return;
    }
    let pick = random() * weight;
    const spot = spots.find((s) => (pick -= s[4]) <= 0) ?? spots[0];
    if (spot) hit(spot[0] + normal() * spot[2], spot[1] + normal() * spot[3]);
  };
  const many: Record<string, number> = { few: 60, some: 2500, dense: 60_000, million: 1_000_000 };
  if (kind === "three") {
    hit(0.3, 0.2);
    hit(0.7, 0.25);
    hit(0.5, 0.7);
  } else if (kind === "clicks") {
    for (const [x, y, n] of [
      [0.82, 0.03, 120],
      [0.3, 0.12, 900],
      [0.31, 0.12, 400],
      [0.2, 0.4, 60],
      [0.5, 0.4, 45],
      [0.8, 0.4, 52],
      [0.5, 0.9, 14],
    ] as const)
      for (let i = 0; i < n; i += 1) hit(x + normal() * 0.012, y + normal() * 0.003);
    for (let i = 0; i < 80; i += 1) hit(random(), random());
  } else if (kind === "trails") {
    for (let v = 0; v < 60; v += 1) {
      let [x, y] = [random(), random() * 0.2];
      for (let m = 0; m < 14; m += 1) {
        const [tx, ty] = [0.5 + normal() * 0.22, Math.min(0.98, y + Math.abs(normal()) * 0.09)];
        for (let t = 0; t <= 1; t += 0.04) {
          const e = t * t * t * (10 - 15 * t + 6 * t * t);
          hit(x + (tx - x) * e, y + (ty - y) * e + Math.sin(e * Math.PI) * 0.01);
        }
        for (let i = 0; i < 6; i += 1) hit(tx + normal() * 0.004, ty + normal() * 0.002);
        [x, y] = [tx, ty];
      }
    }
  } else for (let i = 0; i < (many[kind] ?? 0); i += 1) visit();
  let [total, max] = [0, 0];
  for (const count of counts) [total, max] = [total + count, Math.max(max, count)];
  return { gridW, gridH, counts, total, max };
}

function mulberry(seed: number): () => number {
  let a = seed;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** What the caption of an exported map says. */
export interface PngOptions {
  /** First line: which screen. */
  readonly title: string;
  /** Second line: kind and range, in words. */
  readonly range: string;
  /** Third line: counts, in words. */
  readonly counts: string;
  readonly theme: "light" | "dark";
  /** Pixels per CSS pixel of the screen, up to 2 (default); less where the picture would grow too large. */
  readonly scale?: number | undefined;
}

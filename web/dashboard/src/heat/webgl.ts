import type { Field } from "./field";
import { CONTOUR_FADE, CONTOUR_HALF_WIDTH, CONTOUR_OPACITY, type Frame, MOST_CONTOURS, type Painter } from "./frame";
import { LUT_SIZE } from "./palettes";

const VERTEX = `#version 300 es
void main() {
  gl_Position = vec4(vec2(gl_VertexID & 1, gl_VertexID >> 1) * 4.0 - 1.0, 0.0, 1.0);
}`;

// The same steps as canvas2d.ts: field, contours, colour.
const FRAGMENT = `#version 300 es
precision highp float;
precision highp int;
precision highp sampler2D;
uniform sampler2D field;
uniform sampler2D lut;
uniform ivec2 nodes;
uniform vec4 page;
uniform float canvasHeight;
uniform bool raw;
uniform float opacity;
uniform int lines;
uniform float levels[${MOST_CONTOURS}];
uniform float lineWidth;
out vec4 colour;

float node(int x, int y) {
  return texelFetch(field, clamp(ivec2(x, y), ivec2(0), nodes - 1), 0).r;
}

vec4 cubic(float t) {
  float u = 1.0 - t;
  return 0.5 * vec4(-t * u * u, 2.0 + t * t * (3.0 * t - 5.0), 2.0 + u * u * (3.0 * u - 5.0), -u * t * t);
}

float smoothed(vec2 place) {
  vec2 at = place * vec2(nodes) - 0.5;
  ivec2 base = ivec2(floor(at));
  vec4 wx = cubic(at.x - float(base.x));
  vec4 wy = cubic(at.y - float(base.y));
  float sum = 0.0;
  float most = 0.0;
  for (int j = 0; j < 4; j++) {
    vec4 row = vec4(node(base.x - 1, base.y + j - 1), node(base.x, base.y + j - 1),
                    node(base.x + 1, base.y + j - 1), node(base.x + 2, base.y + j - 1));
    sum += wy[j] * dot(wx, row);
    if (j == 1 || j == 2) most = max(most, max(row.y, row.z));
  }
  return clamp(sum, 0.0, most);
}

void main() {
  vec2 pixel = vec2(gl_FragCoord.x, canvasHeight - gl_FragCoord.y);
  vec2 place = (pixel - page.xy) / page.zw;
  float value;
  if (raw) {
    ivec2 cell = clamp(ivec2(floor(place * vec2(nodes))), ivec2(0), nodes - 1);
    value = node(cell.x, cell.y);
    if (value > 0.0) value = max(value, ${(1 / (LUT_SIZE - 1)).toFixed(9)});
  } else {
    value = smoothed(place);
  }
  float slope = length(vec2(dFdx(value), dFdy(value)));
  if (place.x < 0.0 || place.y < 0.0 || place.x >= 1.0 || place.y >= 1.0) {
    colour = vec4(0.0);
    return;
  }
  vec4 heat = texture(lut, vec2((value * ${LUT_SIZE - 1}.0 + 0.5) / ${LUT_SIZE}.0, 0.5));
  float line = 0.0;
  for (int i = 0; i < lines; i++) {
    float away = abs(value - levels[i]) / max(slope, 1e-6);
    line = max(line, clamp(lineWidth + 0.5 - away, 0.0, 1.0));
  }
  line *= clamp((value - ${CONTOUR_FADE[0]}) / ${CONTOUR_FADE[1] - CONTOUR_FADE[0]}, 0.0, 1.0);
  heat.rgb = mix(heat.rgb, vec3(1.0), line * ${CONTOUR_OPACITY});
  float alpha = heat.a * opacity;
  colour = vec4(heat.rgb * alpha, alpha);
}`;

const UNIFORMS = [
  "field",
  "lut",
  "nodes",
  "page",
  "canvasHeight",
  "raw",
  "opacity",
  "lines",
  "levels",
  "lineWidth",
] as const;

interface Resources {
  readonly at: Readonly<Record<(typeof UNIFORMS)[number], WebGLUniformLocation | null>>;
  readonly field: WebGLTexture;
  readonly lut: WebGLTexture;
}

/** A context that is not back by then is given up: a blank map helps nobody. */
const PATIENCE_MS = 1000;

/** What a painter says of its context. */
export interface ContextNews {
  /** It was lost and is back: everything wants to be painted again. */
  onRestored(): void;
  /** It was lost and does not come back. */
  onGone(): void;
}

/** One triangle over the canvas; the shader does the rest. */
export class WebglPainter implements Painter {
  readonly kind = "webgl2";
  readonly #gl: WebGL2RenderingContext;
  readonly #end = new AbortController();
  #resources: Resources | null = null;
  #giveUp: ReturnType<typeof setTimeout> | undefined;
  #field: Field | null = null;
  #lut: Uint8ClampedArray | null = null;

  /** null where there is no WebGL2: then nothing has been done to the canvas. */
  static on(canvas: HTMLCanvasElement, news: ContextNews): WebglPainter | null {
    const attributes: WebGLContextAttributes = { alpha: true, antialias: false, depth: false, stencil: false };
    const gl = canvas.getContext("webgl2", attributes);
    return gl === null ? null : new WebglPainter(gl, news);
  }

  private constructor(gl: WebGL2RenderingContext, news: ContextNews) {
    this.#gl = gl;
    const { signal } = this.#end;
    gl.canvas.addEventListener(
      "webglcontextlost",
      (event) => {
        // Without this the browser would not restore it. What it held is gone; the next frame makes everything anew.
        event.preventDefault();
        this.#resources = null;
        clearTimeout(this.#giveUp);
        this.#giveUp = setTimeout(() => news.onGone(), PATIENCE_MS);
      },
      { signal },
    );
    gl.canvas.addEventListener(
      "webglcontextrestored",
      () => {
        clearTimeout(this.#giveUp);
        news.onRestored();
      },
      { signal },
    );
  }

  paint(frame: Frame): void {
    const gl = this.#gl;
    if (gl.isContextLost()) return;
    gl.viewport(0, 0, gl.drawingBufferWidth, gl.drawingBufferHeight);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    if (frame.field === null) return;
    const resources = this.#prepare();
    this.#load(resources, frame.field, frame.lut);
    const { at } = resources;
    const { page } = frame;
    gl.uniform2i(at.nodes, frame.field.w, frame.field.h);
    gl.uniform4f(at.page, page.x, page.y, page.w, page.h);
    gl.uniform1f(at.canvasHeight, gl.drawingBufferHeight);
    gl.uniform1i(at.raw, frame.field.raw ? 1 : 0);
    gl.uniform1f(at.opacity, frame.opacity);
    const levels = frame.field.raw ? [] : frame.contours.slice(0, MOST_CONTOURS);
    gl.uniform1i(at.lines, levels.length);
    if (levels.length > 0) gl.uniform1fv(at.levels, levels);
    gl.uniform1f(at.lineWidth, CONTOUR_HALF_WIDTH * frame.density);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }

  dispose(): void {
    clearTimeout(this.#giveUp);
    this.#end.abort();
    this.#gl.getExtension("WEBGL_lose_context")?.loseContext();
  }

  #prepare(): Resources {
    if (this.#resources !== null) return this.#resources;
    const gl = this.#gl;
    const program = link(gl);
    gl.useProgram(program);
    const at = Object.fromEntries(UNIFORMS.map((name) => [name, gl.getUniformLocation(program, name)]));
    const resources = { at: at as Resources["at"], field: texture(gl, 0, gl.NEAREST), lut: texture(gl, 1, gl.LINEAR) };
    gl.uniform1i(resources.at.field, 0);
    gl.uniform1i(resources.at.lut, 1);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    this.#resources = resources;
    this.#field = null;
    this.#lut = null;
    return resources;
  }

  #load(resources: Resources, field: Field, lut: Uint8ClampedArray): void {
    const gl = this.#gl;
    if (field !== this.#field) {
      gl.activeTexture(gl.TEXTURE0);
      gl.bindTexture(gl.TEXTURE_2D, resources.field);
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.R32F, field.w, field.h, 0, gl.RED, gl.FLOAT, field.values);
      this.#field = field;
    }
    if (lut !== this.#lut) {
      gl.activeTexture(gl.TEXTURE1);
      gl.bindTexture(gl.TEXTURE_2D, resources.lut);
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, LUT_SIZE, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(lut));
      this.#lut = lut;
    }
  }
}

function texture(gl: WebGL2RenderingContext, unit: number, filter: number): WebGLTexture {
  const made = gl.createTexture();
  gl.activeTexture(gl.TEXTURE0 + unit);
  gl.bindTexture(gl.TEXTURE_2D, made);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, filter);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, filter);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
  return made;
}

function link(gl: WebGL2RenderingContext): WebGLProgram {
  const program = gl.createProgram();
  for (const [kind, source] of [
    [gl.VERTEX_SHADER, VERTEX],
    [gl.FRAGMENT_SHADER, FRAGMENT],
  ] as const) {
    const shader = gl.createShader(kind);
    if (shader === null) throw new Error("WebGL2 gave no shader");
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost())
    throw new Error(`the heat shader does not link: ${gl.getProgramInfoLog(program) ?? ""}`);
  return program;
}

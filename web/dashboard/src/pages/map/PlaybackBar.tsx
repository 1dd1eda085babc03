/** The controls of a time-lapse: they take the place of the strip's bar while it is on. */

import { Button, IconButton, Segmented, Select, Skeleton, saysOf } from "../../ui";
import { Glyph } from "./glyphs";
import { type Mode, SPEEDS, frameLengthText } from "./playback";
import { rangeText } from "./time";
import type { Playback } from "./usePlayback";

const MODES = [
  { value: "frame", label: "Each alone" },
  { value: "cumulative", label: "Adding up" },
] as const;

export function PlaybackBar({ playback }: { readonly playback: Playback }) {
  const { state } = playback;
  if (state.is === "loading") {
    return (
      <div class="strip-bar play-bar">
        <p class="play-loading" role="status">
          Getting the frames of the time-lapse: {state.done} of {state.count}
        </p>
        <progress class="play-progress" max={state.count} value={state.done} aria-label="Frames loaded" />
        <Button small onClick={playback.stop}>
          Cancel
        </Button>
      </div>
    );
  }
  if (state.is === "failed") {
    const { title, text } = saysOf(state.error);
    return (
      <div class="strip-bar play-bar">
        <p role="alert" class="play-loading">
          <strong>{title}.</strong> {text}
        </p>
        <Button small icon="refresh" onClick={playback.start}>
          Try again
        </Button>
        <Button small variant="quiet" onClick={playback.stop}>
          Close
        </Button>
      </div>
    );
  }
  if (state.is !== "on") return <Skeleton />;
  const count = state.reel.maps.length;
  const frame = state.reel.plan.frames[state.at];
  const said = frame ? `Frame ${state.at + 1} of ${count}, ${rangeText(frame)} UTC` : "";
  return (
    <div class="strip-bar play-bar" role="group" aria-label="Time-lapse">
      <span class="play-buttons">
        <button type="button" class="icon-button" aria-label="Frame before" onClick={() => playback.step(-1)} disabled={state.at === 0}>
          <Glyph name="stepBack" />
        </button>
        {playback.still ? null : (
          <IconButton label={state.playing ? "Pause" : "Play"} icon={state.playing ? "pause" : "play"} tip="none" onClick={playback.toggle} />
        )}
        <button type="button" class="icon-button" aria-label="Next frame" onClick={() => playback.step(1)} disabled={state.at === count - 1}>
          <Glyph name="stepForward" />
        </button>
      </span>
      <input
        class="play-scrub"
        type="range"
        min={0}
        max={count - 1}
        value={state.at}
        aria-label="Frame"
        aria-valuetext={said}
        style={{ "--part": String(count > 1 ? state.at / (count - 1) : 1) }}
        onInput={(event) => playback.seek(event.currentTarget.valueAsNumber)}
      />
      <span class="play-count tabular">
        {state.at + 1}/{count}
        <span class="play-each"> · {frameLengthText(state.reel.plan)} each</span>
      </span>
      <Segmented label="Frames" value={playback.mode} options={MODES} onChange={(mode: Mode) => playback.setMode(mode)} />
      {!playback.still && (
        <Select
          label="Speed"
          hideLabel
          value={String(playback.speed)}
          options={SPEEDS.map((speed) => ({ value: String(speed), label: `${speed} / s` }))}
          onChange={(speed) => playback.setSpeed(Number(speed))}
        />
      )}
      <IconButton label="End the time-lapse" icon="close" tip="above" onClick={playback.stop} />
    </div>
  );
}

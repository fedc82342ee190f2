/** How long iterations took, and what is left of a run. */

import { say } from "./words.js";

const MINUTE = 60;

/** `8 s`, `2 min 5 s`; empty for a time that is not known. */
export function seconds(time) {
  if (typeof time !== "number" || !Number.isFinite(time)) return "";
  if (time < 10) return say("seconds", { seconds: time.toFixed(1) });
  const whole = Math.round(time);
  if (whole < MINUTE) return say("seconds", { seconds: whole });
  return say("minutes", { minutes: Math.floor(whole / MINUTE), seconds: whole % MINUTE });
}

/**
 * The longest that a running loop goes on: what is left of its budget, at the pace of the iterations that were made in
 * this run. Empty before there is one.
 */
export function estimate({ iterations, max_iterations: most }) {
  const paces = iterations.filter(({ replayed }) => !replayed).map(({ seconds: time }) => time).filter((time) => typeof time === "number");
  const left = most - iterations.length;
  if (!paces.length || !(left > 0)) return "";
  const pace = paces.reduce((sum, time) => sum + time, 0) / paces.length;
  return say("atMost", { time: seconds(pace * left) });
}

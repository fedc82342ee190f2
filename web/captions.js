/** What an iteration of a loop is called. */

import { figure } from "./dom.js";
import { say } from "./words.js";

export function caption(iteration, best) {
  const reward = iteration.unscored ? say("unscored") : figure(iteration.reward);
  return say(iteration.index === best ? "iterationBest" : "iteration", { index: iteration.index + 1, reward });
}

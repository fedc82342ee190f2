/** Rewards over the iterations, against the threshold. */

import { figure, svg } from "./dom.js";
import { say } from "./words.js";

const [WIDTH, HEIGHT] = [100, 30];

/** @param {{reward: number|null}[]} iterations unscored ones leave a gap; `best` is the place of the best one, or null */
export function sparkline(iterations, best, threshold, places) {
  const x = (index) => (places > 1 ? 2 + (WIDTH - 4) * (index / (places - 1)) : WIDTH / 2);
  const y = (reward) => HEIGHT - 3 - (HEIGHT - 6) * Math.min(Math.max(reward, 0), 1);
  const scored = iterations.map(({ reward }, index) => ({ reward, index })).filter(({ reward }) => typeof reward === "number");
  const line = scored.map(({ reward, index }, n) => `${n && scored[n - 1].index === index - 1 ? "L" : "M"} ${x(index)} ${y(reward)}`).join(" ");
  // A dot is a line of no length with a round cap: it stays round when the picture is stretched.
  const dots = scored.map(({ reward, index }) =>
    svg("path", { class: index === best ? "rr-dot rr-best" : "rr-dot", d: `M ${x(index)} ${y(reward)} h 0.001` }),
  );
  const label = say("rewards", { rewards: iterations.map(({ reward }) => figure(reward)).join(", "), threshold: figure(threshold) });
  return svg(
    "svg",
    { class: "rr-spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": label },
    svg("title", { text: label }),
    typeof threshold === "number" && svg("path", { class: "rr-threshold", d: `M 0 ${y(threshold)} H ${WIDTH}` }),
    svg("path", { class: "rr-line", d: line }),
    ...dots,
  );
}

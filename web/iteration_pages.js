/** The iterations of a loop as pages of the large dialog: what each was, why it scored so, and what can be done with it. */

import { caption } from "./captions.js";
import { renderCard, renderUnscored } from "./critique_card.js";
import { element } from "./dom.js";
import { handOn } from "./hand_on.js";
import { usePrompt } from "./loop_prompt.js";
import { savePicture } from "./save_picture.js";
import { seconds } from "./times.js";
import { renderDiff } from "./word_diff.js";
import { say } from "./words.js";

/** @param {object} node the Loop Until Score; @param {object} state its run; @returns pages for `openPictures` */
export function iterationPages(node, state) {
  return state.iterations.map((iteration, place) => ({
    label: caption(iteration, state.best),
    image: iteration.image,
    rivals: rivalsOf(state, place),
    actions: actionsOf(node, state, iteration),
    render: () =>
      element(
        "div",
        {},
        element("h3", { text: say("prompt") }),
        promptOf(state, place),
        element("p", { class: "rr-comments", text: madeWith(iteration) }),
        iteration.card ? renderCard(iteration.card) : iteration.unscored && renderUnscored(iteration.unscored),
      ),
  }));
}

/** The prompt of an iteration, marked against the one before it. */
export function promptOf({ iterations }, place) {
  return renderDiff(iterations[Math.max(place - 1, 0)].prompt, iterations[place].prompt);
}

/** The first and the best iteration, where they are others than this one. */
function rivalsOf({ iterations, best }, place) {
  const rivals = [
    ["first", 0],
    ["best", best],
  ];
  return rivals
    .filter(([key, other]) => other !== null && other !== place && iterations[other]?.image && !(key === "best" && other === 0))
    .map(([key, other]) => ({ key, label: say(`against_${key}`), image: iterations[other].image }));
}

function actionsOf(node, state, iteration) {
  const { index, image, prompt, seed } = iteration;
  const used = () => say(usePrompt(node, state.node, { prompt, seed }) ? (seed === null ? "usedPrompt" : "used") : "notUsed");
  return [
    { text: say("use"), title: say("useMeaning"), run: used },
    ...(state.running ? [] : [{ text: say("handOn"), title: say("handOnMeaning"), run: () => handOn(state, index) }]),
    ...(image ? [{ text: say("save"), title: say("saveMeaning"), run: () => savePicture(state, iteration) }] : []),
  ];
}

function madeWith({ seed, seconds: time }) {
  return [seed === null ? say("seedUnwired") : say("seedIs", { seed }), seconds(time)].filter(Boolean).join(" · ");
}

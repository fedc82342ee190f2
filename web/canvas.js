/** The canvas behind a card: zooming and panning go on while the pointer is over one, in both renderers. */

import { app } from "../../scripts/app.js";

const MIDDLE = 1;

/**
 * Give the canvas what a card has no use for: the wheel where nothing scrolls (or with Ctrl), and the middle button.
 * In Nodes 2.0 the page does this itself for everything that is no scroller of its own.
 */
export function passThrough(card) {
  card.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey && scrolls(event.target, card, event)) return event.stopPropagation();
    if (inNodes2()) return undefined;
    event.preventDefault();
    event.stopPropagation();
    return app.canvas?.processMouseWheel?.(event);
  });
  for (const [type, handler] of [
    ["pointerdown", "processMouseDown"],
    ["pointermove", "processMouseMove"],
    ["pointerup", "processMouseUp"],
  ]) {
    card.addEventListener(type, (event) => {
      const middle = type === "pointermove" ? event.buttons & 4 : event.button === MIDDLE;
      if (!middle || inNodes2()) return;
      event.preventDefault();
      app.canvas?.[handler]?.(event);
    });
  }
}

const inNodes2 = () => Boolean(globalThis.LiteGraph?.vueNodesMode);

/** Whether something between the pointer and the card has room to scroll the way the wheel turns. */
function scrolls(target, card, { deltaX, deltaY }) {
  for (let part = target; part && part !== card.parentElement; part = part.parentElement) {
    const style = getComputedStyle(part);
    if (deltaY && part.scrollHeight > part.clientHeight + 1 && /auto|scroll/.test(style.overflowY)) return true;
    if ((deltaX || deltaY) && part.scrollWidth > part.clientWidth + 1 && /auto|scroll/.test(style.overflowX)) return Boolean(deltaX);
  }
  return false;
}

/** Building blocks of the page. Text enters the document only as text: no markup is ever parsed. */

const SVG = "http://www.w3.org/2000/svg";

/**
 * An HTML element.
 * @param {string} tag
 * @param {object} options `text` becomes textContent, `on` event listeners, `style` CSS variables, the rest attributes
 * @param {...(Node|string|null|undefined|false)} children
 */
export function element(tag, options = {}, ...children) {
  return furnish(document.createElement(tag), options, children);
}

export function svg(tag, options = {}, ...children) {
  return furnish(document.createElementNS(SVG, tag), options, children);
}

function furnish(made, { text, on = {}, style = {}, ...attributes }, children) {
  if (text !== undefined) made.textContent = String(text);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, String(value));
  }
  for (const [name, listener] of Object.entries(on)) made.addEventListener(name, listener);
  for (const [name, value] of Object.entries(style)) made.style.setProperty(name, String(value));
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

/** A number as people read it, or a dash where there is none: null must never look like 0. */
export function figure(value, digits = 2) {
  return typeof value === "number" && Number.isFinite(value) ? value.toFixed(digits) : "–";
}

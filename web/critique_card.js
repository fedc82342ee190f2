/** One critique as a card, and a deck of cards for a batch. Every text in a card is somebody else's. */

import { element, figure } from "./dom.js";
import { caption } from "./captions.js";
import { openPictures } from "./picture_dialog.js";
import { picture } from "./pictures.js";
import { dimensionTitle, translated, whyUnscored } from "./sentences.js";
import { renderDiff } from "./word_diff.js";
import { say } from "./words.js";

const SEEN = 0.05; // spreads below it would read ± 0.0

/** A deck on a node: one card at a time, and a pager when there are several. */
export class CardDeck {
  constructor() {
    this.element = element("section", { class: "rr rr-deck", "aria-label": say("critique"), "data-capture-wheel": "true" });
    this.clear();
  }

  clear() {
    this.cards = [];
    this.element.replaceChildren(element("p", { class: "rr-empty", text: say("noCritique") }));
  }

  /** Begins with the best one. @param {object[]} cards one per image of the batch */
  show(cards) {
    this.cards = cards;
    this.labels = cards.map(({ index, reward }) => say("imageOf", { index: index + 1, reward: figure(reward) }));
    const rewards = cards.map(({ reward }) => reward ?? -1);
    this.turn(rewards.indexOf(Math.max(...rewards)));
  }

  /** A loop's critiques, one per iteration: the newest while it runs, then the best. */
  showLoop({ iterations, best, running }) {
    const judged = iterations.filter(({ card }) => card);
    if (!judged.length) return this.clear();
    this.cards = judged.map(({ card }) => card);
    this.labels = judged.map((iteration) => caption(iteration, best));
    const place = running ? -1 : judged.findIndex(({ index }) => index === best);
    return this.turn(place < 0 ? judged.length - 1 : place);
  }

  turn(index, focus = null) {
    this.current = index;
    const card = this.cards[index];
    const pager = this.cards.length > 1 && this.pager();
    this.element.replaceChildren(renderHead(card, pager, () => this.enlarge()), renderBody(card));
    this.element.querySelector(focus)?.focus();
  }

  pager() {
    const last = this.cards.length - 1;
    const step = (sign, key, change) =>
      element("button", {
        type: "button",
        class: `rr-button rr-${key}`,
        text: sign,
        "aria-label": say(key),
        disabled: this.current + change < 0 || this.current + change > last,
        on: { click: () => this.turn(this.current + change, `.rr-${key}:not(:disabled), .rr-pager button:not(:disabled)`) },
      });
    const place = element("span", { text: `${this.current + 1} / ${this.cards.length}`, title: this.labels[this.current], "aria-live": "polite" });
    return element("nav", { class: "rr-pager", "aria-label": say("images") }, step("‹", "previous", -1), place, step("›", "next", 1));
  }

  enlarge() {
    const pages = this.cards.map((card, place) => ({
      label: this.labels[place],
      image: card.image,
      render: () => renderCard(card),
    }));
    openPictures(pages, this.current);
  }
}

/** The card without the deck around it: for a dialog. */
export function renderCard(card) {
  return element("article", { class: "rr-card" }, renderHead(card, null, null), renderBody(card));
}

function renderHead(card, pager, enlarge) {
  const thumbnail =
    card.image &&
    enlarge &&
    element(
      "button",
      { type: "button", class: "rr-thumb", "aria-label": say("enlarge"), title: say("enlarge"), on: { click: enlarge } },
      picture(card.image, "", { thumbnail: true }),
    );
  const reward = element("div", { class: "rr-reward", title: say("rewardMeaning") }, element("strong", { text: figure(card.reward) }), element("span", { text: say("reward") }));
  return element("header", { class: "rr-head" }, thumbnail, reward, badge(card), pager);
}

/** Sentences about what keeps an image from passing: its reward, and each dimension below its minimum. */
export function lacks(card, reward, threshold) {
  const short = [];
  if (typeof reward === "number" && typeof threshold === "number" && reward < threshold) {
    short.push(say("below", { title: say("rewardName"), ...apart(reward, threshold, 2) }));
  }
  for (const { title, score, minimum } of card?.dimensions ?? []) {
    if (typeof score === "number" && typeof minimum === "number" && score < minimum) short.push(say("below", { title: dimensionTitle(title), ...apart(score, minimum, 1) }));
  }
  return short;
}

/** Two figures with as many digits as it takes to see that they differ. */
function apart(value, limit, digits) {
  while (digits < 6 && figure(value, digits) === figure(limit, digits)) digits += 1;
  return { value: figure(value, digits), limit: figure(limit, digits) };
}

function badge(card) {
  if (card.unscored) return element("span", { class: "rr-badge rr-unknown", text: say("unscored") });
  if (card.passed === null || card.passed === undefined) return null;
  if (card.passed) return element("span", { class: "rr-badge rr-good", text: say("passed") });
  return element("span", { class: "rr-badge rr-poor", text: say("failed"), title: lacks(card, card.reward, card.threshold).join("\n") });
}

function renderBody(card) {
  const body = element("div", { class: "rr-body", tabindex: "0", role: "region", "aria-label": say("critique") });
  if (card.request) body.append(element("p", { class: "rr-request", dir: "auto", text: card.request, title: say("request") }));
  if (card.notes?.length) body.append(element("p", { class: "rr-notes", dir: "auto", text: translated(card.notes.join("\n")), title: say("notes") }));
  if (card.unscored) {
    body.append(renderUnscored(card.unscored));
    return body;
  }
  const short = card.passed === false ? lacks(card, card.reward, card.threshold) : [];
  if (short.length) body.append(element("p", { class: "rr-short", dir: "auto", text: short.join(" · ") }));
  const weighted = new Set(card.dimensions.map(({ weight }) => weight)).size > 1;
  body.append(element("dl", { class: "rr-dimensions" }, ...card.dimensions.flatMap((dimension) => renderDimension(dimension, card.scale, weighted))));
  if (card.summary) body.append(section("summary", element("p", { dir: "auto", text: card.summary })));
  if (card.refinement) body.append(renderRefinement(card));
  if (card.analysis) body.append(element("details", {}, element("summary", { text: say("analysis") }), element("p", { dir: "auto", text: card.analysis })));
  return body;
}

/** Why an image has no score, as a paragraph. */
export function renderUnscored(unscored) {
  const why = whyUnscored(unscored).map((text) => element("span", { dir: "auto", text }));
  return element("p", { class: "rr-unscored" }, element("strong", { text: say("unscoredBecause") }), element("code", { text: unscored.reason }), ...why);
}

function renderDimension(dimension, scale, weighted) {
  const { score, spread } = dimension;
  const applies = score !== null && score !== undefined;
  const undecided = applies && spread >= SEEN;
  const value = applies ? `${figure(score, 1)}${undecided ? ` ± ${figure(spread, 1)}` : ""}` : say("notApplicable");
  const meaning = applies ? say("scoreOf", { score: figure(score, 1), ...scale }) : say("notApplicableMeaning");
  const term = element(
    "dt",
    {},
    element("span", { dir: "auto", text: dimensionTitle(dimension.title) }),
    weighted && element("small", { text: `× ${figure(dimension.weight, 1)}`, title: say("weight") }),
    element("output", { text: value, title: undecided ? `${meaning}\n${say("spreadIs")}` : meaning }),
  );
  const words = element("p", { dir: "auto", text: dimension.justification });
  return [term, element("dd", {}, applies ? bar(dimension, scale) : element("div", { class: "rr-bar rr-none" }), words)];
}

/** A bar from the scale's lower to its upper end; a whisker is one standard deviation, a notch the wished minimum. */
function bar(dimension, { minimum, maximum }) {
  const share = (score) => Math.min(Math.max((score - minimum) / (maximum - minimum), 0), 1);
  const place = (score) => `${(100 * share(score)).toFixed(1)}%`;
  const { score, spread } = dimension;
  const parts = [element("i", { class: "rr-fill", style: { width: place(score) } })];
  if (spread >= SEEN) {
    const centre = typeof dimension.expected === "number" ? dimension.expected : score;
    const [low, high] = [centre - spread, centre + spread];
    parts.push(element("i", { class: "rr-whisker", style: { left: place(low), right: `${(100 - 100 * share(high)).toFixed(1)}%` } }));
  }
  const floor = dimension.minimum;
  if (typeof floor === "number" && floor > minimum) {
    parts.push(element("i", { class: "rr-notch", style: { left: place(floor) }, title: say("minimumIs", { minimum: figure(floor, 1) }) }));
  }
  const label = `${dimensionTitle(dimension.title)}: ${say("scoreOf", { score: figure(score, 1), minimum, maximum })}`;
  return element("div", { class: `rr-bar ${tone(share(score))}`, role: "img", "aria-label": label }, ...parts);
}

/** The colour class of a share in [0, 1]: thirds, as the anchors of the scale are. */
function tone(share) {
  if (share >= 2 / 3) return "rr-good";
  return share >= 1 / 3 ? "rr-fair" : "rr-poor";
}

function renderRefinement({ refinement, request }) {
  const changed = refinement.request && refinement.request !== request;
  const comments = refinement.comments && element("p", { class: "rr-comments", dir: "auto", text: refinement.comments });
  return section("refinement", comments, changed ? renderDiff(request, refinement.request) : element("p", { class: "rr-comments", text: say("unchanged") }));
}

function section(key, ...children) {
  return element("section", {}, element("h3", { text: say(key) }), ...children);
}

// Elements are made by h(), and a page that was made anew is laid over the one that is shown by
// morph(): what did not change is left alone, so focus, selection, scrolling and open details stay
// where they are while figures change around them. No text ever becomes markup.

const SVG = "http://www.w3.org/2000/svg";
const SVG_TAGS = new Set([
  "svg",
  "path",
  "rect",
  "circle",
  "line",
  "g",
  "text",
  "polyline",
  "defs",
  "pattern",
  "title",
  "clipPath",
]);

/** An element. `props`: attributes; `on…`: a listener; `key`: what it is among its siblings;
    `widget`: something that draws the inside of the element itself: {mount(element), update(props)}. */
export function h(tag, props = {}, ...children) {
  const inSvg = SVG_TAGS.has(tag) && !(tag === "title" && props.html);
  const element = inSvg ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "key") element._key = String(value);
    else if (name === "widget") element._widget = value;
    else if (name === "value" && "value" in element) setValue(element, value);
    else if (name.startsWith("on")) listen(element, name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  append(element, children);
  // A value chosen among options is set once they are there.
  if (tag === "select" && props.value !== undefined) setValue(element, props.value);
  return element;
}

function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === undefined || child === null || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

function setValue(element, value) {
  element.value = String(value);
  element._given = String(value);
}

// One listener for each event of an element; which function it calls may change with each morph.
function listen(element, event, call) {
  element._on ??= {};
  if (!element._on[event]) element.addEventListener(event, (e) => element._on[event]?.(e));
  element._on[event] = call;
}

/** Makes the children of `shown` those given, touching only what differs. */
export function draw(shown, ...children) {
  const fresh = shown.cloneNode(false);
  append(fresh, children);
  const focused = document.activeElement;
  morphChildren(shown, fresh);
  // An element that is moved loses the focus; it gets it back. One that is gone has none to give.
  if (focused && focused !== document.activeElement && focused.isConnected) {
    focused.focus({ preventScroll: true });
  }
}

function morph(old, fresh) {
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  for (const name of Object.keys(old._on ?? {})) if (!fresh._on?.[name]) old._on[name] = null;
  for (const [name, call] of Object.entries(fresh._on ?? {})) if (call) listen(old, name, call);
  if (old._widget) {
    old._widget.update(fresh._widget.props);
    return;
  }
  morphAttributes(old, fresh);
  morphChildren(old, fresh);
  // What somebody is typing stays; what the page gave and gives differently now is shown.
  if (fresh._given !== undefined && fresh._given !== old._given) {
    old._given = fresh._given;
    if (old !== document.activeElement) old.value = fresh._given;
  }
}

function morphAttributes(old, fresh) {
  for (const { name } of [...old.attributes]) {
    // Whether details are open is the reader's choice.
    if (!fresh.hasAttribute(name) && !(name === "open" && old.nodeName === "DETAILS")) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value && !(name === "open" && old.nodeName === "DETAILS"))
      old.setAttribute(name, value);
  }
}

function morphChildren(old, fresh) {
  const children = [...fresh.childNodes];
  const wanted = new Set(children.map((child) => child._key).filter(Boolean));
  const keyed = new Map();
  const others = [];
  for (const child of [...old.childNodes]) {
    if (!child._key) others.push(child);
    else if (wanted.has(child._key)) keyed.set(child._key, child);
    else child.remove();
  }
  let place = old.firstChild;
  const giveUp = (child) => {
    if (child === place) place = place.nextSibling;
    child.remove();
  };
  for (const child of children) {
    const match = child._key ? keyed.get(child._key) : takeLike(others, child, giveUp);
    if (match && isLike(match, child)) {
      if (match === place) place = place.nextSibling;
      else old.insertBefore(match, place);
      morph(match, child);
    } else {
      if (match) giveUp(match);
      old.insertBefore(child, place);
      mount(child);
    }
  }
  others.forEach(giveUp);
}

// The first of those without a key that may become this one. Those before it are given up, so
// that what stays is never moved.
function takeLike(others, child, giveUp) {
  const at = others.findIndex((other) => isLike(other, child));
  if (at < 0) return undefined;
  const [match, ...skipped] = others.splice(0, at + 1).reverse();
  skipped.forEach(giveUp);
  return match;
}

function isLike(a, b) {
  return (
    a.nodeName === b.nodeName &&
    a._key === b._key &&
    a._widget?.kind === b._widget?.kind &&
    (a.nodeName !== "INPUT" || a.type === b.type)
  );
}

function mount(element) {
  if (element._widget) element._widget.mount(element);
  else if (element.nodeType === Node.ELEMENT_NODE) for (const child of element.children) mount(child);
}

const announcer = () => document.getElementById("announcer");

/** Says something to whoever listens instead of looking. */
export function announce(text) {
  announcer().textContent = "";
  requestAnimationFrame(() => {
    announcer().textContent = text;
  });
}

/** Says to everybody that something was done. */
export function toast(text) {
  announce(text);
  const shown = h("p", { class: "toast" }, text);
  document.getElementById("toasts").append(shown);
  setTimeout(() => shown.remove(), 8000);
}

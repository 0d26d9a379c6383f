// Small helpers that every part of the page uses.

/** The element with this id. */
export const $ = (id) => document.getElementById(id);

/** A new element with properties and children; text is never parsed as markup. */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** An icon from the page's sprite. */
export function icon(name) {
  const space = 'http://www.w3.org/2000/svg';
  const svg = document.createElementNS(space, 'svg');
  const use = document.createElementNS(space, 'use');
  use.setAttribute('href', `#i-${name}`);
  svg.setAttribute('aria-hidden', 'true');
  svg.append(use);
  return svg;
}

/** Show a message at the bottom, which disappears by itself. */
export function toast(text, bad = false) {
  const line = make('div', { className: bad ? 'toast bad' : 'toast', textContent: text });
  $('toasts').append(line);
  setTimeout(() => line.remove(), bad ? 7000 : 3500);
}

/** Download a file. */
export function save(blob, name) {
  const url = URL.createObjectURL(blob);
  make('a', { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** A name for a file that sorts by time. */
export function fileName(ending) {
  const now = new Date().toISOString().slice(0, 19);
  return `mimicam-${now.replaceAll(':', '').replace('T', '-')}.${ending}`;
}

/** Values by name in one of the browser's stores, where it allows that. */
const storedIn = (store) => ({
  get(name, otherwise) {
    try {
      return JSON.parse(window[store].getItem(`mimicam.${name}`)) ?? otherwise;
    } catch {
      return otherwise;
    }
  },
  set(name, value) {
    try {
      window[store].setItem(`mimicam.${name}`, JSON.stringify(value));
    } catch {
      /* private window: not stored */
    }
  },
});

/** Values that the browser keeps. */
export const kept = storedIn('localStorage');

/** Values that this tab alone keeps. */
export const tab = storedIn('sessionStorage');

// Reads and sets the inputs that the server made from its table of controls.
//
// Each has data-control, its name, and data-scope: "call" goes to the server, "browser" stays here.

import { $, kept } from './dom.js';

/** The inputs of one control: several for radio buttons, otherwise one. */
const inputsOf = (name) => [...document.querySelectorAll(`[data-control="${name}"]`)];

/** Every input of a scope. */
export const inputsIn = (scope) => [...document.querySelectorAll(`[data-scope="${scope}"]`)];

/** The value of an input, with the type that the server wants. */
function valueOf(input) {
  if (input.type === 'checkbox') return input.checked;
  const isNumber = input.type === 'range' || input.dataset.type === 'number';
  return isNumber ? Number(input.value) : input.value;
}

/** The values of a scope, by name. */
export function readControls(scope = 'call') {
  const values = {};
  for (const input of inputsIn(scope)) {
    if (input.type !== 'radio' || input.checked) values[input.dataset.control] = valueOf(input);
  }
  return values;
}

/** Set inputs by name. Values that are not offered change nothing. */
export function setControls(values) {
  for (const [name, value] of Object.entries(values)) {
    for (const input of inputsOf(name)) set(input, value);
  }
  refreshLabels();
}

function set(input, value) {
  const offered = () => [...input.options].some((option) => option.value === String(value));
  if (input.type === 'checkbox') input.checked = value === true;
  else if (input.type === 'radio') input.checked ||= input.value === value;
  else if (input.type === 'range' || offered()) input.value = String(value);
}

/** The choices of a control, in the page's order. */
export const choicesOf = (name) => inputsOf(name).map((input) => input.value);

/** Bring back what this browser keeps. */
export function restoreControls() {
  setControls(kept.get('settings', {}));
  for (const { dataset } of inputsIn('browser')) {
    setControls({ [dataset.control]: kept.get(dataset.control, false) });
  }
}

/** Bring everything that repeats an input's value up to date. */
export function refreshLabels() {
  document.querySelectorAll('.slider output').forEach((output) => {
    const value = Number($(output.htmlFor.value).value);
    output.value = output.dataset.unit === '%' ? `${Math.round(value * 100)} %` : String(value);
  });
  $('camera').classList.toggle('mirrored', $('mirror').checked);
  $('stage').dataset.badge = $('badge').value; // texts over the picture keep away from the label
}

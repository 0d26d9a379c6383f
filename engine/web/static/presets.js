// Expression presets: a button and a slider for each, made by the server, and hotkeys.

import { link } from './call.js';

const WHOLE = 1;

const buttons = () => [...document.querySelectorAll('[data-preset]')];
const sliderOf = (name) => document.querySelector(`[data-preset-amount="${name}"]`);

/** Connect the buttons and sliders. */
export function wirePresets() {
  for (const button of buttons()) {
    const { preset } = button.dataset;
    button.addEventListener('click', () => toggle(button));
    sliderOf(preset).addEventListener('input', () => send(button));
  }
  // A new connection begins without presets.
  link.addEventListener('state', ({ detail }) => detail.state === 'live' && sendAll());
}

/** Press the button of a hotkey. Returns whether there is one. */
export function pressPreset(key) {
  // Of two with one key the last one counts: the user's own come after the bundled ones.
  const button = buttons().findLast((each) => each.dataset.key === key);
  button?.click();
  return Boolean(button);
}

function toggle(button) {
  const { preset, leaves } = button.dataset;
  if (leaves) {
    link.send({ type: 'preset', name: preset }); // the server lets it go by itself
    return;
  }
  const slider = sliderOf(preset);
  slider.value = Number(slider.value) ? 0 : WHOLE;
  send(button);
}

function send(button) {
  const name = button.dataset.preset;
  const amount = Number(sliderOf(name).value);
  button.setAttribute('aria-pressed', String(amount !== 0));
  link.send({ type: 'preset', name, amount });
}

function sendAll() {
  for (const button of buttons()) {
    if (Number(sliderOf(button.dataset.preset).value)) send(button);
  }
}

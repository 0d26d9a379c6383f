// The page's states: status, notices, hints.

import { HttpRefusal } from './api.js';
import { $, kept } from './dom.js';
import { sentence } from './gallery.js';
import { Unreachable } from './link.js';

const NEED_A_CALL = [
  'calibrate',
  'other-face',
  'standby',
  'snapshot',
  'record',
  'share',
  'full',
  'measure',
  'from-camera',
];
const FACES = {
  tracking: 'Face found',
  holding: 'Face lost',
  easing: 'Face lost',
  standby: 'No face',
};
const HINT_MS = 12_000;

/** Show the status beside the title. */
export function pill(state, text) {
  $('status').dataset.state = state;
  // A live region: screen readers would repeat a text that is written again.
  if ($('status-text').textContent !== text) $('status-text').textContent = text;
}

/** Show an error and its remedy, with a button if there is one to press. */
export function notice(title, text, action, onAction) {
  $('notice-title').textContent = title;
  $('notice-text').textContent = text;
  $('notice-action').hidden = !action;
  $('notice-action').textContent = action || '';
  $('notice-action').onclick = onAction || null;
  $('notice').hidden = false;
}

/** Hide the notice. */
export function quiet() {
  $('notice').hidden = true;
}

/** Show a hint, once in this browser. */
export function hint(name, text) {
  const seen = kept.get('hints', []);
  if (seen.includes(name) || !$('hint').hidden) return;
  kept.set('hints', [...seen, name]);
  $('hint-text').textContent = text;
  $('hint').hidden = false;
  setTimeout(closeHint, HINT_MS);
}

/** Hide the hint. */
export function closeHint() {
  $('hint').hidden = true;
}

/** Move the keyboard focus from a button that disappears to another one. */
export function passFocus(from, to) {
  if ([document.body, $(from)].includes(document.activeElement)) {
    $(to).focus({ preventScroll: true });
  }
}

/** Show the result, or the welcome text. */
export function setLive(on) {
  $('stage').dataset.live = String(on);
  document.querySelector('.show').dataset.idle = String(!on);
}

/** Enable the buttons that only work during a call. */
export function enable(on) {
  for (const id of NEED_A_CALL) $(id).disabled = !on;
}

/** Show the camera's picture. */
export function showCamera(stream) {
  $('camera').srcObject = stream;
  document.querySelector('.preview').dataset.live = 'true';
  $('stop').disabled = false;
}

/** Show that no call runs. */
export function showIdle() {
  $('camera').srcObject = null;
  $('result').srcObject = null;
  document.querySelector('.preview').dataset.live = 'false';
  $('face').hidden = true;
  $('stop').disabled = true;
  setLive(false);
  enable(false);
  quiet();
  pill('idle', 'Ready');
  passFocus('stop', 'start');
}

/** Show whether the tracker finds a face. */
export function showFace(face, standby) {
  $('face').hidden = standby;
  $('face').dataset.state = face;
  $('face').textContent = FACES[face] || '';
  const live = face === 'tracking' ? 'Live' : 'Live, no face';
  pill('live', standby ? 'Standby' : live);
}

/** Show that the result is the camera's own picture. */
export function showOwnFace(shown) {
  $('own-face-note').hidden = !shown;
  document.body.dataset.ownFace = String(shown);
}

/** Show why there is no connection, while the page reconnects by itself. */
export function showWaiting(error, tries, connect) {
  pill('bad', 'Disconnected');
  if (error instanceof HttpRefusal && error.code === 'full') {
    notice(
      'Every place is taken',
      `${sentence(error)} This page connects by itself as soon as a place is free.`,
    );
  } else if (error instanceof HttpRefusal && error.code === 'draining') {
    notice('The server is stopping', 'This page reconnects by itself when the server runs again.');
  } else if (error instanceof Unreachable) {
    notice(
      'No pictures get through',
      'The server answers, but no video connection is established. A firewall or VPN blocks UDP ' +
        'between this browser and the server, or this computer has no network at all.',
      'Try now',
      connect,
    );
  } else if (error instanceof HttpRefusal) {
    notice('Please wait', sentence(error));
  } else if (tries > 1 || !error) {
    notice(
      'The connection was lost',
      'This page reconnects by itself. Check that mimicam is still running.',
      'Try now',
      connect,
    );
  }
}

/** Show why the server refused the call. The page does not try again by itself. */
export function showRefused(error, connect) {
  pill('bad', 'Not connected');
  if (error.code === 'taken') {
    notice(
      'Opened in another tab',
      'Your call continues in the other tab.',
      'Use it here',
      connect,
    );
  } else if (error.status === 401) {
    notice(
      'The server has a new link',
      'It was restarted. Open the link that it printed. ' +
        'With the option --token the link stays the same.',
      'Reload',
      () => location.reload(),
    );
  } else {
    notice('The server refused', sentence(error), 'Try again', connect);
  }
}

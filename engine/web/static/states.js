// What the page shows in each state: status, notices, hints.

import { Refused } from './api.js';
import { $, kept } from './dom.js';
import { sentence } from './gallery.js';
import { Unreachable } from './link.js';

const NEED_A_CALL = [
  'calibrate',
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
  // The element is a live region: writing the same text again would make screen readers repeat it.
  if ($('status-text').textContent !== text) $('status-text').textContent = text;
}

/** Show what went wrong, with a button for what to do. */
export function notice(title, text, action, onAction) {
  $('notice-title').textContent = title;
  $('notice-text').textContent = text;
  $('notice-action').hidden = !action;
  $('notice-action').textContent = action || '';
  $('notice-action').onclick = onAction || null;
  $('notice').hidden = false;
}

/** Take the notice away. */
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

/** Take the hint away. */
export function closeHint() {
  $('hint').hidden = true;
}

/** Move the keyboard focus on when the button that has it goes away. */
export function passFocus(from, to) {
  if ([document.body, $(from)].includes(document.activeElement)) {
    $(to).focus({ preventScroll: true });
  }
}

/** Show the result, or the welcome in its place. */
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

/** Show why the connection is down, while the page tries again by itself. */
export function showWaiting(error, tries, connect) {
  pill('bad', 'Disconnected');
  if (error instanceof Refused && error.code === 'full') {
    notice(
      'Every place is taken',
      `${sentence(error)} You are let in by yourself, as soon as there is room.`,
    );
  } else if (error instanceof Refused && error.code === 'draining') {
    notice(
      'The server is stopping',
      'It is being stopped or started again. This page comes back by itself when it runs.',
    );
  } else if (error instanceof Unreachable) {
    notice(
      'No pictures get through',
      'The server answers, but the video connection does not come about. A firewall or VPN ' +
        'between this browser and it blocks UDP, or this computer has no network at all.',
      'Try now',
      connect,
    );
  } else if (error instanceof Refused) {
    notice('The server asks to wait', sentence(error));
  } else if (tries > 1 || !error) {
    notice(
      'Lost the server',
      'Trying again by itself. Is mimicam still running on its computer?',
      'Try now',
      connect,
    );
  }
}

/** Show why the server refused; the page does not try again by itself. */
export function showRefused(error, connect) {
  pill('bad', 'Not connected');
  if (error.code === 'taken') {
    notice('Opened somewhere else', 'This studio runs in another tab now.', 'Use it here', connect);
  } else if (error.status === 401) {
    notice(
      'The server has a new link',
      'It was started again. Open the link that it printed. ' +
        '(With --token the link stays the same.)',
      'Reload',
      () => location.reload(),
    );
  } else {
    notice('The server refused', sentence(error), 'Try again', connect);
  }
}

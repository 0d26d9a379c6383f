// Connects events to actions.

import * as actions from './actions.js';
import * as call from './call.js';
import * as camera from './camera.js';
import { inputsIn } from './controls.js';
import { $, kept } from './dom.js';
import { wirePresets } from './presets.js';
import { snapshot } from './record.js';
import { closeHint } from './states.js';

const STATS_MS = 500;

const CLICKS = {
  start: call.start,
  stop: call.stop,
  calibrate: actions.calibrate,
  'other-face': actions.otherFace,
  standby: actions.standby,
  record: actions.record,
  share: actions.share,
  full: actions.fullScreen,
  measure: actions.measureAge,
  theme: actions.theme,
  'from-camera': actions.stillOfCamera,
  'hint-close': closeHint,
  snapshot: () => snapshot($('result')),
  upload: () => $('file').click(),
  'help-open': () => $('help').showModal(),
};

/** Connect every event to its action. */
export function wire() {
  for (const [id, action] of Object.entries(CLICKS)) $(id).addEventListener('click', action);
  wireControls();
  wirePresets();
  wireCall();
  wireDrop();
  wirePage();
}

function wireControls() {
  for (const input of inputsIn('call')) {
    input.addEventListener('input', () => call.changed(input.dataset.control));
  }
  for (const input of inputsIn('browser')) {
    input.addEventListener('change', () => kept.set(input.dataset.control, input.checked));
  }
  $('cameras').addEventListener('change', call.switchCamera);
  $('file').addEventListener('change', () => {
    actions.addFile($('file').files[0]);
    $('file').value = ''; // so that the same file can be chosen again
  });
}

function wireCall() {
  const { gallery, stats, link } = call;
  link.addEventListener('state', ({ detail }) => call.linkChanged(detail));
  link.addEventListener('result', ({ detail }) => call.resultCame(detail));
  link.addEventListener('message', ({ detail }) => call.messageCame(detail));
  $('result').addEventListener('resize', call.pictureCame);
  $('result').addEventListener('loadeddata', call.pictureCame);
  gallery.addEventListener('choose', ({ detail }) => {
    link.send({ type: 'set', settings: { portrait: detail } });
  });
  setInterval(() => link.state === 'live' && stats.update(link.pc), STATS_MS);
}

function wireDrop() {
  const hasFiles = (event) => [...(event.dataTransfer?.types || [])].includes('Files');
  addEventListener('dragover', (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    $('drop').hidden = false;
  });
  addEventListener('dragleave', (event) => {
    if (!event.relatedTarget) $('drop').hidden = true;
  });
  addEventListener('drop', (event) => {
    $('drop').hidden = true;
    if (!hasFiles(event)) return;
    event.preventDefault();
    actions.addFile(event.dataTransfer.files[0]);
  });
}

function wirePage() {
  document.addEventListener('keydown', actions.press);
  document.addEventListener('fullscreenchange', () => {
    // Only the full-screen element's own children are drawn.
    (document.fullscreenElement ? $('over') : document.body).append($('toasts'));
  });
  navigator.mediaDevices?.addEventListener?.('devicechange', () => {
    camera.list($('cameras'), $('cameras').value);
  });
  addEventListener('pagehide', () => call.link.stop());
  addEventListener('beforeunload', (event) => {
    if (call.recorder.busy) event.preventDefault(); // or the recording would be lost
  });
}

// The camera: choose it, open it, and explain errors.

import { kept } from './dom.js';

const WANTED = { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 } };

/** Title and remedy for an error of getUserMedia. */
export function inWords(error) {
  const words = {
    NotAllowedError: [
      'The camera is not allowed',
      'Click the camera symbol in the address bar, allow the camera for this page, ' +
        'and try again. On a Mac, also check System Settings, Privacy, Camera.',
    ],
    NotFoundError: ['No camera was found', 'Plug one in, or open its cover, and try again.'],
    NotReadableError: [
      'The camera is busy',
      'Another program uses it. Close that program or choose another camera, then try again.',
    ],
    OverconstrainedError: ['That camera is gone', 'Choose another one and try again.'],
    AbortError: ['The camera stopped', 'Unplug it, plug it in again, and try again.'],
  };
  if (!navigator.mediaDevices) {
    return [
      'This page may not use cameras',
      'Browsers allow cameras only on this computer (127.0.0.1) or over https. ' +
        'Open the link that mimicam printed.',
    ];
  }
  return words[error?.name] || ['The camera does not open', String(error?.message || error)];
}

/** Open the chosen camera, or any camera if the chosen one is gone. */
export async function open(deviceId) {
  if (!navigator.mediaDevices) throw new TypeError('no media devices');
  const video = deviceId ? { ...WANTED, deviceId: { exact: deviceId } } : WANTED;
  try {
    return await navigator.mediaDevices.getUserMedia({ video, audio: false });
  } catch (error) {
    if (deviceId && error.name === 'OverconstrainedError') return open('');
    throw error;
  }
}

/** Fill the list of cameras. Browsers hide their names until a camera was allowed. */
export async function list(select, current) {
  if (!navigator.mediaDevices?.enumerateDevices) return;
  const devices = (await navigator.mediaDevices.enumerateDevices()).filter(
    (device) => device.kind === 'videoinput',
  );
  const options = devices
    .filter((device) => device.deviceId)
    .map((device, i) => new Option(device.label || `Camera ${i + 1}`, device.deviceId));
  select.replaceChildren(...(options.length ? options : [new Option('Default camera', '')]));
  select.value = current || kept.get('camera', '') || select.options[0].value;
  if (select.selectedIndex < 0) select.selectedIndex = 0;
}

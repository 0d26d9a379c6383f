// Saves the result: a picture, or a recording with delayed voice. All in the browser.

import { $, fileName, make, save, toast } from './dom.js';
import { markPng, markRecording } from './provenance.js';

const TYPES = [
  'video/webm;codecs=vp8,opus',
  'video/webm',
  'video/mp4;codecs=avc1.42E01E,mp4a.40.2',
  'video/mp4',
];
const BITS = 4_000_000;
const MAX_DELAY_S = 2;

/** Save the picture that is on the screen. */
export async function snapshot(video) {
  const canvas = make('canvas', { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext('2d').drawImage(video, 0, 0);
  const blob = await new Promise((resolve) => {
    canvas.toBlob(resolve, 'image/png');
  });
  save(await markPng(blob), fileName('png'));
  toast('The picture was saved.');
}

/** One recording at a time. */
export class Recorder {
  /** ageMs: returns the frame age, by which the voice is delayed. */
  constructor(ageMs) {
    this.ageMs = ageMs;
    this.types = TYPES;
    // From the first click to the saved file, since the microphone's permission takes time.
    this.busy = false;
  }

  get running() {
    return this.recorder?.state === 'recording';
  }

  async start(stream, withVoice) {
    if (this.busy) return;
    const type = this.types.find((one) => window.MediaRecorder?.isTypeSupported(one));
    if (!type) {
      toast('This browser cannot record. Use OBS with the OBS link instead.', true);
      return;
    }
    this.busy = true;
    try {
      const tracks = stream.getVideoTracks();
      if (withVoice) tracks.push(...(await this.voice()));
      this.begin(new MediaStream(tracks), type);
    } catch (error) {
      this.end();
      toast(`The recording does not start: ${error.message}.`, true);
    }
  }

  begin(stream, type) {
    this.parts = [];
    this.recorder = new MediaRecorder(stream, { mimeType: type, videoBitsPerSecond: BITS });
    this.recorder.ondataavailable = (event) => event.data.size && this.parts.push(event.data);
    this.recorder.onstop = () => this.finish(type.split(';')[0]);
    this.recorder.onerror = (event) =>
      toast(`The recording stopped: ${event.error?.message || 'unknown reason'}.`, true);
    this.recorder.start(1000);
    this.began = performance.now();
    this.timer = setInterval(() => this.tick(), 250);
    this.show(true);
  }

  stop() {
    if (this.running) this.recorder.stop();
  }

  /** The microphone's track, delayed by the frame age. */
  async voice() {
    try {
      this.microphone = await navigator.mediaDevices.getUserMedia({ audio: true });
    } catch {
      toast('The microphone is not allowed, so the recording has no sound.', true);
      return [];
    }
    this.sound = new AudioContext();
    const delay = this.sound.createDelay(MAX_DELAY_S);
    const out = this.sound.createMediaStreamDestination();
    this.delay = delay;
    delay.delayTime.value = Math.min(MAX_DELAY_S, this.ageMs() / 1000);
    this.sound.createMediaStreamSource(this.microphone).connect(delay).connect(out);
    return out.stream.getAudioTracks();
  }

  tick() {
    const seconds = Math.floor((performance.now() - this.began) / 1000);
    $('recording-time').textContent =
      `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
    this.delay?.delayTime.setTargetAtTime(
      Math.min(MAX_DELAY_S, this.ageMs() / 1000),
      this.sound.currentTime,
      1,
    );
  }

  async finish(type) {
    const [parts, seconds] = [this.parts, (performance.now() - this.began) / 1000];
    this.end();
    if (!parts.length) {
      toast('Nothing was recorded.', true);
      return;
    }
    const plain = new Blob(parts, { type });
    // A recording is saved even when its tags fail.
    const marked = await markRecording(plain, seconds).catch(() => null);
    save(marked || plain, fileName(type.endsWith('mp4') ? 'mp4' : 'webm'));
    const size = `(${(plain.size / 1e6).toFixed(1)} MB)`;
    if (marked) toast(`The recording was saved ${size}.`);
    else
      toast(
        `The recording was saved ${size}, but without the tag that marks it as synthetic.`,
        true,
      );
  }

  /** Release microphone and memory. */
  end() {
    clearInterval(this.timer);
    this.microphone?.getTracks().forEach((track) => track.stop());
    this.sound?.close();
    this.microphone = this.sound = this.delay = this.parts = undefined;
    this.busy = false;
    this.show(false);
  }

  show(on) {
    $('recording').hidden = !on;
    $('recording-time').textContent = '0:00';
    $('record').setAttribute('aria-pressed', String(on));
    $('record').querySelector('span').textContent = on ? 'Stop recording' : 'Record';
  }
}

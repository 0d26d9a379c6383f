// The connection: camera out, result in, settings on the data channel. Reconnects by itself.

import { ask, HttpRefusal } from './api.js';
import { tab } from './dom.js';

const GATHER_MS = 1500;
const PING_MS = 2000;
const SILENT_MS = 7000;
const BROKEN_MS = 2500;
const RETRY_MS = [300, 800, 1500, 3000, 5000];

/** Wait until ICE gathering is complete, but not longer than GATHER_MS. */
export function gathered(pc) {
  if (pc.iceGatheringState === 'complete') return Promise.resolve();
  return new Promise((resolve) => {
    setTimeout(resolve, GATHER_MS);
    pc.addEventListener(
      'icegatheringstatechange',
      () => pc.iceGatheringState === 'complete' && resolve(),
    );
  });
}

/** Let Chromium start with a higher bit rate than its default of 300 kbit/s. */
export function withStartBitrate(sdp) {
  const payload = (sdp.match(/a=rtpmap:(\d+) VP8\//) || [])[1];
  if (!payload) return sdp;
  const wish = 'x-google-start-bitrate=1800;x-google-min-bitrate=600';
  const has = sdp.includes(`a=fmtp:${payload} `);
  return has
    ? sdp.replace(`a=fmtp:${payload} `, `a=fmtp:${payload} ${wish};`)
    : sdp.replace(
        new RegExp(`(a=rtpmap:${payload} [^\r\n]*\r\n)`),
        `$1a=fmtp:${payload} ${wish}\r\n`,
      );
}

/** Signalling works, but no media connection is established. */
export class Unreachable extends Error {}

/** Ask for the smallest jitter buffer. */
export function withoutDelay(receiver) {
  if ('jitterBufferTarget' in receiver) receiver.jitterBufferTarget = 0;
  if ('playoutDelayHint' in receiver) receiver.playoutDelayHint = 0;
}

/**
 * Events: state {state, error}, result {stream}, message {message}, view {key}.
 * States: idle, connecting, live, waiting (will retry), refused (will not).
 */
export class Link extends EventTarget {
  constructor(settings) {
    super();
    this.settings = settings; // () => object for the first message
    this.state = 'idle';
    this.view = '';
    this.connectMs = 15_000;
    this.tries = 0;
    this.run = 0;
  }

  get pc() {
    return this.peer;
  }

  get sender() {
    return this.peer?.getSenders().find((sender) => sender.track?.kind === 'video');
  }

  /** Send a camera track until stop(). */
  async start(track) {
    this.track = track;
    this.tries = 0;
    await this.connect();
  }

  /** Hang up. */
  stop() {
    this.run += 1;
    clearTimeout(this.timer);
    this.close();
    this.become('idle');
  }

  /** Send another track from now on. */
  async replace(track) {
    this.track = track;
    await this.sender?.replaceTrack(track);
  }

  /** Limit the frame rate. Infinity sends every picture of the camera. */
  async limitRate(fps) {
    const { sender } = this;
    const wanted = sender?.getParameters();
    if (!wanted?.encodings?.length) return;
    if (Number.isFinite(fps)) wanted.encodings[0].maxFramerate = fps;
    else delete wanted.encodings[0].maxFramerate;
    await sender.setParameters(wanted).catch(() => {
      /* hung up meanwhile, or not supported by the browser */
    });
  }

  /** Send a message if the data channel is open. Returns whether it was. */
  send(message) {
    if (this.channel?.readyState !== 'open') return false;
    this.channel.send(JSON.stringify(message));
    return true;
  }

  async connect() {
    const run = (this.run += 1);
    this.close();
    this.become(this.tries ? 'waiting' : 'connecting');
    try {
      await this.negotiate(run);
    } catch (error) {
      if (run !== this.run) return;
      if (error instanceof HttpRefusal && ![429, 502, 503, 504].includes(error.status))
        this.refuse(error);
      else this.retry(error);
    }
  }

  async negotiate(run) {
    const pc = new RTCPeerConnection({ iceServers: [] });
    this.peer = pc;
    this.listen(pc, run);
    pc.addTransceiver(this.track, { direction: 'sendrecv' });
    await pc.setLocalDescription(await pc.createOffer());
    await gathered(pc);
    const body = { sdp: pc.localDescription.sdp, type: 'offer', settings: this.settings() };
    const own = tab.get('own', null);
    if (own) body.own = own;
    const answer = await ask('/offer', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(body),
    });
    if (run !== this.run) {
      pc.close();
      return;
    }
    tab.set('own', answer.own);
    this.view = answer.view;
    this.patience = setTimeout(
      () => run === this.run && this.state !== 'live' && this.retry(new Unreachable()),
      this.connectMs,
    );
    await pc.setRemoteDescription({ type: 'answer', sdp: withStartBitrate(answer.sdp) });
  }

  listen(pc, run) {
    const mine = (action) => (event) => run === this.run && action(event);
    this.channel = pc.createDataChannel('mimicam');
    this.channel.onmessage = mine((event) => this.hear(JSON.parse(event.data)));
    this.channel.onclose = mine(() => this.retry());
    this.channel.onopen = mine(() => {
      this.tries = 0;
      this.heard = performance.now();
      this.pings = setInterval(() => this.ping(), PING_MS);
      this.become('live');
    });
    pc.ontrack = mine((event) => {
      withoutDelay(event.receiver);
      this.dispatchEvent(new CustomEvent('result', { detail: new MediaStream([event.track]) }));
    });
    pc.onconnectionstatechange = mine(() => {
      clearTimeout(this.broken);
      if (pc.connectionState === 'failed')
        this.retry(this.state === 'live' ? undefined : new Unreachable());
      if (pc.connectionState === 'disconnected')
        this.broken = setTimeout(
          mine(() => this.retry()),
          BROKEN_MS,
        );
    });
  }

  hear(message) {
    this.heard = performance.now();
    if (message.type === 'bye' && message.reason === 'taken')
      this.refuse(new HttpRefusal(409, 'taken', ''));
    else if (message.type === 'bye') this.retry();
    else this.dispatchEvent(new CustomEvent('message', { detail: message }));
  }

  ping() {
    if (performance.now() - this.heard > SILENT_MS) this.retry();
    else this.send({ type: 'ping', t: Math.round(performance.now()) });
  }

  /** Reconnect after a delay. */
  retry(error) {
    this.run += 1;
    this.close();
    const wait = RETRY_MS[Math.min(this.tries, RETRY_MS.length - 1)];
    this.tries += 1;
    this.become('waiting', error);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.connect(), wait);
  }

  refuse(error) {
    this.run += 1;
    this.close();
    this.become('refused', error);
  }

  close() {
    clearInterval(this.pings);
    clearTimeout(this.broken);
    clearTimeout(this.patience);
    this.peer?.close();
    this.peer = undefined;
    this.channel = undefined;
  }

  become(state, error) {
    this.state = state;
    this.dispatchEvent(new CustomEvent('state', { detail: { state, error, tries: this.tries } }));
  }
}

// Finds where a slow call is slow, and how many pictures a second are worth sending.

const SLOW_FPS = 15;
const CAMERA_FPS = 30;
const LEAST_FPS = 8;
const LAGS = 0.75;
const BUSY = 0.6;

/**
 * Title, text and which button, or null when it is fast enough.
 *
 * server: its stats. shown: pictures a second on the screen. sent: those that this browser sends.
 * limited: whether the browser was set to send fewer. height: lines of the result.
 */
export function slowness({ server, shown, sent, limited, height }) {
  const { fps_out: drawn, fps_in: received, busy = 1, calls = 1 } = server;
  const count = (fps) => `Only ${Math.round(fps)} pictures a second`;
  if (drawn > 0 && drawn < SLOW_FPS && busy > BUSY && (limited || drawn < LAGS * received)) {
    const others =
      calls > 1
        ? `, and ${calls} people share it. Let others leave first, or`
        : '. Close other programs there, or';
    return height > 256
      ? {
          title: 'The computer that runs mimicam is too slow',
          text: `${count(drawn)}${others} choose a lower resolution.`,
          smaller: true,
        }
      : {
          title: 'The computer that runs mimicam is too slow',
          text: `${count(drawn)}${others} run it on one with more cores or a graphics card.`,
        };
  }
  if (!limited && sent > 0 && sent < SLOW_FPS) {
    return {
      title: 'Too few camera pictures',
      text:
        `${count(sent)} leave this browser. ` +
        'More light helps many cameras; so does closing other programs.',
    };
  }
  if (shown < SLOW_FPS && (drawn >= SLOW_FPS || (!limited && sent >= SLOW_FPS))) {
    const of = Math.max(drawn, sent);
    return {
      title: 'The connection is slow',
      text:
        `${count(shown)} get through of ${Math.round(of)}. ` +
        'Move nearer to the router, or use a cable.',
    };
  }
  return null;
}

/**
 * Pictures a second that are worth sending.
 *
 * A busy server that draws far fewer than come gains nothing from the rest: send a little more than
 * it draws, so that it shows when there is room again. A bad network delivers pictures in bursts,
 * of which only the last is drawn. The server is not busy then, and all are worth sending.
 */
export function usefulRate({ fps_out: drawn, fps_in: received, busy = 1 }, limit) {
  if (busy > BUSY && drawn > 0 && drawn < SLOW_FPS && drawn < LAGS * received)
    return Math.max(LEAST_FPS, Math.ceil(drawn * 1.3));
  if (!Number.isFinite(limit)) return Infinity;
  let next = limit;
  if (busy <= BUSY) next = Math.ceil(limit * 1.6);
  else if (drawn >= 0.9 * received) next = Math.ceil(limit * 1.2);
  return next >= CAMERA_FPS ? Infinity : next;
}

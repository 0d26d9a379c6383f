/* Loaded before libc: makes the file $FAKE_V4L2_DEVICE answer as a v4l2loopback output device.
 *
 * The native driver of pyvirtualcam asks for the capabilities, sets a format and then writes pictures;
 * they land in the plain file $FAKE_V4L2_FRAMES. Every other call goes through untouched.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

static int device_fd = -1;

static int is_device(const char *path) {
  const char *device = getenv("FAKE_V4L2_DEVICE");
  return path && device && strcmp(path, device) == 0;
}

static int open_as(const char *symbol, const char *path, int flags, mode_t mode) {
  int (*real)(const char *, int, ...) = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, symbol);
  if (!is_device(path)) return real(path, flags, mode);
  device_fd = real(getenv("FAKE_V4L2_FRAMES"), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  return device_fd;
}

int open(const char *path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  mode_t mode = va_arg(rest, mode_t);
  va_end(rest);
  return open_as("open", path, flags, mode);
}

int open64(const char *path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  mode_t mode = va_arg(rest, mode_t);
  va_end(rest);
  return open_as("open64", path, flags, mode);
}

static int answer(unsigned long request, void *argument) {
  if (request == VIDIOC_QUERYCAP) {
    struct v4l2_capability *capability = argument;
    memset(capability, 0, sizeof *capability);
    strcpy((char *)capability->driver, "v4l2 loopback");
    strcpy((char *)capability->card, "test");
    capability->capabilities = V4L2_CAP_VIDEO_OUTPUT | V4L2_CAP_READWRITE;
    capability->device_caps = capability->capabilities;
    return 0;
  }
  if (request == VIDIOC_S_FMT) {
    struct v4l2_format *format = argument;
    if (format->type == V4L2_BUF_TYPE_VIDEO_OUTPUT) return 0;
  }
  errno = ENOTTY;
  return -1;
}

int ioctl(int fd, unsigned long request, ...) {
  va_list rest;
  va_start(rest, request);
  void *argument = va_arg(rest, void *);
  va_end(rest);
  if (fd >= 0 && fd == device_fd) return answer(request, argument);
  int (*real)(int, unsigned long, ...) = (int (*)(int, unsigned long, ...))dlsym(RTLD_NEXT, "ioctl");
  return real(fd, request, argument);
}

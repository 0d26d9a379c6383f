# make demo    the main job on the bundled clip: writes demo.mp4, shows a window where there is a display
# make test    all set-up for the tests, and the tests          make test-slow   those that take minutes
# make test-camera   the virtual camera against the real kernel module, in a guest of QEMU (root on Debian; 20 s)
# make test-ray      batches on a Ray cluster of two nodes here: downloads 140 MB, takes minutes
# make check   format, lint, types, import directions           make clean       take everything away again
# make fuzz    each fuzz target for FUZZ_SECONDS (60): files, offers, packets and messages of others
# make check-wheel   build sdist and wheel, install the wheel into a fresh environment, run the demo from there
# make reference     pages of the Python API, made of its docstrings, in build/reference
# make format-page   format the studio's page with Prettier (needs Node.js)      make check-page  only look

ifeq ($(OS),Windows_NT)
PYTHON ?= python
BIN := .venv/Scripts
else
PYTHON ?= python3
BIN := .venv/bin
endif
# The CPU build, where the index offers one. Tests that need PyTorch are skipped without it.
TORCH ?= torch==2.13.0
# TensorRT for RTX builds plans without a GPU: 95 MB, for Linux on x86-64. Tests that want it are skipped without it.
RTX ?= tensorrt-rtx-cu13-libs tensorrt-rtx-cu13-bindings
# Ray with PyArrow and pandas: 140 MB to download, 480 MB on disk. Tests that want it are skipped without it.
RAY ?= ray[data]==2.60.0
# Makes the pages of the Python API.
PDOC ?= pdoc==16.0.0
# Which files or folders of slow tests: all of them where nothing is given.
TESTS ?=
# How long each fuzz target runs.
FUZZ_SECONDS ?= 60
# The first seed; a random one where nothing is given.
FUZZ_SEED ?=
PRETTIER := npx --yes prettier@3.10.1
PAGE := 'engine/web/static/*.{js,css,html}' 'engine/results_page/static/*.{js,css}'
# Versions with which the tests were green. To take the newest ones: make test CONSTRAINTS=
CONSTRAINTS ?= --constraint constraints.txt
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet $(CONSTRAINTS)

SHELL := bash
.SHELLFLAGS := -eu -c
.DELETE_ON_ERROR:
.PHONY: demo test test-slow test-camera test-ray fuzz check check-wheel reference format-page check-page clean

demo: .venv/.core
	$(BIN)/python -m mimicam demo --out demo.mp4

test: .venv/.dev
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile --durations=10

test-slow: .venv/.dev
	$(BIN)/python -m pytest -m slow -n 2 --dist loadfile $(TESTS)

test-camera: .venv/.dev
	$(BIN)/python -m pytest -m slow tests/sinks/test_real_v4l2loopback.py

test-ray: .venv/.dev
	$(PIP) "$(RAY)"
	$(BIN)/python -m pytest tests/batch/test_ray.py tests/batch/test_ray_cluster.py

fuzz: .venv/.dev
	$(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS) $(if $(FUZZ_SEED),--seed $(FUZZ_SEED))

check: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python scripts/link_package.py
	$(BIN)/mypy
	cd .typing && ../$(BIN)/lint-imports ../pyproject.toml

check-wheel: .venv/.made
	$(BIN)/python scripts/check_wheel.py

reference: .venv/.dev
	$(PIP) "$(PDOC)"
	$(BIN)/python -m pdoc mimicam --docformat google --output-directory build/reference

format-page:
	$(PRETTIER) --write $(PAGE)

check-page:
	$(PRETTIER) --check $(PAGE)

clean:
	rm -rf .venv .typing dist demo.mp4

.venv/.made: scripts/check_python.py
	$(PYTHON) scripts/check_python.py
	$(PYTHON) -m venv .venv || { echo "error: cannot make .venv; on Debian and Ubuntu run: sudo apt install python3-venv"; exit 1; }
	touch $@

.venv/.core: .venv/.made pyproject.toml constraints.txt scripts/check_system.py
	$(PIP) -e .
	$(BIN)/python scripts/check_system.py
	touch $@

.venv/.dev: .venv/.core
	$(PIP) "$(TORCH)" || echo "no $(TORCH) for this Python: the tests that need it are skipped"
	$(PIP) -e ".[dev,virtualcam,webrtc,train]"
	@if [ "$$(uname -sm)" = "Linux x86_64" ]; then $(PIP) --no-deps --only-binary=:all: $(RTX) \
	  || echo "no TensorRT for RTX for this Python: the tests that build its plans are skipped"; \
	else echo "no TensorRT for RTX on $$(uname -sm): the tests that build its plans are skipped"; fi
	touch $@

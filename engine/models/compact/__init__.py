"""The compact preset: DPE's method sized for CPUs, with motion from the face tracker."""

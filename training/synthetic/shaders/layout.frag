#version 330
// Once: where in the atlas hair may grow.
in float v_above;
in float v_grows;
in float v_ahead;
out vec4 colour;
void main() { colour = vec4(v_above * 0.25 + 0.5, v_grows, v_ahead, 1.0); }

#version 330
in vec2 v_place;
uniform sampler2D backdrop;
out vec4 colour;
void main() { colour = vec4(texture(backdrop, v_place).rgb, 1.0); }
